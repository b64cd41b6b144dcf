"""Pictures of architectures of layers: a box per layer, in rows, inside the drawing."""

from __future__ import annotations

import re

import pytest

from morphogen import spaces
from morphogen.reports.cells import picture


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("shufflenet", "21012020202300003233", 2),
        ("nasbench-macro", "01201201", 1),
        ("proxylessnas-gpu", "310050005111311165556", 3),
    ],
)
def test_layers_stand_in_rows_of_ten(name: str, text: str, rows: int) -> None:
    space = spaces.make(name)
    drawn = str(picture(space, space.parse(text)))
    tags = re.findall(r"<rect[^>]*>", drawn)
    boxes = [
        {k: float(v) for k, v in re.findall(r'(x|y|width|height)="([^"]*)"', tag)} for tag in tags
    ]
    assert len(boxes) == len(text)
    wide, high = map(float, re.findall(r'viewBox="0 0 (\S+) (\S+)"', drawn)[0])
    assert len({box["y"] + box["height"] for box in boxes}) == rows
    assert all(box["y"] >= 0 and box["x"] + box["width"] <= wide for box in boxes)
    assert all(box["y"] + box["height"] <= high for box in boxes)
    # A heavier operation stands higher, and layers of one digit are of one height.
    heights = {digit: box["height"] for digit, box in zip(text, boxes, strict=True)}
    assert [heights[d] for d in sorted(heights)] == sorted(set(heights.values()))
