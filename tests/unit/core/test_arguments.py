"""Objects from Python are of the kind that is meant, or one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from morphogen.core import ConfigError, arguments
from morphogen.core.ranges import Range


def test_whole_numbers_of_every_library_are_taken():
    for value in (3, np.int64(3), np.uint8(3), torch.tensor(3)):
        taken = arguments.whole("batch", value, Range(1, 9))
        assert (type(taken), taken) == (int, 3)


@pytest.mark.parametrize(
    "value",
    [0, 10, 10**5000, -1, 3.0, "3", True, None, float("nan"), [3], int],
    ids=lambda v: "huge" if isinstance(v, int) and v > 10 else str(v),
)
def test_what_is_no_whole_number_of_the_range_is_refused(value):
    with pytest.raises(ConfigError, match="accepted: a whole number from 1 to 9") as caught:
        arguments.whole("batch", value, Range(1, 9))
    assert str(caught.value).startswith("batch is ")


def test_paths_are_what_a_file_can_be_called(tmp_path):
    for value in ("a", Path("a"), tmp_path, "b\udcff"):
        assert arguments.path("run", value) == Path(value)
    for value in ("", b"a", "a\0", "\ud800", "x" * 5000, 3, None, Path):
        with pytest.raises(ConfigError, match=r"^run is .*; accepted: a path, as text or pathlib"):
            arguments.path("run", value)
