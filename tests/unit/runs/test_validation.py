"""A checkpoint that somebody made: its checksum is right, and what is in it fits nothing."""

from __future__ import annotations

import copy
import hashlib
import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from morphogen.core import CheckpointError
from morphogen.engine.search.search import resume, search
from morphogen.runs import checkpoint


@pytest.fixture(scope="module")
def cut(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "run"
    with pytest.raises(KeyboardInterrupt):
        search(
            tiny.config("darts"),
            space=tiny.own(),
            data=tiny.images(),
            settings=tiny.SETTINGS,
            run=path,
            watcher=tiny.Stop(epochs=1),
        )
    checkpoint.previous(path / "checkpoint.pt").unlink(missing_ok=True)
    return path


def signed(path: Path, body: bytes) -> None:
    digest = hashlib.sha256(body).hexdigest().encode()
    path.write_bytes(checkpoint.MAGIC + digest + b"\n" + body)


def saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


Change = Callable[[dict[str, Any]], Any]


def at(*path: Any, to: Any) -> Change:
    """Another value at a place in the content; a function makes it of the old one."""

    def change(content: dict[str, Any]) -> None:
        inner: Any = content
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = to(inner[path[-1]]) if callable(to) else to

    return change


def first(content: dict[str, Any]) -> str:
    return next(iter(content["state"]["net"]))


def net(to: Callable[[torch.Tensor], Any]) -> Change:
    def change(content: dict[str, Any]) -> None:
        name = first(content)
        content["state"]["net"][name] = to(content["state"]["net"][name])

    return change


MOMENTS = ("state", "weight_optimiser", "state", 0, "momentum_buffer")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (net(lambda t: t[:1]), r"net does not fit: it\..* is \[1"),
        (net(lambda t: t.double()), r"net does not fit: .*float64, not"),
        (net(lambda t: t * math.nan), r"state does not fit: net\..* is not finite"),
        (net(lambda t: torch.zeros(1).expand(10**12)), r"claims 1,000,000,000,000 numbers"),
        (net(lambda t: t.to_sparse()), "is no plain tensor"),
        (net(lambda t: t.to("meta")), "is no plain tensor"),
        (net(lambda t: None), "net does not fit"),
        (lambda c: c["state"]["net"].popitem(), "net does not fit: it has not the entries"),
        (lambda c: c["state"]["net"].update(x=1), "net does not fit: it has not the entries"),
        (at("state", "net", to=[]), "net does not fit: it has not the entries"),
        (at("state", "alphas", 0, to=lambda t: t[:1, :1]), r"alphas does not fit: it is \[1, 1\]"),
        (at("state", "alphas", to=[]), "alphas does not fit"),
        (at(*MOMENTS, to=torch.zeros(7)), "weight_optimiser does not fit: momentum_buffer is"),
        (at("state", "weight_optimiser", "param_groups", 0, "momentum", to="x"), "does not fit"),
        (at("state", "weight_optimiser", to={}), "has not the entries of an optimiser"),
        (at("state", to=3), "has state 3; accepted: a mapping"),
        (lambda c: c["state"].pop("alphas"), "this method's state has"),
        (at("identity", to="0" * 64), "belongs to another run"),
        (at("identity", to=None), "has identity None"),
        (at("history", to="[" * 9999), "line 1 of the history of .* is no JSON"),
        (at("history", to='{"epoch": NaN}'), "line 1 of the history of .* is no JSON"),
        (at("history", to="[]"), "line 1 of the history of .* is"),
        (at("history", to='{"epoch": "1"}'), "line 1 of the history of .* has epoch '1'"),
        (at("torch_rng", to=torch.zeros(3)), "random generator does not fit"),
        (at("problem", to={}), "streams does not fit"),
        (at("problem", "numpy_rng", to="{}"), "streams does not fit"),
        (at("problem", "search_rng", to=torch.zeros(5, dtype=torch.uint8)), "streams does not fit"),
        (at("problem", "train", "position", to=10**9), "stream is corrupt"),
        (at("task", "in_channels", to="many"), "has task.in_channels 'many'"),
        (at("more", to=lambda _: {1, 2}), "more is a set"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_changes_nothing(change, said, cut):
    file = cut / "checkpoint.pt"
    good = file.read_bytes()
    content = copy.deepcopy(checkpoint.read(file))
    content.setdefault("more", None)
    change(content)
    signed(file, saved(content))
    bad = file.read_bytes()
    try:
        with pytest.raises(CheckpointError, match=said) as caught:
            resume(cut, space=tiny.own(), data=tiny.images())
        assert "\n" not in str(caught.value)
        assert file.read_bytes() == bad
    finally:
        file.write_bytes(good)


def deflated(body: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as old, zipfile.ZipFile(out, "w", 8) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    return out.getvalue()


def test_an_archive_that_inflates_or_has_two_directories_is_not_loaded(tmp_path):
    body = saved({"a": torch.zeros(1000)})
    other = saved({"b": torch.ones(1000)})
    for raw, said in (
        (deflated(body), "it is compressed"),
        (body + b"more", "something follows its directory"),
        (body + other, "it has more than one directory"),
        (b"no archive", "it is no archive"),
        (b"", "it is no archive"),
    ):
        signed(tmp_path / "c.pt", raw)
        with pytest.raises(CheckpointError, match=said):
            checkpoint.read(tmp_path / "c.pt")
    signed(tmp_path / "c.pt", body)
    assert torch.equal(checkpoint.read(tmp_path / "c.pt")["a"], torch.zeros(1000))
