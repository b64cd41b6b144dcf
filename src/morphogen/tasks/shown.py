"""Examples that a report shows: what a trained network makes of them, as pictures or texts."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Picture:
    """One example."""

    caption: str
    png: bytes
    """A file of PNG."""


@dataclass(frozen=True)
class Shown:
    """Some examples of a task."""

    text: str
    """What is seen, a sentence or two."""
    pictures: tuple[Picture, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    """What colours stand for: a name, and the colour as `#rrggbb`."""
    head: tuple[str, ...] = ()
    """Of a table of examples that are texts."""
    rows: tuple[tuple[str, ...], ...] = ()

    def to_mapping(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "text": self.text,
            "pictures": [
                {"caption": one.caption, "png": b64encode(one.png).decode("ascii")}
                for one in self.pictures
            ],
            "head": list(self.head),
            "rows": [list(row) for row in self.rows],
            "legend": [{"name": name, "colour": colour} for name, colour in self.legend],
        }
