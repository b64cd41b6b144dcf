"""The searches of the publications: numbers of the cards, method by method and space by space."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

import morphogen
from morphogen import spaces
from morphogen.core import ConfigError
from morphogen.core.config import altered, from_mapping, nested, to_mapping
from morphogen.engine.search.settings import Settings
from morphogen.engine.train.training import Training, paper_training, quick_training
from morphogen.methods import methods
from morphogen.spaces.darts import DARTS
from morphogen.supernets import NetworkSpec
from morphogen.tasks.classification.config import ImageConfig
from morphogen.tasks.policies import PolicyConfig

# -- the cards, figure by figure -------------------------------------------------------------------
# Of what a card does not say nothing stands here; steps of an epoch are not a preset's.

ALPHA = {"lr": 3e-4, "betas": [0.5, 0.999], "weight_decay": 1e-3}
"""darts 5, gdas 5, idarts 5, nasbench-1shot1 5, darts-pt 5: Adam of the architecture."""
SGD_201 = {"lr": 0.025, "lr_end": 0.001, "momentum": 0.9, "nesterov": True, "clip": 5.0}
SGD_201 |= {"weight_decay": 5e-4}
"""darts 5, NB201 P1; gdas 5."""
SGD_DARTS = {**SGD_201, "nesterov": False, "weight_decay": 3e-4}
"""darts 5, DARTS search; nasbench-1shot1 5; darts-pt 5; discretization-gap 4."""
NB201 = {"channels": 16, "depth": 5}
"""darts 4B: C = 16, N = 5."""
CELLS = {"channels": 16, "depth": 8}
"""darts 4A: C = 16, 8 cells."""
ONESHOT = {"channels": 16, "depth": 3, "batch_size": 96}
"""nasbench-1shot1 3.4 and 5: C = 16, 9 cells in three stacks, batch 96."""
ONESHOT_SPACES = tuple(f"nasbench1shot1-s{number}" for number in (1, 2, 3))
ROBUST_SPACES = tuple(f"darts-s{number}" for number in (1, 2, 3, 4))
DARTS_PT = {"batch_size": 64, "interval": 5, "tuning_lr": 0.0025, "criterion": "accuracy"}
DARTS_PT |= {"order": "random", "selection_images": 0, "supernet": "darts"}
DARTS_PT |= {"weights": SGD_DARTS, "alpha": ALPHA}
ADAM = {"betas": [0.9, 0.999]}
UNAS = {"tau": 0.4, "gap_weight": 0.5, "estimator": "rebar", "gap": "example", "threshold": 0.05}
"""unas 3.2 to 3.7."""
IMAGENET = ("proxylessnas-gpu",)
"""Spaces whose searches are published for 1,281,167 images of 224 x 224."""
ZERO_COST = {"epochs": 10, "validation": 100, "proxy": "nwot_eval", "order": "random"}
EVOLUTION = {"population": 50, "generations": 21, "parents": 10, "mutants": 25, "crossovers": 25}
EVOLUTION |= {"mutation": 0.1}
"""spos 3.4 and supernet-shifting 5: 20 generations after the random one."""
NOVELTY = {"population": 20, "crossover": 0.7, "crossover_index": 15.0, "mutation": 0.2}
NOVELTY |= {"mutation_index": 20.0, "encoding": "real", "forward": "soft", "refresh": "none"}
NOVELTY |= {"fitness_images": 0, "criteria": "fitness,novelty"}
PROGRESSIVE = {"population": 20, "patience": 10, "contestants": 5, "mutation": 0.1}
PROGRESSIVE |= {"inherit": True, "rule": "best", "forward": "soft", "fitness_images": 0}
SGD_PATHS = {"lr": 0.05, "momentum": 0.9, "nesterov": False, "weight_decay": 2.5e-4, "clip": 5.0}

CARDS: list[tuple[str, tuple[str, ...], Mapping[str, Any]]] = [
    # darts 3.7 P1: weight step first in first order, alpha step first in second order.
    (
        "darts",
        ("nasbench201",),
        {"epochs": 50, "batch_size": 64, **NB201, "order": "nasbench201", "radius": 0.01}
        | {"weights": SGD_201, "alpha": ALPHA, "inner_steps": 1},
    ),
    # darts 3.4: alpha step, then weight step.
    (
        "darts",
        ("darts",),
        {"epochs": 50, "batch_size": 64, **CELLS, "order": "alpha-first", "radius": 0.01}
        | {"weights": SGD_DARTS, "alpha": ALPHA, "without": ""},
    ),
    # discretization-gap 4: second order.
    (
        "darts",
        ROBUST_SPACES,
        {"epochs": 50, "batch_size": 64, **CELLS, "order": "alpha-first", "second_order": True}
        | {"weights": SGD_DARTS, "alpha": ALPHA},
    ),
    # nasbench-1shot1 3.8 and 5.
    (
        "darts",
        ONESHOT_SPACES,
        {"epochs": 50, **ONESHOT, "order": "alpha-first", "weights": SGD_DARTS, "alpha": ALPHA},
    ),
    # gdas 5; tau 10 -> 0.1.
    (
        "gdas",
        ("nasbench201",),
        {"epochs": 250, "batch_size": 64, **NB201, "tau_start": 10.0, "tau_end": 0.1}
        | {"weights": SGD_201, "alpha": ALPHA},
    ),
    # gdas 4 and 5: 6 cells, batch 256 in the code.
    (
        "gdas",
        ("darts", "darts-gdas"),
        {"epochs": 250, "batch_size": 256, "channels": 16, "depth": 6, "tau_end": 0.1}
        | {"weights": SGD_201, "alpha": ALPHA},
    ),
    # nasbench-1shot1 3.8 and 5: 100 epochs, tau from 10 towards 1.
    (
        "gdas",
        ONESHOT_SPACES,
        {"epochs": 100, **ONESHOT, "tau_start": 10.0, "tau_end": 1.0}
        | {"weights": SGD_DARTS, "alpha": ALPHA},
    ),
    # snas 5: 8 cells, 150 epochs; eta of the first published command; 5,000 images held out.
    (
        "snas",
        ("darts", "darts-snas"),
        {"epochs": 150, "batch_size": 64, **CELLS, "tau_start": 1.0, "tau_end": 0.03}
        | {"weights": SGD_DARTS, "alpha": {**ALPHA, "clip": 10.0}, "eta": 0.01, "cost": "log"}
        | {"estimator": "reparametrised"},
    ),
    # unas 5: DARTS space, CIFAR-10.
    (
        "unas",
        ("darts-unas",),
        {"epochs": 85, "batch_size": 128, **CELLS, "warm_up": 15, **UNAS, "repetition": 0.2}
        | {"weights": {**ADAM, "lr": 6e-4, "lr_end": 1e-4, "weight_decay": 3e-4, "clip": 5.0}}
        | {"alpha": {**ADAM, "lr": 2e-3, "lr_end": 3e-4, "weight_decay": 1e-6}}
        | {"samples": "example", "softening": 0.0, "target": 0.0},
    ),
    # unas 5: ImageNet, mobile space.
    (
        "unas",
        ("proxylessnas-gpu",),
        {"epochs": 15, "batch_size": 192, "channels": 40, "warm_up": 20, **UNAS, "repetition": 0.0}
        | {"weights": {**ADAM, "lr": 3e-4, "lr_end": 1e-4, "weight_decay": 3e-4, "clip": 5.0}}
        | {"alpha": {**ADAM, "lr": 1e-3, "lr_end": 3e-4, "weight_decay": 1e-6}}
        | {"samples": "batch", "softening": 0.08, "target": 10.0, "latency": "measured"}
        | {"latency_weight": 0.1, "latency_ramp": 30000, "fitted": 10000, "latency_examples": 24},
    ),
    # admm-darts 5; the search data cut 10 : 1 (3.5).
    (
        "darts-prime",
        ("darts",),
        {"epochs": 50, "batch_size": 64, **CELLS, "activation": "softmax", "schedule": "fisher"}
        | {"period": 10, "multiplier": 1.05, "threshold": 1.0, "smoothing": 0.2, "rho": 0.1}
        | {"regulariser": "proximity", "squared": False, "weights": SGD_DARTS, "alpha": ALPHA},
    ),
    # sd-darts 3.5, preset epoch, and 5.
    *(
        (
            "sd-darts",
            (space,),
            {"epochs": 50, "batch_size": 64, **sizes, "weights": weights, "alpha": ALPHA}
            | {"teachers": 3, "strength": 1.0, "tau": 5.0, "gap": 0, "warm_up": 0.1, "vote": "mean"}
            | {"own_alpha": True, "distill_alpha": False},
        )
        for space, sizes, weights in (
            ("nasbench201", NB201, SGD_201),
            ("darts", CELLS, SGD_DARTS),
        )
    ),
    # gold-nas 5: 14 cells of 36 channels, batch 96, constant rates, AutoAugment and Cutout.
    (
        "gold-nas",
        ("darts-gold-nas",),
        {"batch_size": 96, "channels": 36, "depth": 14, "lambda0": 1e-5, "growth": 2.0}
        | {"per_round": 4, "xi_min": 0.01, "xi_max": 0.05, "stable_rounds": 3, "mu": 0.0}
        | {"auto_augment": "cifar10", "cutout": 16}
        | {"weights": {**SGD_DARTS, "lr": 0.01, "lr_end": 0.01}, "uniform": 1.0}
        | {"alpha": {"lr": 1.0, "lr_end": 1.0, "momentum": 0.9, "weight_decay": 0.0, "clip": 0.0}},
    ),
    # idarts 5.
    (
        "idarts",
        ("nasbench201",),
        {"epochs": 30, "batch_size": 64, **NB201, "inner_steps": 4, "neumann_terms": 2}
        | {"neumann_step": 0.0, "weights": {**SGD_201, "lr": 0.01}, "alpha": ALPHA},
    ),
    (
        "idarts",
        ONESHOT_SPACES,
        {"epochs": 50, **ONESHOT, "inner_steps": 5, "neumann_terms": 2, "neumann_step": 0.0}
        | {"weights": SGD_DARTS, "alpha": ALPHA},
    ),
    (
        "idarts",
        ("darts",),
        {"epochs": 50, "batch_size": 64, **CELLS, "neumann_terms": 2, "neumann_step": 0.0}
        | {"weights": SGD_DARTS, "alpha": ALPHA},
    ),
    # darts-pt 4 and 5: 7 operations, without none; S1-S4 as they are.
    ("darts-pt", ("nasbench201",), {"epochs": 100, **NB201, **DARTS_PT, "without": ""}),
    ("darts-pt", ("darts",), {"epochs": 50, **CELLS, **DARTS_PT, "without": "none"}),
    ("darts-pt", ROBUST_SPACES, {"epochs": 50, **CELLS, **DARTS_PT, "without": ""}),
    # zero-cost-pt 4 and 5.
    ("zero-cost-pt", ("nasbench201",), {**ZERO_COST, **NB201, "batch_size": 256}),
    ("zero-cost-pt", ("nasbench-macro",), {**ZERO_COST, "channels": 32, "batch_size": 256}),
    (
        "zero-cost-pt",
        ONESHOT_SPACES,
        {**ZERO_COST, **ONESHOT, "batch_size": 128, "zero_op": "run"},
    ),
    (
        "zero-cost-pt",
        ("darts",),
        {**ZERO_COST, **CELLS, "batch_size": 64, "zero_op": "skip", "without": "none"},
    ),
    (
        "zero-cost-pt",
        ROBUST_SPACES,
        {**ZERO_COST, **CELLS, "batch_size": 64, "zero_op": "skip", "without": ""},
    ),
    # nevonas 5; k = 3 in the DARTS space (3.3).
    (
        "nevonas",
        ("nasbench201",),
        {"epochs": 50, "batch_size": 256, **NB201, **NOVELTY, "neighbours": 5}
        | {"weights": {**SGD_201, "weight_decay": 3e-4}},
    ),
    (
        "nevonas",
        ("darts",),
        {"epochs": 50, "batch_size": 64, **CELLS, **NOVELTY, "neighbours": 3}
        | {"weights": SGD_DARTS},
    ),
    # pevonas 4 and 5: 20 cells in the search of the DARTS space, cutout; inheritance (8.3).
    (
        "pevonas",
        ("nasbench201",),
        {"epochs": 50, "batch_size": 256, **NB201, **PROGRESSIVE, "progression": "3,2"}
        | {"generations": 100, "scale": 1.0, "weights": {**SGD_201, "weight_decay": 3e-4}},
    ),
    (
        "pevonas",
        ("darts",),
        {"epochs": 50, "batch_size": 64, "channels": 16, "depth": 20, **PROGRESSIVE}
        | {"progression": "5,2", "generations": 200, "scale": 1e-3, "cutout": 16}
        | {"weights": SGD_DARTS},
    ),
    # spos 4.5 and 5.
    (
        "spos",
        ("nasbench201",),
        {"epochs": 250, "batch_size": 256, **NB201, **EVOLUTION, "weights": SGD_PATHS},
    ),
    (
        "spos",
        ("shufflenet-cifar",),
        {"epochs": 600, "batch_size": 96, "label_smoothing": 0.0, **EVOLUTION}
        | {"weights": {**SGD_PATHS, "lr": 0.025, "weight_decay": 3e-4}},
    ),
    # supernet-shifting 5: stage 1 is SPOS'.
    (
        "supernet-shifting",
        ("nasbench201",),
        {"epochs": 250, "batch_size": 256, **NB201, **EVOLUTION, "weights": SGD_PATHS},
    ),
    (
        "supernet-shifting",
        ("shufflenet-cifar",),
        {"epochs": 600, "batch_size": 96, **EVOLUTION}
        | {"weights": {**SGD_PATHS, "lr": 0.025, "weight_decay": 3e-4}},
    ),
    # few-shot-nas 5: 600 epochs, then 300 of each part, batch 48, weight decay 1e-4, no clipping.
    (
        "few-shot",
        ("nasbench201",),
        {"epochs": 600, "leaf_epochs": 300, "batch_size": 48, **NB201, "transfer": True}
        | {"weights": {"lr": 0.025, "lr_end": 0.001, "weight_decay": 1e-4, "clip": 0.0}},
    ),
    # few-shot-nas 3.6: 7 parts of 20 epochs from the start, batch 64.
    (
        "few-shot",
        ("darts",),
        {"leaf_epochs": 20, "batch_size": 64, **CELLS, "transfer": False, "without": "none"}
        | {"weights": SGD_DARTS},
    ),
    # gm-nas 5: splits at 20 and 40 epochs, then 50; 100 minibatches; batch 48.
    (
        "gm-nas",
        ("nasbench201",),
        {"epochs": 20, "leaf_epochs": 50, "batch_size": 48, **NB201, "repeats": 100, "splits": 2}
        | {"weights": {"lr": 0.025, "weight_decay": 1e-4, "clip": 5.0}},
    ),
    # gm-nas 5: splits at 2, 4 and 6 epochs into two each, then 15; batch 64.
    (
        "gm-nas",
        ("darts",),
        {"epochs": 2, "leaf_epochs": 15, "batch_size": 64, **CELLS, "repeats": 100, "splits": 3}
        | {"weights": SGD_DARTS},
    ),
]
ROWS = [(method, space, numbers) for method, several, numbers in CARDS for space in several]


@pytest.mark.parametrize(
    ("method", "space", "numbers"), ROWS, ids=[f"{method}-{space}" for method, space, _ in ROWS]
)
def test_numbers_are_those_of_the_cards(method, space, numbers):
    held = morphogen.paper_preset(method, space)
    settings = to_mapping(held.settings)
    sizes = {**settings["network"], **settings["task"]}
    values = {**sizes, **settings, **to_mapping(held.options)}
    for name, wanted in numbers.items():
        if isinstance(wanted, Mapping):
            assert {key: values[name][key] for key in wanted} == wanted, name
        else:
            assert values[name] == wanted, name
    large = space in IMAGENET
    own = {name: numbers[name] for name in ("auto_augment", "cutout") if name in numbers}
    drawn = {"flip": False, "crop": False} if large else own
    assert held.settings.task == ImageConfig(image_size=224 if large else 0, **drawn)
    split = held.settings.split
    assert split.train_images + split.valid_images == (1281167 if large else 50000)


def test_every_search_that_is_published_has_a_row():
    listed = {(method, space) for method, space, _ in ROWS}
    for info in methods().values():
        for name in info.published:
            for space in spaces.registered():
                if re.fullmatch(rf"{name}(-s\d)?", space):
                    own = info.name == "rl-darts"  # not of images: tests/claims/test_rl_darts.py
                    assert own or (info.name, space) in listed or space in ROBUST_SPACES


def test_the_halves_of_a_search_are_equal_and_paths_hold_a_tenth_out():
    """darts 3.4: 25,000 images for weights, as many for alpha."""
    for method, space, _ in ROWS:
        settings = morphogen.paper_preset(method, space).settings
        if space in IMAGENET:
            assert settings.split.train_images == 1153050  # unas 3.7: nine tenths
            continue
        paths = method in ("snas", "spos", "supernet-shifting", "unas")
        paths |= (method, space) == ("few-shot", "nasbench201")
        rest = 45455 if method == "darts-prime" else 25000
        assert settings.split.train_images == (45000 if paths else rest)


RETRAINED = {"epochs": 600, "batch_size": 96, "lr": 0.025, "lr_end": 0.0, "weight_decay": 3e-4}
RETRAINED |= {"momentum": 0.9, "nesterov": False, "clip": 5.0, "cutout": 16, "drop_path": 0.2}
RETRAINED |= {"auxiliary": 0.4, "depth": 20, "held_out": 0.0}
"""darts 5, CIFAR retrain."""


@pytest.mark.parametrize(
    ("space", "numbers"),
    [
        ("darts", {**RETRAINED, "channels": 36}),
        ("darts-gdas", {**RETRAINED, "channels": 36}),
        # discretization-gap 4: C = 36 on S1 and S3, 16 on S2 and S4.
        ("darts-s1", {**RETRAINED, "channels": 36}),
        ("darts-s2", {**RETRAINED, "channels": 16}),
        ("darts-s3", {**RETRAINED, "channels": 36}),
        ("darts-s4", {**RETRAINED, "channels": 16}),
        # darts 4B: how the table was trained.
        (
            "nasbench201",
            {"epochs": 200, "batch_size": 256, "lr": 0.1, "lr_end": 0.0, "weight_decay": 5e-4}
            | {"momentum": 0.9, "nesterov": True, "channels": 16, "depth": 5},
        ),
    ],
)
def test_trainings_are_those_of_the_cards(space, numbers):
    whole = to_mapping(paper_training(space))
    values = {**whole, **whole["network"], **whole["task"]}
    assert {name: values[name] for name in numbers} == numbers


# -- what presets keep -----------------------------------------------------------------------------


def test_what_is_published_names_spaces_and_fields_that_exist():
    known = spaces.registered()
    families = {info.family for info in known.values()} | set(known)
    common = to_mapping(Settings(task=ImageConfig()))
    common["task"] |= to_mapping(PolicyConfig())
    for info in methods().values():
        own = to_mapping(info.config())
        assert not set(own) & set(common)  # else a number would be another's
        for space, numbers in info.published.items():
            assert space in families
            for path in numbers:
                values = {**common, **own}
                for name in path.split("."):
                    values = values[name]
    for info in known.values():
        assert from_mapping(Settings, nested(info.search or {}))
        assert from_mapping(Training, nested({**(info.evaluation or {}), **info.quick}))
        assert from_mapping(Settings, nested(info.quick_search))
        assert set(info.searches) <= set(methods())
        NetworkSpec(**info.network)


def test_a_space_says_what_methods_published_in_it(monkeypatch):
    """So that a space from elsewhere changes no method's file; what it says goes before theirs."""
    monkeypatch.setattr("morphogen.spaces.registry._REGISTRY", dict(spaces.registered()))
    spaces.register(
        "cells",
        like="darts",
        search={"network.channels": 12},
        searches={"darts": {"batch_size": 32, "weights.lr": 0.5}},
        evaluation={"epochs": 7},
        quick={"epochs": 3},
        quick_search={"network.channels": 6, "epochs": 9},
    )(lambda: DARTS("cells"))
    there, usual = (morphogen.paper_preset("darts", name) for name in ("cells", "darts"))
    assert there.settings == altered(usual.settings, {"network.channels": 12, "batch_size": 32})
    assert there.options == replace(usual.options, weights=replace(usual.options.weights, lr=0.5))
    assert morphogen.paper_preset("gdas", "cells").settings.batch_size == 256  # as in DARTS'
    assert paper_training("cells") == replace(paper_training("darts"), epochs=7)
    assert quick_training("cells") == replace(quick_training("darts"), epochs=3)
    small = morphogen.quick_preset("spos", "cells").settings
    usually = morphogen.quick_preset("spos").settings
    assert small == altered(usually, {"network.channels": 6, "epochs": 9})
    assert morphogen.quick_preset("spos", "darts").settings == usually


def test_a_space_without_a_published_search_is_named():
    with pytest.raises(ConfigError, match="'shufflenet-small'; accepted: preset quick, or a"):
        morphogen.paper_preset("spos", "shufflenet-small")


def test_the_quick_one_is_what_a_name_alone_means():
    held = morphogen.quick_preset("spos")
    assert held.options == morphogen.quick_config(morphogen.methods.find("spos"))
    assert held.settings == Settings(epochs=33)
