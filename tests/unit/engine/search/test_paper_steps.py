"""How long the publications' searches are: epochs and steps of the cards, counted without training.

An epoch takes whole batches of a part. The cards that say 391 (darts 3.4, idarts 3.2) or 261 steps
(idarts 3.2) count the last, shorter batch as well; here it is 390 of 64 and 260 of 96 in 25,000.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

import morphogen
import tiny
from morphogen import spaces
from morphogen.core.config import altered, to_mapping
from morphogen.engine.search.timetable import timetable
from morphogen.methods import find, methods
from morphogen.supernets import NetworkSpec
from morphogen.tasks.classification import Images, ImageTask
from morphogen.tasks.problem import Problem


@dataclass(frozen=True)
class Published:
    """A search as a card has it."""

    method: str
    spaces: tuple[str, ...]
    train: int
    """Images that train weights."""
    phases: dict[str, tuple[int, int]]
    """Epochs, and steps of each."""
    weight_steps: int
    alpha_steps: int
    images: int = 50000
    """Of both search parts."""


ROBUST = tuple(f"darts-s{number}" for number in (1, 2, 3, 4))
ONESHOT = tuple(f"nasbench1shot1-s{number}" for number in (1, 2, 3))
HALF = 25000
"""darts 3.4, gdas 5, idarts 4, darts-pt 5, zero-cost-pt 3.3: half of CIFAR-10's training images."""
EVOLUTION = (21, 50)
"""spos 3.4: P (T + 1) = 50 x 21 = 1,050 evaluations."""
IMAGENET = 1281167
"""Training images of ImageNet."""
SHIFTS = 21 * 50 * 5
"""supernet-shifting 5: K = 5 to 20 steps of a candidate at NAS-Bench-201's size; here 5."""


def progressive(steps: int, generations: int) -> dict[str, tuple[int, int]]:
    """The phases of three stages."""
    return {
        f"{word} {stage}": shape
        for stage in (1, 2, 3)
        for word, shape in (("supernet", (50, steps)), ("evolution", (generations, 20)))
    }


CARDS = [
    # darts 3.4: 50 epochs, in each step an alpha step and a weight step. 25,000 / 64: 390.
    Published(
        "darts", ("nasbench201", "darts", *ROBUST), HALF, {"search": (50, 390)}, 19500, 19500
    ),
    # nasbench-1shot1 5: 50 epochs of batch 96. 25,000 / 96: 260.
    Published("darts", ONESHOT, HALF, {"search": (50, 260)}, 13000, 13000),
    # gdas 5: 250 epochs of batch 64, both steps on every pair of batches.
    Published("gdas", ("nasbench201",), HALF, {"search": (250, 390)}, 97500, 97500),
    # gdas 5: batch 256 in the code of the DARTS space. 25,000 / 256: 97.
    Published("gdas", ("darts", "darts-gdas"), HALF, {"search": (250, 97)}, 24250, 24250),
    # nasbench-1shot1 5: 100 epochs of batch 96.
    Published("gdas", ONESHOT, HALF, {"search": (100, 260)}, 26000, 26000),
    # snas 3.6: 150 epochs over the training images, less 5,000 held out; both steps on each batch.
    Published("snas", ("darts", "darts-snas"), 45000, {"search": (150, 703)}, 105450, 105450),
    # unas 3.7 and 5: 15 epochs of weights alone and 85 of both, of batch 128 in nine tenths.
    Published(
        "unas",
        ("darts-unas",),
        45000,
        {"warm-up": (15, 351), "search": (85, 351)},
        35100,
        29835,
    ),
    # unas 5: ImageNet, 20 and 15 epochs of 6,005 steps of batch 192.
    Published(
        "unas",
        ("proxylessnas-gpu",),
        1153050,
        {"warm-up": (20, 6005), "search": (15, 6005)},
        210175,
        90075,
        IMAGENET,
    ),
    # admm-darts 3.4 and 3.5: 50 epochs over 10/11 of the images; alpha when its schedule says so,
    # and not in the first step.
    Published("darts-prime", ("darts",), 45455, {"search": (50, 710)}, 35500, 0),
    # gold-nas 3.3 and 5: epochs over all training images, batch 96, until the network is small.
    Published("gold-nas", ("darts-gold-nas",), HALF, {"search": (150, 520)}, 78000, 78000),
    # sd-darts 5: the lengths of DARTS; a state is kept once an epoch.
    Published("sd-darts", ("nasbench201", "darts"), HALF, {"search": (50, 390)}, 19500, 19500),
    # idarts 3.2: an epoch is a pass over the architecture's batches, with T = 4 weight steps each.
    Published("idarts", ("nasbench201",), HALF, {"search": (30, 390)}, 46800, 11700),
    Published("idarts", ("darts",), HALF, {"search": (50, 390)}, 78000, 19500),
    # idarts 5: T = 5 in NAS-Bench-1Shot1, batch 96.
    Published("idarts", ONESHOT, HALF, {"search": (50, 260)}, 65000, 13000),
    # darts-pt 3.2 and 5: 100 epochs, then 25 of tuning, all of them as DARTS' own.
    Published(
        "darts-pt",
        ("nasbench201",),
        HALF,
        {"supernet": (100, 390), "selection": (25, 390)},
        48750,
        48750,
    ),
    # darts-pt 3.3 and 5: 50 epochs, then 81 of tuning.
    Published(
        "darts-pt",
        ("darts", *ROBUST),
        HALF,
        {"supernet": (50, 390), "selection": (81, 390)},
        51090,
        51090,
    ),
    # zero-cost-pt 3.3: N = 10 searches of a decision per edge, V = 100 minibatches; no training.
    *(
        Published(
            "zero-cost-pt",
            names,
            HALF,
            {"search": (10, decisions), "validate": (1, 100)},
            0,
            0,
        )
        for names, decisions in (
            (("nasbench201",), 6),  # edges
            (("nasbench-macro",), 8),  # blocks
            (("darts", *ROBUST), 14 + 3),  # edges, then nodes of more than two inputs
        )
    ),
    # nasbench-1shot1 4: blocks, then nodes (the output among them) that choose their inputs.
    *(
        Published(
            "zero-cost-pt",
            (name,),
            HALF,
            {"search": (10, blocks + nodes), "validate": (1, 100)},
            0,
            0,
        )
        for name, blocks, nodes in zip(ONESHOT, (4, 4, 5), (3, 4, 5), strict=True)
    ),
    # nevonas 3.4 and 5: 50 generations, each an epoch over half of the images, batch 256 and 64.
    Published("nevonas", ("nasbench201",), HALF, {"search": (50, 97)}, 4850, 0),
    Published("nevonas", ("darts",), HALF, {"search": (50, 390)}, 19500, 0),
    # pevonas 3 and 5: in each of three stages 50 epochs, then 100 generations of 20 at most, 200 in
    # the DARTS space.
    Published("pevonas", ("nasbench201",), HALF, progressive(97, 100), 3 * 50 * 97, 0),
    Published("pevonas", ("darts",), HALF, progressive(390, 200), 3 * 50 * 390, 0),
    # spos 4.5: 250 epochs of batch 256 over the training images, less 5,000 held out. 45,000 / 256.
    Published(
        "spos",
        ("nasbench201",),
        45000,
        {"supernet": (250, 175), "evolution": EVOLUTION},
        43750,
        0,
    ),
    # spos 5, CIFAR-10: 600 epochs of batch 96. 45,000 / 96: 468.
    Published(
        "spos",
        ("shufflenet-cifar",),
        45000,
        {"supernet": (600, 468), "evolution": EVOLUTION},
        280800,
        0,
    ),
    # supernet-shifting 3.1 and 3.3: stage 1 as SPOS', then its evolution, whose candidates train.
    Published(
        "supernet-shifting",
        ("nasbench201",),
        45000,
        {"supernet": (250, 175), "shifting": EVOLUTION},
        43750 + SHIFTS,
        0,
    ),
    # few-shot-nas 5: 600 epochs, then 300 of each of 5 parts, batch 48 over the images, less
    # 5,000 held out. 45,000 / 48: 937. All candidates of 5 times 200.
    Published(
        "few-shot",
        ("nasbench201",),
        45000,
        {"supernet": (600, 937), "leaves": (1500, 937), "selection": (5, 200)},
        1967700,
        0,
    ),
    # few-shot-nas 3.6: 7 parts of 20 epochs, batch 64 over half of the images; no supernet before.
    Published(
        "few-shot",
        ("darts",),
        HALF,
        {"leaves": (140, 390), "selection": (7, 1)},
        54600,
        54600,
    ),
    # gm-nas 5: split at epochs 20 and 40 into two, then 50 epochs of each of 4 parts. 25,000 / 48.
    Published(
        "gm-nas",
        ("nasbench201",),
        HALF,
        {
            "supernet": (20, 520),
            "split-1": (1, 6),
            "level-1": (40, 520),
            "split-2": (2, 6),
            "leaves": (200, 520),
            "selection": (4, 200),
        },
        135200,
        0,
    ),
    # gm-nas 5: split at epochs 2, 4 and 6, then 15 epochs of each of 8 parts, alphas frozen before.
    Published(
        "gm-nas",
        ("darts",),
        HALF,
        {
            "supernet": (2, 390),
            "split-1": (1, 14),
            "level-1": (4, 390),
            "split-2": (2, 14),
            "level-2": (8, 390),
            "split-3": (4, 14),
            "leaves": (120, 390),
            "selection": (8, 1),
        },
        52260,
        46800,
    ),
    Published(
        "supernet-shifting",
        ("shufflenet-cifar",),
        45000,
        {"supernet": (600, 468), "shifting": EVOLUTION},
        280800 + SHIFTS,
        0,
    ),
]
ROWS = [(card, space) for card in CARDS for space in card.spaces]


@cache
def task(train: int, count: int) -> ImageTask:
    """As many images as CIFAR-10, or ImageNet, trains with, of 4 x 4 pixels."""
    images = Images(
        torch.zeros(count, 1, 4, 4, dtype=torch.uint8), torch.arange(count) % 4, tuple("abcd")
    )
    return ImageTask.of(images, train_images=train, valid_images=count - train)


@cache
def optimiser_steps(name: str, numbers: tuple[tuple[str, Any], ...]) -> dict[str, tuple[int, int]]:
    """Steps of the weights' and of alpha's optimisers in the first step of each phase, counted."""
    method = find(name).build(altered(tiny.config(name), dict(numbers)))
    problem = tiny.problem(spaces.make("nasbench201"))
    state = method.init(problem)
    weights = {id(weight) for weight in state.net.parameters()}
    counted: Counter[tuple[str, bool]] = Counter()
    phase = ""

    def count(optimiser: torch.optim.Optimizer, *_: object) -> None:
        held = {id(p) for group in optimiser.param_groups for p in group["params"]}
        counted[phase, not held & weights] += 1

    plan = timetable(method, problem, 2, 1)
    hook = register_optimizer_step_post_hook(count)
    try:
        for clock in plan:
            if clock.phase != phase:
                phase = clock.phase
                method.step(state, problem, clock)
    finally:
        hook.remove()
    return {p.name: (counted[p.name, False], counted[p.name, True]) for p in plan.phases}


@pytest.mark.parametrize(
    ("card", "space"), ROWS, ids=[f"{card.method}-{space}" for card, space in ROWS]
)
def test_the_paper_preset_trains_as_long_as_the_paper(card, space):
    held = morphogen.paper_preset(card.method, space)
    s, options = held.settings, to_mapping(held.options)
    assert (s.split.train_images, s.split.valid_images) == (card.train, card.images - card.train)
    assert s.steps_per_epoch == 0
    searched = spaces.make(space).without([name for name in s.without.split(",") if name])
    spec = NetworkSpec(classes=4, in_channels=1)
    problem = Problem(searched, task(card.train, card.images), spec, batch_size=s.batch_size)
    plan = timetable(find(card.method).build(held.options), problem, s.epochs, 0)
    assert {p.name: (p.epochs, p.steps) for p in plan.phases} == card.phases
    named = ("inner_steps", "shift_steps", "splits", "warm_up")
    numbers = {n: options[n] for n in named if n in options}
    if "leaf" in options:
        numbers["leaf.searcher"] = options["leaf"]["searcher"]
    counted = optimiser_steps(card.method, tuple(numbers.items()))
    made = [(p.epochs * (p.steps or 0), *counted[p.name]) for p in plan.phases]
    assert sum(steps * weights for steps, weights, _ in made) == card.weight_steps
    assert sum(steps * alphas for steps, _, alphas in made) == card.alpha_steps


def test_every_published_search_of_a_supernet_has_its_length_here():
    listed = {(card.method, space) for card, space in ROWS}
    for info in methods().values():
        if info.name == "rl-darts":  # of frames, not of images: tests/claims/test_rl_darts.py
            continue
        for name in () if info.black_box else info.published:
            for space in spaces.registered():
                if re.fullmatch(rf"{name}(-s\d)?", space):
                    assert (info.name, space) in listed or space in ROBUST
