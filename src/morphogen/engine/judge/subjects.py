"""What `rank` can judge, and which of its arguments each has a use for. No torch."""

from __future__ import annotations

SUBJECTS = ("run", "proxy", "predictor", "column")
"""Arguments of `rank`, of which one is given: what architectures are scored by."""

USED_BY: dict[str, tuple[str, ...]] = {
    "norms": ("run",),
    "recalibration_images": ("run",),
    "images": ("run",),
    "by": ("run",),
    "space": ("proxy", "predictor", "column"),
    "data": ("proxy",),
    "channels": ("proxy",),
    "depth": ("proxy",),
    "image_size": ("proxy",),
    "batch_size": ("proxy",),
    "fit": ("predictor",),
    "encoding": ("predictor",),
}
"""Arguments that only some subjects have a use for. (`space` and `data` are passed again for a run
whose own were objects.)"""

SAMPLE = 200
"""Architectures that are scored by default where that takes time."""

PLOTS = (".html", ".htm", ".svg")
"""Endings of a drawing."""
