"""Bad input and bad luck end in one clear sentence, and nothing that was there is lost."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import resource
import shutil
import sqlite3
import subprocess
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import tiny
from morphogen import OneOf
from morphogen.core import (
    ArchitectureError,
    CapabilityError,
    CheckpointError,
    ConfigError,
    DataError,
    MorphogenError,
    NumericalError,
    OutOfMemoryError,
    RunError,
    SpaceError,
    UnknownNameError,
)
from morphogen.engine.search.search import resume, search
from morphogen.runs import checkpoint
from morphogen.spaces import make


def run(path: Path | str, **options: Any):
    options = {
        "space": tiny.own(),
        "data": tiny.images(),
        "settings": tiny.SETTINGS,
        "method": tiny.config("darts"),
        **options,
    }
    return search(run=path, **options)


def go_on(path: Path, **options: Any):
    return resume(path, space=tiny.own(), data=tiny.images(), **options)


def refused(kind: type[MorphogenError], *parts: str, call: Any) -> str:
    """`call` raises `kind` with one sentence that has all the parts in it."""
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 600
    for part in parts:
        assert part in text, text
    return text


def contents(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    return run(tmp_path_factory.mktemp("bad") / "whole").run


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, stopped after its second epoch of three; not to be changed."""
    path = tmp_path_factory.mktemp("bad") / "stopped"
    with pytest.raises(KeyboardInterrupt):
        run(path, watcher=tiny.Stop(epochs=2))
    return path


@pytest.fixture
def cut(stopped: Path, tmp_path: Path) -> Path:
    """A copy of `stopped`."""
    return Path(shutil.copytree(stopped, tmp_path / "cut"))


# -- names and numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "parts"),
    [
        (UnknownNameError, {"method": "idart"}, ["method 'idart'", "did you mean 'idarts'?"]),
        (UnknownNameError, {"space": "nasbench202"}, ["'nasbench202'", "'nasbench201'?"]),
        (UnknownNameError, {"data": "fashion_mnist"}, ["'fashion_mnist'", "'fashion-mnist'?"]),
        (DataError, {"data": "/nowhere/images.npz"}, ["/nowhere/images.npz", "accepted: "]),
        (DataError, {"data": "cifar10"}, ["cifar10", "cifar10:PATH"]),
        (
            ConfigError,
            {"method": 3},
            ["int is no method's configuration", "darts, darts-prime"],
        ),
        (
            ConfigError,
            {"settings": replace(tiny.SETTINGS, batch_size=101)},
            ["batch_size is 101", "100 images", "accepted: at most 100"],
        ),
        (
            ConfigError,
            {"settings": tiny.changed(tiny.SETTINGS, batch_size=15, devices=2)},
            ["batch_size is 15 for 2 devices", "accepted: a multiple"],
        ),
        (
            DataError,
            {"settings": tiny.changed(tiny.SETTINGS, train_images=150)},
            ["train_images is 150", "200"],
        ),
        (
            ConfigError,
            {"settings": tiny.changed(tiny.SETTINGS, accelerator="cuda", devices=1)},
            ["accelerator 'cuda'", "accepted: cpu"],
        ),
        (CapabilityError, {"space": tiny.BARE}, ["bare"]),
        (
            CapabilityError,
            {"method": "random", "settings": tiny.changed(tiny.SETTINGS, evaluator="table")},
            ["no benchmark table", "accepted evaluators: training"],
        ),
        (
            ConfigError,
            {
                "method": "random",
                "space": "nasbench201",
                "settings": tiny.changed(
                    tiny.SETTINGS, evaluator="table", metric="cifar10_test_200"
                ),
            },
            ["metric 'cifar10_test_200' is a test figure", "cifar10_valid_12"],
        ),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else None,
)
def test_a_wrong_request_is_refused_before_anything_is_written(kind, options, parts, tmp_path):
    hardware = options.get("settings", tiny.SETTINGS).hardware
    if hardware.accelerator == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has what the test asks for in vain")
    refused(kind, *parts, call=lambda: run(tmp_path / "run", **options))
    assert list(tmp_path.iterdir()) == []


class Bad(nn.Module):
    def __init__(self, channels: int, scores: int, options: int = 1) -> None:
        super().__init__()
        self.conv = OneOf(
            {
                "a": nn.Conv2d(channels, 4, 3, padding=1),
                "b": nn.Conv2d(channels, 4 * options, 3, padding=1),
            },
            name="conv",
        )
        self.head = nn.Linear(4, scores)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).mean((2, 3)))


@pytest.mark.parametrize(
    ("module", "parts"),
    [
        (Bad(3, 4), ["your module fails on inputs [2, 1, 8, 8]", "accepted: "]),
        (Bad(1, 3), ["your module gives [2, 3]", "accepted: scores [2, 4]"]),
        (Bad(1, 4, options=2), ["choice 'conv'", "[2, 4, 8, 8]", "[2, 8, 8, 8]"]),
        (nn.Linear(2, 2), ["Linear has no choices"]),
    ],
    ids=["channels", "scores", "shapes", "no-choice"],
)
def test_a_module_that_does_not_fit_is_refused_before_anything_is_written(module, parts, tmp_path):
    refused(SpaceError, *parts, call=lambda: run(tmp_path / "run", space=module))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "|",
        "nonsense",
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|",
        "|conv~0|",
        "|none~7|",
    ],
)
def test_a_malformed_architecture_is_one_sentence(text):
    refused(
        MorphogenError,
        "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|",
        call=lambda: make("nasbench201").parse(text),
    )
    with pytest.raises((ArchitectureError, UnknownNameError)):
        make("nasbench201").parse(text)


def test_corrupt_data_files_are_one_sentence(tmp_path):
    good = tmp_path / "good.npz"
    images = tiny.images()
    np.savez(good, x_train=images.pixels.permute(0, 2, 3, 1).numpy(), y_train=images.labels.numpy())
    run(tmp_path / "run", data=str(good), settings=replace(tiny.SETTINGS, epochs=1))
    raw = good.read_bytes()
    for name, damaged in {
        "short.npz": raw[: len(raw) // 2],
        "empty.npz": b"",
        "noise.npz": b"\x93" * 500,
        "flipped.npz": raw[:3000] + bytes([raw[3000] ^ 4]) + raw[3001:],
        "empty.parquet": b"",
    }.items():
        file = tmp_path / name
        file.write_bytes(damaged)
        refused(DataError, name, call=lambda file=file: run(tmp_path / "other", data=str(file)))
    assert not (tmp_path / "other").exists()


# -- numbers that are none -------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_ends_the_search_and_keeps_what_was_good(tmp_path, whole):
    """In the third epoch all pixels of the training stream become NaN."""

    class Poison(tiny.Told):
        def epoch(self, row):
            if row["epoch"] == 2:
                poison()

    from morphogen.tasks.streams import Stream

    take = Stream.next
    patch = pytest.MonkeyPatch()

    def poisoned(self):
        batch = take(self)
        return batch._replace(x=batch.x * torch.nan)

    def poison() -> None:
        patch.setattr(Stream, "next", poisoned)

    try:
        refused(
            NumericalError,
            "loss is nan in epoch 3, step 1",
            "weights.lr",
            call=lambda: run(tmp_path / "run", watcher=Poison),
        )
    finally:
        patch.undo()
    assert len(tiny.metrics(tmp_path / "run")) == 2
    go_on(tmp_path / "run")
    tiny.assert_same_run(tmp_path / "run", whole)


def test_a_learning_rate_that_explodes_is_named(tmp_path):
    """The decay multiplies the weights by minus 10^9 in each step: beyond float32 after five."""
    weights = replace(tiny.config("darts").weights, lr=1e3, weight_decay=1e6, clip=0.0)
    hot = replace(tiny.config("darts"), weights=weights)
    long = replace(tiny.SETTINGS, steps_per_epoch=8)
    refused(
        NumericalError,
        "epoch 1",
        "weights.lr",
        call=lambda: run(tmp_path / "run", method=hot, settings=long),
    )
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_weights_that_explode_in_an_epochs_last_step_are_never_saved(tmp_path, whole):
    """The losses of all steps are finite; the weights that the last one leaves are not."""
    from morphogen.methods.darts import DARTS

    step = DARTS.step

    def last(self, state, problem, clock):
        metrics = step(self, state, problem, clock)
        if (clock.epoch, clock.step) == (1, clock.steps - 1):
            with torch.no_grad():
                state.weights[0].view(-1)[0] = torch.inf
        return metrics

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DARTS, "step", last)
        refused(
            NumericalError,
            "net.module.stem.0.weight is not finite at the end of epoch 2",
            call=lambda: run(tmp_path / "run"),
        )
    assert len(tiny.metrics(tmp_path / "run")) == 1
    go_on(tmp_path / "run")
    tiny.assert_same_run(tmp_path / "run", whole)


# -- directories and disks -------------------------------------------------------------------------


def test_a_used_run_directory_is_refused_and_unchanged(whole):
    before = contents(whole)
    refused(RunError, str(whole), "holds a run already", "resume", call=lambda: run(whole))
    assert contents(whole) == before


def test_a_directory_with_the_rest_of_a_run_is_refused_and_unchanged(cut):
    (cut / "config.yaml").unlink()
    before = contents(cut)
    refused(RunError, "metrics.jsonl", "accepted: a new directory", call=lambda: run(cut))
    refused(RunError, "no config.yaml", call=lambda: go_on(cut))
    assert contents(cut) == before


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_cannot_be_written_is_named(place, tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(RunError, "cannot write", place, call=lambda: run(tmp_path / place))
    assert contents(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize("place", ["nowhere", "file"])
def test_resuming_what_is_no_run_is_one_sentence(place, tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(RunError, place, "accepted: ", call=lambda: go_on(tmp_path / place))


@contextmanager
def full_disk(size: int):
    """No file can grow beyond `size` bytes: what a full disk does, for any user anywhere."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))  # Python ignores the signal
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_loses_nothing(cut, whole):
    before = contents(cut)
    with full_disk(len(before["checkpoint.pt"]) // 2):
        text = refused(RunError, call=lambda: go_on(cut))
    assert text == (
        f"cannot write {cut / 'checkpoint.pt'}: File too large; what was written before is intact"
    )
    after = contents(cut)
    for name in ("checkpoint.pt", "checkpoint.previous", "config.yaml"):
        assert after[name] == before[name]
    assert after.keys() == before.keys()  # no half file takes up the last space
    go_on(cut)
    tiny.assert_same_run(cut, whole)


def test_a_disk_that_is_full_from_the_start_can_be_resumed_from_when_it_is_not(tmp_path, whole):
    with full_disk(4000):
        refused(RunError, "checkpoint.pt", call=lambda: run(tmp_path / "run"))
    assert not [f for f in (tmp_path / "run").iterdir() if ".new" in f.name]
    go_on(tmp_path / "run")
    tiny.assert_same_run(tmp_path / "run", whole)
    with full_disk(10):
        refused(RunError, "config.yaml", call=lambda: run(tmp_path / "other"))
    assert contents(tmp_path / "other") == {}


def test_a_record_of_evaluations_that_fills_the_disk_is_continued(tmp_path):
    by_table = {
        "method": "random",
        "space": "nasbench201",
        "settings": tiny.changed(tiny.SETTINGS, evaluator="table", evaluations=30),
    }
    with full_disk(40_000):
        refused(
            RunError,
            "evaluations.sqlite",
            "written before is intact",
            call=lambda: run(tmp_path / "run", **by_table),
        )
    resume(tmp_path / "run", data=tiny.images())
    tiny.assert_same_run(tmp_path / "run", run(tmp_path / "whole", **by_table).run)


def test_a_real_file_system_without_space_loses_nothing(tmp_path, whole):
    """The same with the operating system's own error, where a file system may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = 2 * len((whole / "checkpoint.pt").read_bytes())
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a file system")
    try:
        refused(RunError, "No space left on device", call=lambda: run(disk / "run"))
        shutil.copytree(disk / "run", tmp_path / "run")
    finally:
        subprocess.run(["umount", disk], check=True)
    told = tiny.Told()
    go_on(tmp_path / "run", watcher=told)
    assert told.finished is not None
    assert told.finished >= 1
    tiny.assert_same_run(tmp_path / "run", whole)


# -- checkpoints -----------------------------------------------------------------------------------


def damages(raw: bytes) -> dict[str, bytes]:
    def flipped(at: int) -> bytes:
        return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]

    return {
        "empty": b"",
        "first line": flipped(3),
        "checksum": flipped(30),
        "body": flipped(len(raw) // 2),
        "last byte": flipped(len(raw) - 1),
        "short": raw[: len(raw) // 2],
        "header alone": raw[:60],
        "one byte short": raw[:-1],
        "one byte more": raw + b"x",
    }


def test_a_damaged_checkpoint_falls_back_to_the_one_before(cut, whole):
    good = contents(cut)
    damaged = damages(good["checkpoint.pt"])
    for name, raw in damaged.items():
        (cut / "checkpoint.pt").write_bytes(raw)
        told = tiny.Stop(steps=1)
        told.notices = []
        told.notice = told.notices.append
        with pytest.raises(KeyboardInterrupt):
            go_on(cut, watcher=told)
        assert told.finished == 1, name
        (notice,) = told.notices
        assert "checkpoint.pt" in notice
        assert "going on from the one before" in notice
        assert "\n" not in notice
        for file, content in good.items():
            (cut / file).write_bytes(content)
    (cut / "checkpoint.pt").write_bytes(damaged["body"])
    go_on(cut)
    tiny.assert_same_run(cut, whole)


def test_two_damaged_checkpoints_are_one_sentence_and_stay_as_they_are(cut):
    for name in ("checkpoint.pt", "checkpoint.previous"):
        raw = (cut / name).read_bytes()
        (cut / name).write_bytes(raw[:-1])
    before = contents(cut)
    refused(CheckpointError, "checkpoint.previous is damaged", call=lambda: go_on(cut))
    (cut / "checkpoint.previous").unlink()
    del before["checkpoint.previous"]
    refused(CheckpointError, "checkpoint.pt is damaged", call=lambda: go_on(cut))
    (cut / "checkpoint.pt").unlink()
    del before["checkpoint.pt"]
    refused(CheckpointError, "checkpoint.pt does not exist", "2 epochs", call=lambda: go_on(cut))
    assert contents(cut) == before


def test_another_runs_checkpoint_is_refused(cut, tmp_path):
    other = run(tmp_path / "other", settings=replace(tiny.SETTINGS, seed=7)).run
    shutil.copy(other / "checkpoint.pt", cut / "checkpoint.pt")
    before = contents(cut)
    refused(CheckpointError, "belongs to another run", call=lambda: go_on(cut))
    assert contents(cut) == before


def test_a_checkpoint_of_another_module_is_refused(cut):
    before = contents(cut)
    with torch.random.fork_rng():
        wider = tiny.OwnNetwork(1, tiny.CLASSES, channels=6)
    refused(
        RunError,
        "the module is not the one with which",
        call=lambda: resume(cut, space=wider, data=tiny.images()),
    )
    refused(
        RunError,
        "the space that is passed is not the one of",
        call=lambda: resume(cut, space=tiny.smooth(), data=tiny.images()),
    )
    assert contents(cut) == before


class Evil:
    """Would create a file if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_malicious_pickle_is_never_run(cut, tmp_path):
    """Neither as a bare pickle or torch file, nor in a file with our own header and checksum."""
    mark = tmp_path / "executed"
    evil = Evil(mark)
    assert pickle.loads(pickle.dumps(evil)) is None
    assert mark.exists()  # the trap works
    mark.unlink()
    buffer = io.BytesIO()
    torch.save({"identity": evil}, buffer)
    (cut / "checkpoint.previous").unlink()
    for body in (pickle.dumps(evil), buffer.getvalue()):
        ours = checkpoint.MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body
        for raw in (body, ours):
            (cut / "checkpoint.pt").write_bytes(raw)
            refused(CheckpointError, "checkpoint.pt", call=lambda: go_on(cut))
            assert not mark.exists()


@pytest.mark.parametrize("content", [[1, 2], {}, {"identity": "x"}])
def test_a_whole_file_with_something_else_in_it_is_refused(content, cut):
    (cut / "checkpoint.previous").unlink()
    if isinstance(content, dict):
        checkpoint.write(cut / "checkpoint.pt", content)
        (cut / "checkpoint.previous").unlink()
    else:
        buffer = io.BytesIO()
        torch.save(content, buffer)
        body = buffer.getvalue()
        raw = checkpoint.MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body
        (cut / "checkpoint.pt").write_bytes(raw)
    refused(CheckpointError, "checkpoint.pt", call=lambda: go_on(cut))


# -- the other files of a run ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (b"", "is no mapping"),
        (b"- a\n- b\n", "is no mapping"),
        (b"method: [unclosed\n", "line 2"),
        (b"\xff\xfe\x00", "cannot read"),
        (b"method: darts\n", "no space"),
        (b"method: darts\nspace: {name: x}\ndata: y\nsettings: 3\nconfig: {}\n", "has settings 3"),
    ],
)
def test_a_corrupt_config_is_one_sentence_and_nothing_is_changed(raw, part, cut):
    (cut / "config.yaml").write_bytes(raw)
    before = contents(cut)
    refused(RunError, "config.yaml", part, "accepted: ", call=lambda: go_on(cut))
    assert contents(cut) == before


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [("settings", "seed", 1), ("settings", "epochs", 9), ("config", "second_order", True)],
)
def test_a_config_edited_after_the_start_is_refused(section, name, value, cut):
    values = yaml.safe_load((cut / "config.yaml").read_text())
    assert values[section][name] != value
    values[section][name] = value
    (cut / "config.yaml").write_text(yaml.safe_dump(values))
    before = contents(cut)
    refused(RunError, "has changed since", "accepted: ", call=lambda: go_on(cut))
    assert contents(cut) == before


def test_damaged_metrics_are_written_anew_from_the_checkpoint(cut, whole):
    good = (cut / "metrics.jsonl").read_bytes()
    lines = good.splitlines(keepends=True)
    for raw in (
        b"",
        lines[0],
        lines[0][:-20] + b"\n" + lines[1],
        good.replace(b'"epoch": 2', b'"epoch": 3'),
        b"\xff" + good,
        b"7\n" + good,
        None,
    ):
        if raw is None:
            (cut / "metrics.jsonl").unlink()
        else:
            (cut / "metrics.jsonl").write_bytes(raw)
        told = tiny.Stop(steps=1)
        told.notices = []
        told.notice = told.notices.append
        with pytest.raises(KeyboardInterrupt):
            go_on(cut, watcher=told)
        assert told.finished == 2
        (notice,) = told.notices
        assert "metrics.jsonl was not as this run left it" in notice
        assert (cut / "metrics.jsonl").read_bytes() == good
    go_on(cut)
    tiny.assert_same_run(cut, whole)


def test_a_damaged_result_is_written_anew(whole, tmp_path):
    copy = Path(shutil.copytree(whole, tmp_path / "copy"))
    good = (copy / "result.json").read_bytes()
    for raw in (b"", b"[]", good[:50], good.replace(b"conv3", b"conv4").replace(b"skip", b"jump")):
        (copy / "result.json").write_bytes(raw)
        assert json.loads(good)["architecture"] == go_on(copy).text
        assert (copy / "result.json").read_bytes() == good


def test_a_record_of_evaluations_that_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(path, method=tiny.config("random"), watcher=tiny.Stop(epochs=2))
    store = path / "evaluations.sqlite"
    good = store.read_bytes()
    other = run(tmp_path / "other", method=tiny.config("random")).history[2]["candidate"]
    for words, change in (
        ("number 1", "UPDATE evaluations SET number = number + 10"),
        ("number 2", f"UPDATE evaluations SET architecture = '{other}' WHERE number = 2"),
    ):
        with closing(sqlite3.connect(store)) as database, database:
            database.execute(change)
        refused(CheckpointError, f"architecture {words}", call=lambda: go_on(path))
        store.write_bytes(good)
    for raw in (b"no database, and longer than the head of one" * 4, good[:3000]):
        store.write_bytes(raw)
        refused(CheckpointError, "evaluations.sqlite is damaged", call=lambda: go_on(path))
    store.write_bytes(good)
    go_on(path)
    tiny.assert_same_run(path, tmp_path / "other")


def test_an_object_that_is_missing_on_resume_is_asked_for(cut):
    refused(RunError, "the space of", "space=...", call=lambda: resume(cut))
    refused(RunError, "the data of", "data=...", call=lambda: resume(cut, space=tiny.own()))


@pytest.mark.parametrize(
    "take", [lambda: torch.empty(2**55), lambda: bytearray(2**55)], ids=["torch", "python"]
)
def test_memory_that_runs_out_in_a_step_is_a_sentence_and_the_run_goes_on(take, tmp_path, whole):
    """A real allocation that no machine has, in the second epoch; then with memory enough."""
    from morphogen.methods.darts import DARTS

    step = DARTS.step

    def greedy(self, state, problem, clock):
        if clock.epoch == 1:
            take()
        return step(self, state, problem, clock)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DARTS, "step", greedy)
        refused(
            OutOfMemoryError,
            "out of memory",
            "accepted: a smaller batch_size, channels, depth or image_size",
            call=lambda: run(tmp_path / "run"),
        )
    assert len(tiny.metrics(tmp_path / "run")) == 1
    again = resume(tmp_path / "run", space=tiny.own(), data=tiny.images())
    tiny.assert_same_run(again.run, whole)
