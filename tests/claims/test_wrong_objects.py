"""An object of the wrong kind, passed from Python, is one sentence, and nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import morphogen
import tiny
from morphogen.core import MorphogenError

WRONG: dict[str, Any] = {
    "number": 3,
    "nan": float("nan"),
    "flag": True,
    "list": ["idarts"],
    "empty list": [],
    "empty dict": {},
    "dict": {"a": 1},
    "class": list,
    "module class": torch.nn.Linear,
    "object": object(),
    "bytes": b"idarts",
    "array": np.zeros(3),
    "nul": "a\0b",
    "long": "x" * 5000,
    "surrogate": "\ud800",
}
TEXT = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
CALLS = {
    **{
        f"search {name}": lambda v, name=name: morphogen.search(
            **{"data": tiny.images(), "settings": tiny.SETTINGS, "run": "run", name: v}
        )
        for name in ("method", "space", "data", "settings", "run", "start")
    },
    **{
        f"train {name}": lambda v, name=name: morphogen.train(
            **{"architecture": TEXT, "data": "nowhere", "run": "run", name: v}
        )
        for name in ("architecture", "space", "data", "training")
    },
    "resume": morphogen.resume,
    "report": morphogen.report,
    "report out": lambda v: morphogen.report("nowhere", v),
    "open_run": morphogen.open_run,
    "predict": lambda v: morphogen.predict(v, ["x.png"]),
    "compare": morphogen.compare,
    "rank": morphogen.rank,
    "rank proxy": lambda v: morphogen.rank(proxy=v),
    "score": morphogen.score,
    "score architectures": lambda v: morphogen.score("nasbench201", v),
    "load": morphogen.load,
    "export": morphogen.export,
    "export to": lambda v: morphogen.export("run", v),
    "space_of": morphogen.space_of,
    "OneOf": lambda v: morphogen.OneOf(v, name="x"),
    "quick_preset": morphogen.quick_preset,
    "paper_preset": lambda v: morphogen.paper_preset("darts", v),
    "spaces.make": morphogen.spaces.make,
    "benchmarks.of": morphogen.benchmarks.of,
    "cost.of": lambda v: morphogen.cost.of(morphogen.spaces.make("nasbench201"), v),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_of_the_wrong_kind_is_one_sentence(call, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in WRONG.items():
        with pytest.raises(MorphogenError) as caught:
            call(value)
        text = str(caught.value)
        assert text.isprintable(), name
        assert len(text) < 2500, name
        assert list(tmp_path.iterdir()) == [], name
    with pytest.raises(MorphogenError, match="watcher is 3; accepted: a class or function"):
        morphogen.search(data=tiny.images(), settings=tiny.SETTINGS, watcher=3)
