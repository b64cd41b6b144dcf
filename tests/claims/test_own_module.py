"""A user's own module from the search to the weights: nothing is lost, nothing silently wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import tiny
from morphogen import (
    OneOf,
    Training,
    export,
    load,
    resume,
    search,
    space_of,
    train,
)
from morphogen.core import ConfigError, MorphogenError, SpaceError
from morphogen.engine.record.watch import Silent
from morphogen.evaluators.short import ShortTraining
from morphogen.supernets import NetworkSpec, build, inherit

TRAINING = Training(epochs=1, batch_size=16, task={"image_size": 8}, hardware={"threads": 1})
SETTINGS = replace(tiny.SETTINGS, epochs=1)


def convolutions(inside: int = 1, **more: nn.Module) -> OneOf:
    return OneOf(
        {
            "3": nn.Conv2d(inside, 4, 3, padding=1),
            "1": nn.Conv2d(inside, 4, 1),
            **more,
        },
        name="block",
    )


def network(*first: nn.Module, block: OneOf | None = None) -> nn.Sequential:
    return nn.Sequential(
        *first,
        block or convolutions(),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 4),
    )


class Kernel(nn.Module):
    """A weight that nothing draws, and a table that is none."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((1,), 0.7))
        self.register_buffer("table", torch.full((1,), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.w + self.table


class Heard(Silent):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, sentence: str) -> None:
        self.notices.append(sentence)


def pretrained() -> nn.Sequential:
    """A frozen layer whose weights and statistics no drawing would give."""
    part = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))
    with torch.no_grad():
        for tensor in part.state_dict().values():
            tensor.fill_(2)
    return part.requires_grad_(False)


@pytest.mark.parametrize("method", ["darts", "spos", "random"])
def test_a_frozen_part_is_the_same_after_a_search(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[dict[str, Tensor]] = []
    if method == "random":  # its networks are trained for a while and thrown away
        score = ShortTraining.score
        monkeypatch.setattr(
            ShortTraining,
            "score",
            lambda self: states.append(self.net.state_dict()) or score(self),
        )
    net = network(pretrained())
    settings = tiny.changed(SETTINGS, evaluations=2, evaluation_epochs=1)
    search(method, space=net, data=tiny.images(), settings=settings, run=tmp_path / "r")
    if method != "random":
        states.append(tiny.state(tmp_path / "r")["state"]["net"])
    assert states
    for state in states:
        kept = {name: v for name, v in state.items() if name.removeprefix("module.")[:2] == "0."}
        assert len(kept) == 7
        assert all(bool((value == 2).all()) for value in kept.values()), kept


def test_training_keeps_what_is_frozen_and_names_what_it_cannot_draw(tmp_path: Path) -> None:
    heard = Heard()
    result = train(
        "block=3",
        space=network(pretrained(), Kernel()),
        data=tiny.images(),
        training=replace(TRAINING, seeds=2, lr=1e-12, weight_decay=0.0),
        run=tmp_path / "r",
        watcher=lambda: heard,
    )
    assert result.remarks == (
        "not from scratch: no reset_parameters draws these weights or tables of your module anew, "
        "and at every seed they begin as they are: 1.w, 1.table",
        "not from scratch: these weights of your module are frozen (requires_grad is False) and "
        "stay as they are, as the statistics of frozen batch norms do: 0.0.weight, 0.0.bias, "
        "0.1.weight, 0.1.bias",
    )
    assert [n for n in heard.notices if n.startswith("not from")] == list(result.remarks)
    assert json.loads((tmp_path / "r/result.json").read_text())["remarks"] == list(result.remarks)
    first, second = (load_file(tmp_path / f"r/seed-{seed}-best.safetensors") for seed in (0, 1))
    for weights in (first, second):
        assert all(bool((v == 2).all()) for name, v in weights.items() if name[:2] == "0.")
        torch.testing.assert_close(weights["1.w"], torch.full((1,), 0.7))
    assert not torch.allclose(first["2.weight"], second["2.weight"])
    # The same is read back from a finished run.
    again = resume(tmp_path / "r", space=network(pretrained(), Kernel()), data=tiny.images())
    assert again.remarks == result.remarks


class Detached(nn.Module):
    """A pretrained layer that is kept from training by its `forward`, not by `requires_grad`."""

    def __init__(self) -> None:
        super().__init__()
        self.part = pretrained().requires_grad_(True)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.part.eval()(x)


def test_what_gets_no_gradient_is_not_drawn_anew_and_named(tmp_path: Path) -> None:
    result = train(
        "block=3",
        space=network(Detached()),
        data=tiny.images(),
        training=TRAINING,
        run=tmp_path / "r",
    )
    (said,) = result.remarks
    assert said == (
        "not from scratch: these weights of your module get no gradient (torch.no_grad, detach, or "
        "out of reach of forward), and stay as they are: 0.part.0.weight, 0.part.0.bias, "
        "0.part.1.weight, 0.part.1.bias"
    )
    kept = {n: v for n, v in load_file(result.weights[0]).items() if n.startswith("0.part")}
    assert len(kept) == 7
    assert all(bool((value == 2).all()) for value in kept.values())


def test_a_trained_module_is_told_that_it_is_drawn_anew(tmp_path: Path) -> None:
    norm = nn.BatchNorm2d(1)
    norm(torch.rand(4, 1, 8, 8))
    run = partial(train, "block=3", space=network(norm), data=tiny.images())
    (said,) = run(training=TRAINING, run=tmp_path / "a").remarks
    assert said.startswith("your module has been trained before, as its batch norms tell, and its ")
    kept = tiny.changed(TRAINING, fresh_weights=False)
    assert run(training=kept, run=tmp_path / "b").remarks == ()


def test_weights_that_are_all_drawn_need_no_remark(tmp_path: Path) -> None:
    result = train(
        "block=3", space=network(), data=tiny.images(), training=TRAINING, run=tmp_path / "r"
    )
    assert result.remarks == ()


class Unreached(nn.Module):
    """Its `forward` forgets a choice."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()
        self.forgotten = OneOf({"a": nn.ReLU(), "b": nn.Tanh()}, name="forgotten")

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


FORGOTTEN = (
    "choice 'forgotten' decides nothing: the forward pass of your module did not reach it, in "
    "train mode nor in evaluation mode"
)


@pytest.mark.parametrize(
    "method",
    ["darts", "random", *(pytest.param(m, marks=pytest.mark.slow) for m in ("gdas", "spos"))],
)
def test_a_choice_that_forward_does_not_reach_is_told_with_the_result(
    method: str, tmp_path: Path
) -> None:
    heard = Heard()
    settings = tiny.changed(SETTINGS, evaluations=2, evaluation_epochs=1)
    result = search(
        method,
        space=Unreached(),
        data=tiny.images(),
        settings=settings,
        run=tmp_path / "r",
        watcher=lambda: heard,
    )
    assert FORGOTTEN in result.remarks
    assert FORGOTTEN in heard.notices
    again = resume(tmp_path / "r", space=Unreached(), data=tiny.images())
    assert again.remarks == result.remarks


def flat(x: Tensor) -> Tensor:
    return x.mean((2, 3))


class Stateful(nn.Identity):
    def get_extra_state(self) -> dict[str, int]:
        return {"steps": 3}

    def set_extra_state(self, state: dict[str, int]) -> None:
        pass


def test_a_state_that_no_file_of_weights_holds_is_refused_before_a_training(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"keeps a dict in its state \(0._extra_state\)"):
        train("block=3", space=network(Stateful()), data=tiny.images(), run=tmp_path / "r")
    assert not (tmp_path / "r").exists()


class Gives(nn.Module):
    """A good network, and another output than its scores."""

    def __init__(self, output: Callable[[Gives, Tensor], object]) -> None:
        super().__init__()
        self.net, self.output = network(), output

    def forward(self, x: Tensor) -> object:
        return self.output(self, self.net(x))


@pytest.mark.parametrize("run", ["search", "train"])
@pytest.mark.parametrize(
    ("module", "kind", "said"),
    [
        (
            lambda: Gives(lambda m, y: {"logits": y}),
            SpaceError,
            "gives {logits: [2, 4]} for inputs",
        ),
        (lambda: Gives(lambda m, y: (y, y)), SpaceError, "your module gives ([2, 4], [2, 4]) for"),
        (
            lambda: Gives(lambda m, y: (y, y) if m.training else y),
            SpaceError,
            "your module gives ([2, 4], [2, 4]) for",
        ),
        (lambda: Gives(lambda m, y: y.squeeze()), SpaceError, "gives [4] for inputs [1, 1, 8, 8]"),
        (lambda: network().requires_grad_(False), SpaceError, "to train; accepted: at least one"),
        (lambda: nn.Linear, SpaceError, "module is the class Linear"),
    ],
    ids=["dict", "tuple", "tuple-in-training", "squeeze", "frozen", "class"],
)
def test_what_does_not_fit_is_a_sentence_in_searches_and_in_trainings(
    run: str, module: Callable[[], nn.Module], kind: type[MorphogenError], said: str, tmp_path: Path
) -> None:
    call = partial(search, "darts", settings=SETTINGS)
    if run == "train":
        call = partial(train, "block=3", training=TRAINING)
    with pytest.raises(kind) as error:
        call(space=module(), data=tiny.images(), run=tmp_path)
    assert said in str(error.value)


def test_more_scores_than_classes_are_told(tmp_path: Path) -> None:
    net = nn.Sequential(*network()[:-1], nn.Linear(4, 7))
    result = search("darts", space=net, data=tiny.images(), settings=SETTINGS, run=tmp_path / "r")
    assert result.remarks[0] == (
        "your module gives 7 scores for 4 classes: 3 of them are for no class of the data, and "
        "wrong wherever they are largest"
    )


def lazy() -> nn.Module:
    block = OneOf({"3": nn.LazyConv2d(4, 3, padding=1), "1": nn.LazyConv2d(4, 1)}, name="block")
    return nn.Sequential(block, nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(4))


@pytest.mark.parametrize("method", ["darts", pytest.param("random", marks=pytest.mark.slow)])
def test_lazy_layers_are_searched_and_resumed(method: str, tmp_path: Path) -> None:
    settings = tiny.changed(SETTINGS, evaluations=2, evaluation_epochs=1)
    found = search(method, space=lazy(), data=tiny.images(), settings=settings, run=tmp_path / "a")
    again = search(method, space=lazy(), data=tiny.images(), settings=settings, run=tmp_path / "b")
    assert tiny.timeless(found.history) == tiny.timeless(again.history)
    (tmp_path / "a/result.json").unlink()
    resumed = resume(tmp_path / "a", space=lazy(), data=tiny.images())
    assert resumed.text == found.text
    result = train(
        found.text, space=lazy(), data=tiny.images(), training=TRAINING, run=tmp_path / "t"
    )
    assert load_file(result.weights[0])["3.weight"].shape == (4, 4 * 8 * 8)
    (exported,) = export(tmp_path / "t", ["safetensors"], space=lazy(), data=tiny.images())
    assert load(exported.path, lazy()).classes == tuple("abcd")


@pytest.mark.parametrize(
    ("method", "space", "more"),
    [
        ("darts", "darts", {"depth": 3, "image_size": 4}),
        ("random", "nasbench201", {"image_size": 4}),
        pytest.param("spos", "nasbench201", {"image_size": 4}, marks=pytest.mark.slow),
    ],
)
def test_a_batch_of_one_image_of_one_pixel_is_a_sentence(
    method: str, space: str, more: dict[str, int], tmp_path: Path
) -> None:
    settings = tiny.changed(SETTINGS, batch_size=1, **more)
    with pytest.raises(ConfigError, match="a batch norm of the network has one value per channel"):
        search(method, space=space, data=tiny.images(), settings=settings, run=tmp_path / "r")
    with pytest.raises(ConfigError, match=r"one value .* in a batch of inputs \[1, 1, 4, 4\]"):
        train(
            "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|",
            data=tiny.images(),
            training=tiny.changed(TRAINING, batch_size=1, image_size=4),
            run=tmp_path / "t",
        )
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: build(network(), NetworkSpec()), "space is of type Sequential; accepted: a sea"),
        (lambda: build("darts", NetworkSpec()), "space is of type str; accepted: a search space"),
        (lambda: inherit(network(), "block=3"), "supernet is of type Sequential; accepted: "),
        (lambda: space_of(network()).check("block=3"), "'block=3'; accepted: an Architecture, as"),
        (lambda: train(3, space=network()), "an architecture is 3; accepted: an Architecture"),
        (lambda: train({"block": "3"}, space=network()), "an architecture is {'block': '3'}; acc"),
        (
            lambda: train("block=3", space=network(), training={"epochs": 1}),
            "training is of type dict; accepted: an instance of morphogen.Training",
        ),
        (
            lambda: search("darts", space=network(), settings=TRAINING),
            "settings is of type Training; accepted: an instance of morphogen.Settings",
        ),
        (lambda: search("darts", space=network(), run=3), "run is 3; accepted: a path"),
        (lambda: search("darts", space=[network()]), "module is of type list; accepted: an inst"),
    ],
)
def test_arguments_of_another_type_are_a_sentence(call: Callable[[], object], said: str) -> None:
    with pytest.raises(MorphogenError) as error:
        call()
    assert said in str(error.value)
