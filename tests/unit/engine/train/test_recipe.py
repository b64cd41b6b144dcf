"""The recipe fits how often a training sees its examples, where nobody has set it."""

from __future__ import annotations

from collections.abc import Collection
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

import tiny
from morphogen import spaces
from morphogen.cli import main
from morphogen.core import ConfigError
from morphogen.core.config import altered
from morphogen.engine.search.search import search
from morphogen.engine.train import recipe
from morphogen.engine.train.recipe import (
    DRAWN,
    FEW,
    MOST_EPOCHS,
    OFTEN,
    SELDOM,
    fitted_recipe,
    fitting,
)
from morphogen.engine.train.retrain import train
from morphogen.engine.train.training import Training, TrainingHardware, quick_training
from morphogen.runs.config import searched_space
from morphogen.runs.directory import RunDirectory
from morphogen.tasks import Task
from morphogen.tasks.classification.config import ImageConfig
from morphogen.tasks.configs import TaskConfig
from morphogen.tasks.segmentation.config import SegmentationConfig
from morphogen.tasks.signals.config import SignalConfig
from morphogen.testing.toys import SETTINGS, OwnNetwork

SPACE = spaces.make("nasbench201")
CELL = "|skip_connect~0|+|nor_conv_1x1~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
SMALL = ["--channels", "2", "--batch-size", "32", "--image-size", "8", "--threads", "1"]
USUAL, SHIFTED, DECAYED = 5e-4, (True, "none", 5e-4), (True, "none", 5e-3)


class Counted(Task):
    """A task of which nothing is asked but how many examples it has."""

    def __init__(self, count: int) -> None:
        self.count = count

    def length(self, part: str) -> int:
        assert part == "pool"
        return self.count


def recipe_of(training: Training) -> tuple[bool, str, float]:
    assert isinstance(training.task, ImageConfig)
    return training.task.crop, training.task.auto_augment, training.weight_decay


@pytest.mark.parametrize(
    ("epochs", "examples", "changed", "keep", "fits"),
    [
        (SELDOM, 50_000, {}, (), (False, "none", USUAL)),
        (SELDOM + 1, 50_000, {}, (), SHIFTED),
        (recipe.DECAYED - 1, 500, {}, (), SHIFTED),
        (recipe.DECAYED, 500, {}, (), DECAYED),
        (OFTEN - 1, 500, {}, (), DECAYED),
        (OFTEN, 500, {}, (), (True, "cifar10", 5e-3)),
        (OFTEN, FEW, {}, (), (True, "cifar10", 5e-3)),
        (2 * recipe.DECAYED - 1, 2 * FEW, {}, (), SHIFTED),
        (2 * OFTEN - 1, 2 * FEW, {}, (), DECAYED),
        (2 * OFTEN, 2 * FEW, {}, (), (True, "cifar10", 5e-3)),
        # What somebody has set stays, also if it is the usual.
        (SELDOM, 500, {}, ("task.crop",), SHIFTED),
        (OFTEN, 500, {}, ("task.auto_augment",), (True, "none", 5e-3)),
        (OFTEN, 500, {}, ("weight_decay", "epochs"), (True, "cifar10", USUAL)),
        (OFTEN, 500, {"weight_decay": 0.0}, (), (True, "cifar10", 0.0)),
        (OFTEN, 500, {"task.auto_augment": "trivial"}, (), (True, "trivial", 5e-3)),
        # Sides matter, so directions will, too; the penalty goes with the rate.
        (OFTEN, 500, {"task.flip": False}, (), (True, "none", 5e-3)),
        (OFTEN, 500, {"lr": 0.1}, (), (True, "cifar10", 2.5e-3)),
        (OFTEN, 500, {"optimiser": "adam"}, (), (True, "cifar10", USUAL)),
    ],
)
def test_by_how_often_examples_are_seen(
    epochs: int,
    examples: int,
    changed: dict[str, Any],
    keep: Collection[str],
    fits: tuple[bool, str, float],
) -> None:
    usual = quick_training(SPACE, ImageConfig())
    training = altered(usual, {"epochs": epochs, **changed})
    found, names, said = fitted_recipe(training, SPACE, Counted(examples), keep)
    assert recipe_of(found) == fits
    assert altered(training, {name: attrgetter(name)(found) for name in names}) == found
    assert bool(said) is bool(names) is (found != training)
    often = "seldom" if epochs <= SELDOM else "often"
    end = f": with {epochs} passes over the data each example is seen {often}"
    assert all(sentence.endswith(end) for sentence in said)


def test_what_is_said_of_it() -> None:
    often = altered(quick_training(SPACE, ImageConfig()), {"epochs": 300})
    *_, said = fitted_recipe(often, SPACE, Counted(500))
    assert said == (
        "auto augment cifar10, weight decay 0.005: with 300 passes over the data each example is "
        "seen often",
    )
    *_, (once,) = fitted_recipe(altered(often, {"epochs": 1}), SPACE, Counted(500))
    assert once == "crop off: with 1 pass over the data each example is seen seldom"
    with pytest.raises(ConfigError, match=r"keep has 'task\.crob'; accepted: fields of Training"):
        fitted_recipe(often, SPACE, Counted(500), ["task.crob"])


@pytest.mark.parametrize(
    ("task", "fits"),
    [(SignalConfig(), ["weight_decay"]), (SegmentationConfig(), []), (None, [])],
)
def test_nothing_is_changed_where_nobody_looked(task: TaskConfig | None, fits: list[str]) -> None:
    descent = quick_training(SPACE).descent
    assert list(fitting(task, descent, SPACE, passes=500, examples=100)) == fits
    assert not fitting(task, descent, SPACE, passes=2, examples=100)


def test_a_module_of_ones_own_keeps_its_weight_decay() -> None:
    """It may have no batch norm, or weights that it was trained to have."""
    space = searched_space(OwnNetwork(1, 4), "")
    training = altered(quick_training(space, ImageConfig()), {"epochs": 300})
    found, *_ = fitted_recipe(training, space, Counted(500))
    assert recipe_of(found) == (True, "cifar10", training.weight_decay)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.saved(tmp_path_factory.mktemp("data"))


def settings_of(run: Path) -> dict[str, Any]:
    settings = RunDirectory(run).config()["settings"]
    assert isinstance(settings, dict)
    return settings


@pytest.mark.parametrize(
    ("words", "crop", "decay"),
    [
        (["--epochs", "1"], False, USUAL),
        (["--epochs", "1", "--crop"], True, USUAL),
        (["--epochs", str(OFTEN), "--patience", "1"], True, 5e-3),
    ],
)
def test_on_the_command_line_what_is_typed_is_kept(
    images: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    crop: bool,
    decay: float,
) -> None:
    run = tmp_path / "run"
    assert main(["train", CELL, "--data", images, "--run", str(run), *SMALL, *words]) == 0
    held, shown = settings_of(run), capsys.readouterr().out
    assert (held["task"]["crop"], held["weight_decay"]) == (crop, decay)
    assert ("over the data each example is seen" in " ".join(shown.split())) is (
        (crop, decay) != (True, USUAL)
    )


def test_images_are_trained_on_as_the_recipe_says(images: str, tmp_path: Path) -> None:
    """And not only config.yaml says it."""
    words = ["--data", images, "--epochs", "1", *SMALL]
    bits = []
    for name, typed in (("fitted", []), ("still", ["--no-crop"]), ("shifted", ["--crop"])):
        run = tmp_path / name
        assert main(["train", CELL, *words, *typed, "--run", str(run)]) == 0
        bits.append((run / "seed-0-best.safetensors").read_bytes()[-1000:])
    assert bits[0] == bits[1] != bits[2]


def test_a_training_that_is_given_is_as_it_is(images: str, tmp_path: Path) -> None:
    given = Training(
        epochs=1,
        batch_size=32,
        task=ImageConfig(image_size=8),
        network={"channels": 2},
        hardware=TrainingHardware(threads=1),
    )
    train(CELL, data=images, training=given, run=tmp_path / "given")
    assert settings_of(tmp_path / "given")["task"]["crop"]
    train(CELL, data=images, training=given, keep=["epochs"], run=tmp_path / "fitted")
    assert not settings_of(tmp_path / "fitted")["task"]["crop"]


def test_the_comparison_after_a_search_has_it_too(images: str, tmp_path: Path) -> None:
    """It has a length of its own, whatever the search saw."""
    held = tiny.changed(SETTINGS, evaluations=2, image_size=8)
    for crop in (True, False):
        run = tmp_path / str(crop)
        settings = altered(held, {"task.crop": crop})
        with pytest.raises(KeyboardInterrupt):
            search(
                "random", data=images, settings=settings, run=run, baseline=True,
                watcher=tiny.Stop(steps=1),
            )  # fmt: skip
        recorded = RunDirectory(run).config()["baseline"]
        assert recorded["epochs"] == MOST_EPOCHS
        assert recorded["weight_decay"] == 5e-3
        assert recorded["task"]["auto_augment"] == "cifar10"
        assert recorded["task"]["crop"] is crop


@pytest.mark.parametrize(
    ("examples", "task", "keep", "epochs", "fits"),
    [
        (50_000, ImageConfig(), (), 12, (False, "none", USUAL)),
        (DRAWN // 12, ImageConfig(), (), 13, (False, "none", USUAL)),
        (8_000, ImageConfig(), (), 25, SHIFTED),
        (6_000, ImageConfig(), (), 34, DECAYED),
        (2_000, ImageConfig(), (), 100, (True, "cifar10", 5e-3)),
        (100, ImageConfig(), (), MOST_EPOCHS, (True, "cifar10", 5e-3)),
        (100, ImageConfig(), ("epochs",), 12, (False, "none", USUAL)),
    ],
)
def test_few_examples_are_seen_more_often(
    examples: int,
    task: ImageConfig,
    keep: Collection[str],
    epochs: int,
    fits: tuple[bool, str, float],
) -> None:
    usual = quick_training(SPACE, task)
    found, names, said = fitted_recipe(usual, SPACE, Counted(examples), keep)
    assert (found.epochs, recipe_of(found)) == (epochs, fits)
    assert ("epochs" in names) is (epochs > 12)
    told = f"epochs {epochs}: 12 passes over {examples:,} examples would be few"
    assert (told in said) is (epochs > 12)


def test_other_kinds_of_data_keep_their_epochs() -> None:
    for task in (SegmentationConfig(), None):
        usual = quick_training(SPACE, task)
        assert fitted_recipe(usual, SPACE, Counted(100)) == (usual, (), ())


def test_a_training_again_of_what_a_training_had_fits_its_own_length(
    images: str, tmp_path: Path
) -> None:
    """What was chosen there for its length is nobody's wish; what was typed there is."""
    first, typed = tmp_path / "first", tmp_path / "typed"
    words = ["--data", images, "--epochs", "1", *SMALL]
    assert main(["train", CELL, *words, "--run", str(first)]) == 0
    assert main(["train", CELL, *words, "--crop", "--run", str(typed)]) == 0
    for run, epochs, crop in ((first, 1, False), (first, SELDOM + 1, True), (typed, 1, True)):
        again = tmp_path / f"{run.name}-{epochs}"
        flags = ["--epochs", str(epochs), *SMALL]
        assert main(["train", str(run), *flags, "--run", str(again)]) == 0
        assert settings_of(again)["task"]["crop"] is crop
