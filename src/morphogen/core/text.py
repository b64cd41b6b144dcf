"""Plain text for people: folded paragraphs, aligned columns, readable numbers. No torch."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from morphogen.core.names import shown


def fold(text: str, width: int, *, indent: int = 0, hanging: int | None = None) -> str:
    """`text` in lines of at most `width` columns; words (architectures, paths) are never cut.

    Args:
        text: one paragraph; what is not printable in it is shown as an escape.
        width: columns.
        indent: spaces before the first line.
        hanging: spaces before the others; by default the same.
    """
    return textwrap.fill(
        shown(text),
        max(width, indent + 20),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent if hanging is None else hanging),
        break_long_words=False,
        break_on_hyphens=False,
    )


def columns(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1, indent: int = 2
) -> str:
    """A table: the first `left` columns left-aligned, the others right, two spaces between."""
    table = [[shown(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    lines = []
    for row in table:
        cells = [
            cell.ljust(w) if i < left else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(" " * indent + "  ".join(cells).rstrip())
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """`42 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, smaller, size, step in (("d", "h", 86400, 3600), ("h", "min", 3600, 60)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // step} {smaller}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def count(number: int) -> str:
    """`15,625`; from a billion on `about 1.2e+18`."""
    return f"{number:,}" if number < 10**9 else f"about {number:.1e}".replace("e+", "e")


def roughly(number: float) -> str:
    """`8.1`, `213`: the digits that matter of what is not known to more."""
    return f"{number:.1f}" if number < 10 else count(round(number))


def figure(value: float, unit: str) -> str:
    """A table's value: two digits of percent, four significant ones of fractions, whole counts."""
    if "%" in unit:
        return f"{value:.2f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
