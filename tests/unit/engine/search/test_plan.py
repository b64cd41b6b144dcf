"""What is chosen for a time: within it, more with more, and nothing that the user has set."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sounds
import tiny
from morphogen.bilevel.optimisers import SGD, Adam
from morphogen.cli import main
from morphogen.core import ConfigError
from morphogen.core.config import altered, from_mapping
from morphogen.engine.search.planning import lengths, plan, speed, times
from morphogen.engine.search.planning.choices import Choices
from morphogen.engine.search.planning.network import choose_network
from morphogen.engine.search.planning.tasks import BATCH, SizedTasks
from morphogen.engine.search.presets import quick_preset
from morphogen.engine.search.search import search
from morphogen.engine.search.settings import Settings
from morphogen.engine.train.recipe import FEW, OFTEN, SELDOM
from morphogen.engine.train.training import Training
from morphogen.methods import find
from morphogen.methods.successive_halving import SuccessiveHalving, SuccessiveHalvingConfig
from morphogen.runs import checkpoint
from morphogen.runs.directory import RunDirectory
from morphogen.spaces import make
from morphogen.spaces.nasbench201 import RESNET, NASBench201
from morphogen.supernets import NetworkSpec, network
from morphogen.tasks.classification import Images, ImageTask
from morphogen.tasks.classification.config import ImageConfig

QUICK = quick_preset(plan.NAME)
EXAMPLES = len(tiny.images())


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("0.5h", 1800)]
)
def test_times(text: str, seconds: float) -> None:
    assert times.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "5x", "1s", "-2m", "90d", "1e9h", "2m and more"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ConfigError, match="accepted: 20s to 30 days"):
        times.seconds_of(text)


def test_a_time_is_for_the_planned_search() -> None:
    with pytest.raises(ConfigError, match="accepted: no method, or successive-halving"):
        search("gdas", time="2m")


def planned(
    seconds: float,
    settings: dict[str, Any] | None = None,
    keep: Collection[str] = (),
    **config: Any,
) -> Any:
    held = replace(QUICK.settings, task=ImageConfig(), hardware={"threads": 1})
    return plan.planned(
        NASBench201(),
        tiny.images(),
        altered(held, settings or {}),
        altered(QUICK.options, config),
        seconds,
        keep,
    )


def steps_of(settings: Settings, config: SuccessiveHalvingConfig, examples: int) -> float:
    """Training steps of the whole search, in the reference's cost."""
    sizes = SuccessiveHalving(config).sizes
    race = sum(
        (size * lengths.DEARER + 1) * config.steps * config.eta**r for r, size in enumerate(sizes)
    )
    decided = config.seeds * config.decision * (1 + lengths.DEARER * config.finalists)
    last = settings.epochs * (examples // settings.batch_size)
    return (race + decided if config.candidates else 0) + last


@pytest.fixture(scope="module")
def plans() -> dict[float, Any]:
    return {seconds: planned(seconds) for seconds in (20.0, 150.0)}


def test_all_is_within_the_time_at_the_speed_that_was_measured(plans) -> None:
    for seconds, made in plans.items():
        settings, config = made.settings, made.config
        (pace,) = [s for s in made.said if s.startswith("a step of the reference takes")]
        step = float(pace.split()[6]) / 1000
        assert 0.5 * seconds < step * steps_of(settings, config, EXAMPLES) <= 1.05 * seconds


def test_more_time_is_more_of_everything(plans) -> None:
    (s1, c1), (s2, c2) = ((p.settings, p.config) for p in plans.values())
    more = s2.network.channels > s1.network.channels
    assert more or steps_of(s2, c2, EXAMPLES) > 2 * steps_of(s1, c1, EXAMPLES)
    assert s2.network.channels >= s1.network.channels


def test_all_examples_are_used(plans) -> None:
    settings = plans[20.0].settings
    assert settings.split.train_images + settings.split.valid_images == EXAMPLES


def test_parts_that_the_data_came_with_are_taken_as_they_are(tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 8, 8), dtype=np.uint8)
    parts = {"train": slice(0, 50), "val": slice(50, 90)}
    arrays = {f"x_{part}": pixels[rows] for part, rows in parts.items()}
    arrays |= {f"y_{part}": np.arange(90)[rows] % 3 for part, rows in parts.items()}
    np.savez(tmp_path / "own.npz", **arrays)
    held = replace(QUICK.settings, task=ImageConfig(), hardware={"threads": 1})
    path = str(tmp_path / "own.npz")
    made = plan.planned(NASBench201(), path, held, QUICK.options, 20.0)
    split = made.settings.split
    assert (split.train_images, split.valid_images) == (50, 40)
    assert made.said[0].startswith("90 training images: in a race 50 train and 40 judge")


def test_what_the_user_sets_is_kept() -> None:
    asked = {"network.channels": 4, "epochs": 3, "split.valid_images": 70, "task.image_size": 8}
    made = planned(60.0, asked, candidates=5, seeds=2)
    settings, config = made.settings, made.config
    assert not {*asked, "candidates", "seeds"} & set(made.chosen)
    assert "decision" in made.chosen
    assert settings.network.channels == 4
    assert settings.epochs == 3
    assert settings.task.image_size == 8
    assert settings.split.valid_images == 70
    assert settings.split.train_images == EXAMPLES - 70
    assert (config.candidates, config.seeds) == (5, 2)


def test_what_the_user_sets_is_kept_though_it_is_as_usual() -> None:
    usual = {"network.channels": 8, "task.image_size": 16, "seeds": 3, "candidates": 8}
    made = planned(150.0, keep=usual)
    assert not set(usual) & set(made.chosen)
    held = (made.settings.network.channels, made.settings.task.image_size)
    assert held == (8, 16)
    assert (made.config.seeds, made.config.candidates) == (3, 8)
    with pytest.raises(ConfigError, match=r"keep has 'network.chanels'; accepted: fields of"):
        planned(150.0, keep=["network.chanels"])
    with pytest.raises(ConfigError, match=r"keep is \['epochs'\] without a time"):
        search("gdas", keep=["epochs"])


@pytest.mark.parametrize(
    ("passes", "searched"), [(4, False), (1999, False), (2001, True), (9000, True)]
)
def test_with_few_passes_over_the_data_nothing_is_searched(
    monkeypatch, passes: int, searched: bool
) -> None:
    for name, seconds in {"proxy": 0.1, "perturbation": 1.0}.items():
        monkeypatch.setattr(speed.Speed, name, lambda *_, seconds=seconds: seconds)
    compared: list[Any] = []
    monkeypatch.setattr(speed.Speed, "flops_per_byte", lambda *_: compared.append(_) or 7.0)
    held = altered(QUICK.settings, {"batch_size": 20})
    made = Choices(replace(held, task=ImageConfig()), QUICK.options, QUICK.settings, QUICK.options)
    measured = speed.Speed(
        NASBench201(), ImageTask.of(tiny.images(), size=8), QUICK.options.weights
    )
    each = EXAMPLES // 20
    lengths.choose_lengths(made, measured, 2.0, lambda: 2.0 * each * passes)
    assert (made.config.candidates > 0) is searched
    assert bool(compared) is searched  # seven networks are timed for a race alone
    assert (made.config.flops_per_byte == 7.0) is searched
    asked = Choices(
        replace(held, task=ImageConfig()), altered(QUICK.options, {"candidates": 0}),
        QUICK.settings, QUICK.options,
    )  # fmt: skip
    lengths.choose_lengths(asked, measured, 2.0, lambda: 2.0 * each * passes)
    assert asked.settings.epochs == passes
    assert asked.said[-1].endswith(
        "no race is asked for, so that the reference is trained for all of it"
    )
    if not searched:
        assert made.settings.epochs == passes
        assert made.config.screened == 0
        assert "a race pays from about 2,000 on (--candidates N asks for one)" in made.said[-1]
    share = made.settings.epochs / passes
    assert share <= 1
    most = max(lengths.MOST_STEPS, lengths.MOST_EPOCHS * each)
    assert share >= 0.35 or made.settings.epochs * each >= 0.9 * most

    if searched:  # a decision that says something of the last training
        assert made.config.decision >= 0.2 * made.settings.epochs * each
        assert made.config.seeds >= 2


def test_a_training_takes_the_recipe_of_few_data_over(paced, tmp_path) -> None:
    held = altered(QUICK.settings, {"hardware": {"threads": 1}, "epochs": 1})
    held = replace(held, task=ImageConfig(image_size=8))
    config = altered(QUICK.options, {"candidates": 0})
    found = search(config, data=tiny.images(), time="1m", settings=held, run=tmp_path / "search")
    found.train(run=tmp_path / "trained")
    there, here = (RunDirectory(tmp_path / run).config() for run in ("search", "trained"))
    assert {"task.auto_augment", "weights.weight_decay"} <= set(there["planned"])
    assert here["settings"]["task"]["auto_augment"] == "cifar10"
    assert here["settings"]["weight_decay"] == there["config"]["weights"]["weight_decay"] == 5e-3
    assert "weight decay 0.005" in here["inherited"]


EACH = EXAMPLES // min(BATCH, 1 << ((EXAMPLES * 3 // 4 // 8).bit_length() - 1))
"""Steps of a pass, of the batch that is chosen for so many examples."""


def seen(
    passes: float,
    settings: dict[str, Any] | None = None,
    keep: Collection[str] = (),
    **config: Any,
) -> Any:
    """A plan for a time in which so many passes fit, where no image is changed."""
    asked = {"candidates": 0, **config}
    return planned(passes * EACH * 0.01 / (1 - plan.OVERHEAD), settings, keep, **asked)


@pytest.fixture
def paced(monkeypatch) -> None:
    """A step takes 10 ms, and twice as long where a policy changes the images."""

    def pace(measured: speed.Speed, *_: Any, **__: Any) -> float:
        return 0.01 if measured.task.augment.policy == "none" else 0.02

    for name in ("step", "pace"):
        monkeypatch.setattr(speed.Speed, name, pace)


@pytest.mark.parametrize(
    ("asked", "keep", "config", "policy", "decay"),
    [
        ({}, (), {}, "cifar10", 5e-3),
        ({"task.auto_augment": "trivial"}, (), {}, "trivial", 5e-3),
        ({}, ("task.auto_augment",), {}, "none", 5e-3),
        ({"task.flip": False}, (), {}, "none", 5e-3),  # sides matter: directions will, too
        ({}, (), {"weights": SGD(lr=0.1, lr_end=0.0)}, "cifar10", 2.5e-3),
        ({}, (), {"weights": SGD(lr=0.05, lr_end=0.0, weight_decay=0.0)}, "cifar10", 0.0),
        ({}, ("weights.weight_decay",), {}, "cifar10", 5e-4),
        ({}, (), {"weights": Adam(weight_decay=1e-4)}, "cifar10", 1e-4),
    ],
)
def test_where_examples_are_seen_very_often_they_are_changed_and_weights_are_kept_small(
    paced,
    asked: dict[str, Any],
    keep: Collection[str],
    config: dict[str, Any],
    policy: str,
    decay: float,
) -> None:
    many = 2.4 * OFTEN
    made = seen(many, asked, keep, **config)
    assert made.settings.task.augment.policy == policy
    assert made.config.weights.weight_decay == pytest.approx(decay)
    changed = policy != "none" and "task.auto_augment" not in asked
    assert ("task.auto_augment" in made.chosen) is changed
    # It is planned for by the pace of what is trained.
    passes = many / (1 if policy == "none" else 2)
    assert made.settings.epochs == pytest.approx(passes, rel=0.05)


@pytest.mark.parametrize(
    ("passes", "asked", "keep", "crop"),
    [
        (0.9 * SELDOM, {}, (), False),
        (0.9 * SELDOM, {}, ("task.crop",), True),
        (1.3 * SELDOM, {}, (), True),
        (0.9 * SELDOM, {"task.flip": False}, (), False),
    ],
)
def test_where_images_are_seen_a_few_times_they_are_not_shifted(
    paced, asked: dict[str, Any], keep: Collection[str], passes: float, crop: bool
) -> None:
    made = seen(passes, asked, keep)
    assert made.settings.task.crop is crop
    assert made.settings.task.flip is not bool(asked)
    assert made.config.weights == QUICK.options.weights
    (said,) = [s for s in made.said if "crop off" in s] or [""]
    assert said.endswith("each example is seen seldom") is not crop
    assert made.settings.epochs == pytest.approx(passes, rel=0.1)


RECIPES = {
    10: {"crop": False, "auto_augment": "none", "weight_decay": 5e-4},
    17: {"crop": True, "auto_augment": "none", "weight_decay": 5e-4},
    80: {"crop": True, "auto_augment": "cifar10", "weight_decay": 5e-3},
}
"""By passes over the data."""


def recipe_of(run: Path) -> dict[str, Any]:
    held = RunDirectory(run).config()["settings"]
    task = {name: held["task"][name] for name in ("crop", "auto_augment")}
    return {**task, "weight_decay": held["weight_decay"]}


@pytest.mark.parametrize("there", [10, 80])
def test_a_training_of_another_length_has_the_recipe_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: int
) -> None:
    """By what a plan has chosen for the run's length only one as long is trained."""
    for name in ("step", "pace"):
        monkeypatch.setattr(speed.Speed, name, lambda *_, **__: 20.0 / there / EACH)
    data, run = tiny.saved(tmp_path), tmp_path / "run"
    held = replace(QUICK.settings, task=ImageConfig(image_size=8), hardware={"threads": 1})
    held = altered(held, {"network.channels": 2, "steps_per_epoch": 1})
    found = search(data=data, time="20s", settings=held, run=run)
    epochs = RunDirectory(run).config()["settings"]["epochs"]
    assert there / 2 <= epochs <= there  # half where starting took long
    small = {"batch_size": 64, "network": {"channels": 2, "depth": 1}}
    for number in (epochs, 1, SELDOM + 1):
        path = tmp_path / f"given-{number}"
        found.train(Training(epochs=number, **small), run=path)
        same = RECIPES[there if number == epochs else 17]  # what was given is as it is
        assert recipe_of(path) == {**same, "weight_decay": 5e-4}
    found.train(run=tmp_path / "repeated")
    assert recipe_of(tmp_path / "repeated") == RECIPES[there]
    inherited = RunDirectory(tmp_path / "repeated").config()["inherited"]
    assert inherited.startswith("data settings as in")
    assert "other than there" not in inherited
    for words, recipe in (
        ("--epochs 5", RECIPES[10]),
        ("--epochs 5 --crop", RECIPES[17]),
        ("--epochs 17", RECIPES[17]),
        ("--epochs 17 --weight-decay 0.001", {**RECIPES[17], "weight_decay": 1e-3}),
    ):
        path = tmp_path / f"typed{words}"
        assert main(["train", str(run), "--run", str(path), *words.split()]) == 0
        assert recipe_of(path) == recipe


def test_what_the_user_has_set_in_a_search_is_kept_by_its_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("step", "pace"):
        monkeypatch.setattr(speed.Speed, name, lambda *_, **__: 2.0 / EACH)
    data = tiny.saved(tmp_path)
    held = replace(QUICK.settings, task=ImageConfig(image_size=8), hardware={"threads": 1})
    held = altered(held, {"network.channels": 2, "steps_per_epoch": 1})
    for crop, keep in ((False, ()), (True, ("task.crop",))):
        run = tmp_path / str(crop)
        search(
            data=data, time="20s", settings=altered(held, {"task.crop": crop}), keep=keep, run=run
        )
        for number in (1, SELDOM + 1):
            path = tmp_path / f"{crop}-{number}"
            assert main(["train", str(run), "--run", str(path), "--epochs", str(number)]) == 0
            assert recipe_of(path)["crop"] is crop


@pytest.mark.parametrize(("examples", "passes"), [(EXAMPLES, 0.5), (FEW * 3, 1.5)])
def test_where_examples_are_seen_less_often_or_are_many_the_recipe_is_the_usual(
    paced, monkeypatch, examples: int, passes: float
) -> None:
    length = ImageTask.length

    def longer(task: ImageTask, part: str) -> int:
        return examples if part == "pool" else length(task, part)

    monkeypatch.setattr(ImageTask, "length", longer)
    monkeypatch.setattr(speed.Speed, "steps_of_pass", lambda *_: EACH)
    made = seen(OFTEN * passes, {"split.valid_images": 20})
    assert made.settings.task.augment.policy == "none"
    assert made.config.weights == QUICK.options.weights


def test_sizes_race_as_they_are_drawn_and_are_screened_where_the_user_says_so(monkeypatch) -> None:
    for name in ("step", "pace"):
        monkeypatch.setattr(speed.Speed, name, lambda *_, **__: 0.01)
    usual = quick_preset(plan.NAME, "anynet")
    space, settings = make("anynet"), replace(usual.settings, task=ImageConfig(image_size=8))
    for asked, screened in (({}, 0), ({"screened": 30}, 30)):
        made = plan.planned(space, tiny.images(), settings, altered(usual.options, asked), 400.0)
        assert made.config.candidates >= lengths.CANDIDATES
        assert made.config.screened == screened


@pytest.mark.parametrize(
    ("seconds", "side", "channels"),
    [(1e9, 32, 64), (100.0, 32, 24), (98.0, 32, 16), (34.0, 32, 8), (32.0, 16, 24), (1.0, 16, 8)],
)
def test_images_stay_as_fine_as_the_time_allows(monkeypatch, seconds, side, channels) -> None:
    """Where a step takes a microsecond for each pixel and channel."""
    pixels = torch.randint(256, (60, 3, 32, 32), dtype=torch.uint8)
    images = Images(pixels, torch.arange(60) % 3, ("a", "b", "c"))

    def step(measured: speed.Speed, settings: Settings, arch: Any = None, **_: float) -> float:
        return 1e-6 * measured.task.image_size**2 * settings.network.channels

    monkeypatch.setattr(speed.Speed, "step", step)
    held = altered(replace(QUICK.settings, task=ImageConfig()), {"batch_size": 20})
    made = Choices(held, QUICK.options, QUICK.settings, QUICK.options)
    choose_network(made, NASBench201(), SizedTasks(made, images), seconds)
    assert made.settings.task.image_size == side
    assert made.settings.network.channels == channels


def test_a_planned_search_is_the_search_of_the_numbers_that_it_writes(monkeypatch, tmp_path):
    """Also in its precision, which the plan chooses where bfloat16 is quicker."""

    def step(measured: speed.Speed, settings: Settings, arch: Any = None, **_: float) -> float:
        return 1.0 if settings.hardware.precision == "bf16-mixed" else 2.0

    for name in ("step", "pace"):
        monkeypatch.setattr(speed.Speed, name, step)
    held = replace(QUICK.settings, hardware={"threads": 1}, task=ImageConfig(image_size=8))
    search(data=tiny.images(), time="20s", settings=held, run=tmp_path / "planned")
    values = RunDirectory(tmp_path / "planned").config()
    assert values["settings"]["hardware"]["precision"] == "bf16-mixed"
    config = from_mapping(SuccessiveHalvingConfig, values["config"])
    settings = from_mapping(Settings, values["settings"])
    search(config, data=tiny.images(), settings=settings, run=tmp_path / "asked for")
    one, two = (
        checkpoint.read(tmp_path / run / "checkpoint.pt")["state"]["training"]["now"]
        for run in ("planned", "asked for")
    )
    assert one["net"].keys() == two["net"].keys()
    assert all(torch.equal(value, two["net"][name]) for name, value in one["net"].items())


def parameters(channels: int) -> int:
    """Of the ResNet cell's network, counted by itself."""
    arch = make("nasbench201").parse(RESNET)
    spec = NetworkSpec(channels=channels, depth=1, classes=4, in_channels=1)
    return sum(p.numel() for p in network(make("nasbench201"), arch, spec).parameters())


@pytest.mark.parametrize(
    ("most", "channels", "searched"),
    [(parameters(24), 24, False), (parameters(24) - 1, 16, False), (parameters(8) - 1, 8, True)],
)
def test_under_a_limit_the_reference_is_as_wide_as_it_allows(
    monkeypatch, most, channels, searched
) -> None:
    """Where it allows none of its widths there is nothing to fall back on, and a race."""
    for name in ("step", "pace"):
        monkeypatch.setattr(speed.Speed, name, lambda *_, **__: 0.01)
    monkeypatch.setattr("morphogen.engine.search.planning.network.STEPS", 400)
    made = planned(10.0, {"limit": f"params<={most}"})
    assert made.settings.network.channels == channels
    assert (made.config.candidates > 0) is searched
    assert (f"does not keep params<={most}" in " ".join(made.said)) is searched


def test_a_limit_that_nothing_keeps_is_refused_before_a_race_is_measured(monkeypatch) -> None:
    for name in ("pace", "proxy", "perturbation", "flops_per_byte"):
        monkeypatch.setattr(speed.Speed, name, lambda *_: pytest.fail("measured"))
    with pytest.raises(ConfigError, match=r"the smallest has [\d,]+ parameters"):
        planned(20.0, {"limit": "params<=100"})


@pytest.mark.parametrize("known", [0.0, 40.0, 300.0])
def test_what_a_byte_costs_is_read_off_the_steps_of_several_architectures(monkeypatch, known):
    task = ImageTask.of(tiny.images(), size=8)
    measured = speed.Speed(NASBench201(), task, QUICK.options.weights)

    def step(settings: Settings, arch: Any = None) -> float:
        flops, moved = measured._counted(settings, arch)
        return 1e-9 * (flops + known * moved)

    monkeypatch.setattr(measured, "step", step)
    assert measured.flops_per_byte(QUICK.settings) == pytest.approx(known, abs=1e-6)


def test_what_is_far_too_slow_is_timed_no_longer_than_that_takes(monkeypatch) -> None:
    """Bfloat16 that is emulated took a fifth of a two-minute search to be measured."""
    task = ImageTask.of(tiny.images(), size=8)
    measured = speed.Speed(NASBench201(), task, QUICK.options.weights)
    seconds = iter([3.0, 1.9, 2.1, 5.0, 5.0, 9.0, 9.0, 9.0, 9.0, 9.0])
    asked: list[float] = []
    monkeypatch.setattr(speed, "_seconds", lambda work: asked.append(next(seconds)) or asked[-1])
    settings = altered(QUICK.settings, {"network.channels": 2, "batch_size": 8})
    assert measured.step(settings, most=1.0) == 3.0
    assert asked == [3.0]
    assert measured.step(settings, most=2.0) == 2.1  # none of more than twice 2 before the third
    assert asked == [3.0, 1.9, 2.1, 5.0]
    assert measured.step(settings) == 9.0
    assert len(asked) == 9


def test_a_length_is_planned_by_the_mean_of_as_many_steps_as_fill_the_look(monkeypatch) -> None:
    task = ImageTask.of(tiny.images(), size=8)
    measured = speed.Speed(NASBench201(), task, QUICK.options.weights)
    settings = altered(QUICK.settings, {"network.channels": 2, "batch_size": 8})
    asked: list[float] = []

    def seconds(work: Any) -> float:
        work()
        asked.append(0.23 if len(asked) % 10 == 5 else 0.03)  # one is disturbed, as in a search
        return asked[-1]

    monkeypatch.setattr(speed, "_seconds", seconds)
    assert measured.pace(settings, 2.49) == pytest.approx(0.05)
    assert len(asked) == 50
    asked.clear()
    assert measured.pace(settings, 0.0) == pytest.approx(0.03)
    assert len(asked) == 5


def test_transformers_are_raced_against_one_in_a_space_that_has_it(tmp_path) -> None:
    data = sounds.written(tmp_path / "data", {"train": 32, "val": 8, "test": 8})
    assert plan.usual_space(find(plan.NAME), str(data)) == "transformer"
    assert plan.usual_space(find("dartsformer"), str(data)) == "dartsformer-small"


def test_images_are_searched_where_networks_learn_quickly_and_other_data_where_usual() -> None:
    task = ImageTask.of(tiny.images(), train_images=24, valid_images=16, size=8)
    for data in ("fashion-mnist", "pictures", tiny.images()):
        assert plan.usual_space(find(plan.NAME), data) == "anynet"
        assert plan.usual_space(find("darts"), data) == "nasbench201"
    assert plan.usual_space(find(plan.NAME), task) == "nasbench201"  # of one's own


def test_what_is_trained_by_adam_is_raced_by_adam() -> None:
    adam = quick_preset(plan.NAME, "transformer").options.weights
    assert isinstance(adam, Adam)
    assert (adam.lr, adam.warm_up, adam.betas, adam.clip) == (1e-3, 1000, (0.9, 0.98), 1.0)
    assert quick_preset(plan.NAME, "nasbench201", ImageConfig()).options.weights == SGD(
        lr=0.05, lr_end=0.0
    )


def test_the_method_is_registered_under_the_name() -> None:
    assert find(plan.NAME).config is SuccessiveHalvingConfig
