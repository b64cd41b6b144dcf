"""What is said of unusual training data, and that it reaches the user."""

import pytest
import torch

import tiny
from morphogen.engine.record.watch import Silent
from morphogen.engine.search.search import search
from morphogen.tasks.classification import Images
from morphogen.tasks.labelled.remarks import remarks


def images(counts, classes="abcd"):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return Images(torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8), labels, tuple(classes))


def test_nothing_is_said_of_usual_data():
    assert remarks(images([5, 5, 5, 5])) == []
    assert remarks(images([9, 5, 5, 5])) == []


def test_unbalanced_classes_are_said_with_what_the_commonest_alone_reaches():
    (said,) = remarks(images([6, 10, 5, 19]))
    assert "'d' with 19" in said
    assert "'c' with 5" in said
    assert "right for 47.5 %" in said  # 19 of 40


def test_a_class_without_images_is_named():
    (said,) = remarks(images([5, 0, 5, 5]))
    assert "no image of class 'b'" in said


class Heard(Silent):
    def __init__(self, said):
        self.said = said

    def notice(self, sentence):
        self.said.append(sentence)


@pytest.mark.parametrize("method", ["darts", "random"])
def test_a_search_says_it(method, tmp_path):
    every, said = tiny.images(), []
    kept = torch.cat([torch.arange(100), 100 + (every.labels[100:] == 1).nonzero().flatten()])
    search(
        tiny.config(method),
        space=tiny.own(),
        data=every.take(kept),
        settings=tiny.changed(tiny.SETTINGS, train_images=60, valid_images=60, epochs=1),
        run=tmp_path / "run",
        watcher=lambda: Heard(said),
    )
    assert [s for s in said if "'b' with 50 training images and 'a' with 25" in s]
