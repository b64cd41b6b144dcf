"""Memory: what there is agrees with the system, and what runs out is one sentence."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
import torch

from morphogen.core import NumericalError, OutOfMemoryError, memory


def test_what_is_available_is_some_of_what_the_machine_has():
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free = memory.available()
    assert free is not None
    assert 10 * 2**20 < free <= whole


def test_the_tightest_of_machine_container_and_process_counts(monkeypatch):
    parts = {"_machine": 5 * 2**30, "_container": 3 * 2**30, "_process": None}
    for name, count in parts.items():
        monkeypatch.setattr(memory, name, lambda count=count: count)
    assert memory.available() == 3 * 2**30
    monkeypatch.setattr(memory, "_process", lambda: 2 * 2**30)
    assert memory.available() == 2 * 2**30
    assert memory.available(here=False) == 3 * 2**30
    memory.require(2 * 2**30, "a network", "batch_size")
    with pytest.raises(OutOfMemoryError) as caught:
        memory.require(2 * 2**30 + 1, "a network", "batch_size")
    assert str(caught.value) == (
        "a network needs at least 2.0 GiB of memory, this machine has 2.0 GiB free; accepted: a "
        "smaller batch_size"
    )
    memory.require_processes(15, "workers")  # 200 MiB each
    with pytest.raises(OutOfMemoryError, match=r"workers is 16, .* hold no more than 15 processes"):
        memory.require_processes(16, "workers")


def test_a_container_without_a_limit_has_none(tmp_path, monkeypatch):
    limit, used = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(memory, "CGROUPS", ((str(limit), str(used)),))
    assert memory._container() is None
    limit.write_text("max\n")
    used.write_text("1000\n")
    assert memory._container() is None
    limit.write_text("5000\n")
    assert memory._container() == 4000


@pytest.mark.parametrize(
    "take",
    [
        lambda: torch.empty(2**55, dtype=torch.uint8),
        lambda: torch.empty(2**62, 2**62),
        lambda: np.empty(2**55, np.uint8),
        lambda: bytearray(2**55),
    ],
    ids=["torch", "torch-overflow", "numpy", "python"],
)
def test_an_allocator_that_gives_up_is_one_sentence(take):
    with pytest.raises(OutOfMemoryError) as caught, memory.reported("batch_size"):
        take()
    assert re.fullmatch(
        r"out of memory( \([^\n]+\))?; accepted: a smaller batch_size", str(caught.value)
    )


def test_other_errors_pass():
    for error in (NumericalError("loss is nan"), RuntimeError("shape [2, 3]"), ValueError("x")):
        with pytest.raises(type(error)) as caught, memory.reported("batch_size"):
            raise error
        assert caught.value is error
