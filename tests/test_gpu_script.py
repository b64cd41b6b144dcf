"""The command that looks at a GPU, where there is none: its CPU half, and what it says."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_differences_are_those_of_losses_and_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    gpu = importlib.import_module("gpu")
    row = {"train_loss": 2.0, "gates": {"cell": [[0.5, 0.5]]}, "architecture": "a"}
    near = {"train_loss": 2.001, "gates": {"cell": [[0.51, 0.49]]}, "architecture": "a"}
    found = gpu.differences([row], [near])
    assert found["loss, relative"] == pytest.approx(0.0005)
    assert found["gate"] == pytest.approx(0.01)
    assert found["equal"]
    assert not gpu.differences([row], [{**near, "train_loss": 2.1}])["equal"]
    assert not gpu.differences([row], [])["equal"]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which the script would use")
def test_without_a_gpu_the_cpu_half_is_checked_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    gpu = importlib.import_module("gpu")
    monkeypatch.setattr(gpu, "CHANNELS", 4)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--methods", "gdas", "--out", str(tmp_path / "o")])
    gpu.main()
    assert "no CUDA device here: the CPU's half alone" in capsys.readouterr().out
    found = json.loads((tmp_path / "o").read_text())
    assert found["device"].startswith("none; CPU: ")
    assert found["equality"]["gdas"]["loss, relative"] == 0.0
    assert found["two processes"]["equal"]
    assert found["searches"]["gdas"]["lines"] >= 1
