"""What nodes send on: terms by source, their gates' places in the flattened matrix."""

import torch

from morphogen.core import Choice
from morphogen.supernets.edges import Term, flat, gates_of, plan

WIRING = ((0, 1), (0, 2), (1, 2))
CHOICES = (
    Choice("a", ("conv", "none"), "cell"),
    Choice("b", ("conv", "skip", "none"), "cell"),
    Choice("c", ("none", "skip"), "cell"),
)


def test_terms_stand_with_their_source_and_nothing_is_never_sent():
    sends = plan(WIRING, CHOICES, ((0, 1), (0, 1, 2), (0, 1)))
    # Rows of the widest choice, three options: gate = 3 * row + column.
    assert sends == (
        (Term("a", 1, "conv", 0), Term("b", 2, "conv", 3), Term("b", 2, "skip", 4)),
        (Term("c", 2, "skip", 7),),
    )


def test_only_what_is_live_is_sent():
    assert plan(WIRING, CHOICES, ((1,), (1,), ())) == ((Term("b", 2, "skip", 4),), ())


def test_gates_are_those_of_the_terms():
    weights = torch.arange(9.0).reshape(3, 3)
    (first, second) = plan(WIRING, CHOICES, ((0,), (1,), (1,)))
    assert gates_of(first, flat(weights)).tolist() == [0.0, 4.0]
    assert gates_of(second, flat(weights)).tolist() == [7.0]
    of_examples = torch.stack([weights, 10 + weights])
    rows = flat(of_examples)
    assert rows.shape == (9, 2)
    assert rows[4].tolist() == [4.0, 14.0]
