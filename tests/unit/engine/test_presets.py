"""The searches of the publications: numbers of the cards, method by method and space by space."""

from __future__ import annotations

import pytest

import morphogen
from morphogen import spaces
from morphogen.core import ConfigError
from morphogen.core.config import to_mapping
from morphogen.engine.presets import PAPER_SCALE
from morphogen.engine.settings import Settings
from morphogen.methods import methods


@pytest.mark.parametrize(
    ("method", "space", "numbers"),
    [
        ("darts", "nasbench201", {"epochs": 50, "depth": 5, "weights.weight_decay": 5e-4}),
        ("darts", "darts", {"epochs": 50, "depth": 8, "weights.weight_decay": 3e-4}),
        ("darts", "darts-s2", {"weights.nesterov": False, "weights.lr": 0.025, "batch_size": 64}),
        ("idarts", "nasbench201", {"epochs": 30, "weights.lr": 0.01, "inner_steps": 4}),
        ("idarts", "nasbench1shot1-s1", {"epochs": 50, "batch_size": 96, "inner_steps": 5}),
        ("idarts", "nasbench1shot1-s3", {"weights.lr": 0.025, "weights.lr_end": 0.001}),
        ("gdas", "nasbench201", {"epochs": 250, "batch_size": 64}),
        ("darts-pt", "nasbench201", {"epochs": 100, "interval": 5}),
        ("darts-pt", "darts-s4", {"epochs": 50, "weights.weight_decay": 3e-4}),
        ("zero-cost-pt", "nasbench201", {"epochs": 10, "validation": 100, "batch_size": 256}),
        ("zero-cost-pt", "nasbench1shot1-s2", {"batch_size": 128, "zero_op": "run"}),
        ("zero-cost-pt", "nasbench-macro", {"batch_size": 256, "channels": 32}),
        ("zero-cost-pt", "darts", {"batch_size": 64, "zero_op": "skip"}),
        ("spos", "nasbench201", {"epochs": 250, "batch_size": 256, "weights.lr": 0.05}),
        ("spos", "shufflenet-cifar", {"epochs": 600, "batch_size": 96, "weights.lr": 0.025}),
        ("supernet-shifting", "nasbench201", {"weights.clip": 5.0, "weights.weight_decay": 2.5e-4}),
    ],
)
def test_numbers_are_those_of_the_cards(method, space, numbers):
    held = morphogen.paper_preset(method, space)
    for path, wanted in numbers.items():
        values = {**to_mapping(held.settings), **to_mapping(held.options)}
        for name in path.split("."):
            values = values[name]
        assert values == wanted, path
    assert held.settings.image_size == 0
    assert held.settings.train_images + held.settings.valid_images == 50000


def test_what_is_published_names_spaces_and_fields_that_exist():
    families = {name.partition("-")[0] for name in spaces.BUILT_IN} | set(spaces.BUILT_IN)
    common = to_mapping(Settings())
    for info in methods().values():
        own = to_mapping(info.config())
        assert not set(own) & set(common)  # else a number would be another's
        for space, numbers in info.published.items():
            assert space in families
            for path in numbers:
                values = {**common, **own}
                for name in path.split("."):
                    values = values[name]
    for space in PAPER_SCALE:
        assert space in families


def test_a_space_without_a_published_search_is_named():
    with pytest.raises(ConfigError, match="'shufflenet-small'; accepted: preset quick, or a"):
        morphogen.paper_preset("spos", "shufflenet-small")


def test_the_quick_one_is_what_a_name_alone_means():
    held = morphogen.quick_preset("spos")
    assert held.options == morphogen.quick_config(morphogen.methods.find("spos"))
    assert held.settings == Settings(epochs=60)
