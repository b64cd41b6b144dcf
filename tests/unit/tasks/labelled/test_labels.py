"""Labels mean the same in whatever form they come; parts are matched by name wherever there is one.

The expected values are written by hand: which class each image is of is known beforehand.
"""

import numpy as np
import pytest
import torch

from morphogen.core.errors import DataError
from morphogen.tasks.classification import Images, ImageTask, from_arrays, from_dataset
from morphogen.tasks.labelled.labels import labelled
from morphogen.tasks.labelled.names import numbered


def images(labels, classes, named=True):
    pixels = torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8)
    pixels[:, 0, 0, 0] = torch.arange(len(labels)).to(torch.uint8)
    return Images(pixels, torch.tensor(labels), tuple(classes), named)


# --- forms of labels -----------------------------------------------------------------------------

PLAIN = [2, 0, 1, 2]
WORDS = ["eel", "ant", "cow", "eel"]


@pytest.mark.parametrize(
    "values",
    [
        PLAIN,
        np.array(PLAIN, np.uint8),
        np.array(PLAIN, np.float32),
        np.array(PLAIN)[:, None],
        np.array(PLAIN, float)[:, None],
        np.eye(3)[PLAIN],
        np.eye(3, dtype=np.uint8)[PLAIN],
        np.eye(3, dtype=bool)[PLAIN],
    ],
)
def test_indexes_in_every_form(values):
    indexes, classes, named = labelled(values, "w")
    assert indexes.dtype == torch.int64
    assert (indexes.tolist(), classes, named) == (PLAIN, ("0", "1", "2"), False)
    assert labelled(values, "w", WORDS[1:])[1:] == (("ant", "cow", "eel"), True)


@pytest.mark.parametrize(
    "values", [WORDS, np.array(WORDS), np.array(WORDS)[:, None], np.array(WORDS, object)]
)
def test_names_in_every_form_stand_in_the_order_of_the_alphabet(values):
    indexes, classes, named = labelled(values, "w")
    assert (indexes.tolist(), classes, named) == (PLAIN, ("ant", "cow", "eel"), True)
    assert labelled(values, "w", ["eel", "cow", "ant"])[0].tolist() == [0, 2, 1, 0]


@pytest.mark.parametrize("values", [[True, False], np.array([[True], [False]])])
def test_false_and_true_are_two_classes(values):
    assert labelled(values, "w")[:2] == (pytest.approx([1, 0]), ("0", "1"))
    assert labelled(values, "w", ["no", "yes"])[:2] == (pytest.approx([1, 0]), ("no", "yes"))


def test_bytes_are_names_and_digits_in_text_too():
    assert labelled(np.array([b"b", b"a"]), "w")[:2] == (pytest.approx([1, 0]), ("a", "b"))
    assert labelled(["7", "3"], "w")[1:] == (("3", "7"), True)


def test_one_hot_columns_are_classes_also_without_images():
    assert labelled(np.eye(4)[[1, 2]], "w")[1] == numbered(4)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([0, 0.5], "has label 0.5; accepted: whole numbers"),
        ([0, float("nan")], "has label nan; accepted: whole"),
        ([0, float("inf")], "has label inf; accepted: whole"),
        ([0.0, -1.0], r"has label -1 \(-1 marks hidden labels\)"),
        ([0.0, 1e300], "has label 100001; accepted: class indexes"),
        ([[1, 0], [1, 1]], r"shape \[2, 2\], of which row 1 has 2 classes; accepted: one class"),
        ([[1, 0], [0, 0]], "row 1 has 0 classes"),
        ([[1, 0], [0.9, 0.1]], "row 1 has numbers other than 0 and 1"),
        ([[0, 2], [1, 0]], "row 0 has numbers other than 0 and 1"),
        (["a", 1], "has names and 1 among its labels"),
        (["a", None], "has names and None among its labels"),
        ([[0], [1, 2]], "accepted: one integer class index or one class name"),
        ([None, 1], "has no label in row 0"),
        ([], "is empty"),
        (["a", ""], "the name of class 0 is '', which is empty"),
        (["a", " a"], "two classes are named ' a' and 'a', which read the same"),
    ],
)
def test_other_labels_are_refused(values, says):
    with pytest.raises(DataError, match=says):
        labelled(values, "w")


def test_names_that_do_not_fit_the_labels_are_refused():
    with pytest.raises(DataError, match="labels up to 2 and names of 2 classes"):
        labelled([0, 1, 2], "w", ["a", "b"])
    with pytest.raises(DataError, match="has label 'c', which is no class; accepted: a, b"):
        labelled(["a", "c"], "w", ["a", "b"])


def test_labels_of_a_data_set_may_be_names():
    pixels = np.zeros((4, 4), np.uint8)
    found = from_dataset([(pixels, word) for word in WORDS])
    assert (found.labels.tolist(), found.classes) == (PLAIN, ("ant", "cow", "eel"))


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("a", "b", "a"), "two classes are named 'a'; accepted"),
        (("a", "", "b"), "the name of class 1 is '', which is empty"),
        (("a", "b", "  "), "the name of class 2 is '  ', which is empty"),
        (("a", "b", "a "), "two classes are named 'a' and 'a ', which read the same"),
        (("a  b", "b", "a b"), "two classes are named 'a  b' and 'a b'"),
        (("caf\u00e9", "b", "cafe\u0301"), "which read the same"),
    ],
)
def test_names_that_cannot_be_told_apart_are_refused(names, says):
    with pytest.raises(DataError, match=says):
        from_arrays(np.zeros((6, 4, 4), np.uint8), [0, 1, 2] * 2, classes=names)
    with pytest.raises(DataError, match=says):
        images([0, 1, 2], names)


def test_case_and_inner_difference_make_other_names():
    assert images([0, 1, 2], ("a", "A", "a b")).classes == ("a", "A", "a b")


@pytest.mark.parametrize(
    ("own", "to", "expected"),
    [
        ((("cat", "dog"), True), (("ant", "cat", "dog"), True), [1, 2]),
        ((("dog", "cat"), True), (("cat", "dog"), True), [1, 0]),  # another order
        ((("1", "2"), True), (("0", "1", "2"), True), [1, 2]),  # a class is missing
        ((("0", "10"), True), (("0", "1", "10"), True), [0, 2]),
        ((("1", "2"), True), (("0", "1", "2"), False), [1, 2]),  # numbers against folders
        ((("0", "1"), False), (("1", "2", "0"), True), [2, 0]),
        ((("0", "1"), False), (("cat", "dog", "elk"), True), [0, 1]),  # no names: by place
        ((("cat", "dog"), True), (("0", "1"), False), [0, 1]),
        ((("0", "1"), False), (("0", "1", "2"), False), [0, 1]),
        ((("cafe\u0301", " dog"), True), (("dog", "caf\u00e9"), True), [1, 0]),
    ],
)
def test_parts_are_matched_by_name_wherever_there_is_one(own, to, expected):
    task = ImageTask.of(images(list(range(len(to[0]))) * 2, *to), test=images([0, 1], *own))
    test = task.open_test("evaluation").images
    assert test.labels.tolist() == expected
    assert (test.classes, test.pixels[:, 0, 0, 0].tolist()) == (to[0], [0, 1])


@pytest.mark.parametrize(
    ("own", "to", "odd"),
    [
        ((("cat", "emu"), True), (("cat", "dog"), True), "emu"),
        ((("0", "1"), True), (("1", "2"), True), "0"),
        ((("0", "1"), False), (("1", "2"), True), "0"),
        ((("0", "1", "2"), False), (("0", "1"), False), "2"),
        ((("0", "1", "2"), False), (("cat", "dog"), True), "2"),
        ((("cat", "dog", "emu"), True), (("0", "1"), False), "emu"),
    ],
)
def test_a_class_that_the_training_data_has_not_is_named(own, to, odd):
    test = images(list(range(len(own[0]))), *own)
    task = ImageTask.of(images([0, 1, 0, 1], *to), test=test)
    with pytest.raises(DataError, match=f"has class '{odd}', which the training data has not"):
        task.open_test("evaluation")


def test_a_name_without_images_does_no_harm():
    test = images([0, 1], ("cat", "dog", "emu"))
    task = ImageTask.of(images([0, 1, 0, 1], ("dog", "cat")), test=test)
    assert task.open_test("evaluation").images.labels.tolist() == [1, 0]
