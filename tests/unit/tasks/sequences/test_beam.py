"""Beam search finds what all sequences, scored one by one, say is best; caches change nothing."""

from itertools import product

import pytest
import torch

from morphogen import spaces
from morphogen.supernets import NetworkSpec, network
from morphogen.supernets.sequences import BEGIN, END, PAD
from morphogen.tasks.sequences.beam import Beam, Recomputing, search, translated
from morphogen.tasks.sequences.judge import bleu, error_rates, repetitions
from morphogen.tasks.sequences.rows import IdRows

TOKENS, LONGEST = 6, 4
SOURCES = torch.tensor([[4, 5, 6, END, PAD], [4, 4, END, PAD, PAD], [6, 5, 4, 3, END]])


@pytest.fixture(scope="module")
def net():
    """A small Transformer whose scores differ much, so that nothing is nearly equal."""
    space = spaces.make("transformer")
    torch.manual_seed(3)
    arch = space.parse("norm=post;heads=2;feed_forward=2x;activation=gelu")
    made = network(space, arch, NetworkSpec(channels=8, depth=2, classes=TOKENS, in_channels=7))
    for weight in made.parameters():
        weight.data.mul_(3.0)
    made.bias.data[END] = -6.0  # so that the best sequences are not empty
    return made.eval()


def probability(net, source, tokens):
    """Log probability of a sequence and its end, by one pass over all of it."""
    with torch.no_grad():
        scores = net(source[None], torch.tensor([[BEGIN, *tokens]]))[0].double()
    logs = scores.log_softmax(-1)
    return sum(float(logs[i, t]) for i, t in enumerate([*tokens, END]))


@pytest.mark.parametrize("penalty", [0.0, 0.6, 3.0])
def test_a_beam_of_all_sequences_finds_the_best_of_them(net, penalty):
    found = search(net, SOURCES, Beam(400, penalty, LONGEST))
    ordinary = [t for t in range(TOKENS) if t not in (PAD, BEGIN, END)]
    lengths = set()
    for source, said in zip(SOURCES, found, strict=True):
        every = [seq for n in range(LONGEST) for seq in product(ordinary, repeat=n)]
        scored = {
            seq: probability(net, source, seq) / ((5 + len(seq) + 1) / 6) ** penalty
            for seq in every
        }
        assert tuple(said) == max(scored, key=scored.get)
        lengths.add(len(said))
    assert lengths != {0}


def test_greedy_takes_the_likeliest_token_each_time_and_caches_change_nothing(net):
    beam = Beam(1, longest=9)
    found = search(net, SOURCES, beam)
    for source, said in zip(SOURCES, found, strict=True):
        ids = [BEGIN]
        while len(ids) < beam.longest:
            scores = net(source[None], torch.tensor([ids]))[0, -1]
            scores[[PAD, BEGIN]] = float("-inf")
            if int(scores.argmax()) == END:
                break
            ids.append(int(scores.argmax()))
        assert ids[1:] == said
    for beam in (Beam(1, longest=9), Beam(3, 0.6, 9)):
        again = search(Recomputing(lambda x: net(*x)), SOURCES, beam)
        assert again == search(net, SOURCES, beam)
        alone = [search(net, SOURCES[i : i + 1], beam)[0] for i in range(len(SOURCES))]
        assert again == alone


def test_sources_come_back_in_their_order(net):
    rows = IdRows.of([[i for i in row if i] for row in SOURCES.tolist()] * 2)
    found = translated(net, rows, Beam(2, longest=9), torch.device("cpu"))
    assert found[:3] == found[3:] == search(net, SOURCES, Beam(2, longest=9))


def test_figures_of_finished_sequences_are_those_of_the_field():
    sacrebleu = pytest.importorskip("sacrebleu")
    said, right = ["a man rides a bike .", "two dogs"], ["a man rides a bicycle .", "two dogs run"]
    figure = bleu(said, right)
    assert figure.value == sacrebleu.corpus_bleu(said, [right]).score
    assert "version:" in figure.how
    assert "tok:13a" in figure.how
    # Substitution and deletion of 6 tokens; insertion against the nearer of two; nothing.
    tokens, whole = error_rates(
        [["A", "B", "C", "D", "E"], ["A", "B", "B"], ["A"]],
        [[["A", "X", "C", "D", "E", "F"]], [["C", "C", "C", "C"], ["A", "B"]], [["A"]]],
    )
    assert tokens.value == pytest.approx(100 * (2 + 1 + 0) / (6 + 2 + 1))
    assert whole.value == pytest.approx(100 * 2 / 3)
    # Of six pairs "a b" comes again once, and of the other sequence's two none.
    assert repetitions([list("abcabc"), list("aab")]) == pytest.approx(100 * 2 / 7)
