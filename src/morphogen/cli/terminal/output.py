"""What is printed: its width, JSON, drawings that the stream can show."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from morphogen.core.names import shown


def width() -> int:
    """Columns for text: those of the terminal, at most 110; no limit to speak of in a pipe."""
    return min(shutil.get_terminal_size().columns, 110)


def show_drawing(drawing: str) -> str:
    """The drawing as stdout can show it."""
    from morphogen.reports.draw import ASCII

    try:
        drawing.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return drawing.translate(ASCII)
    return drawing


def print_json(content: Any) -> None:
    """One JSON object on stdout."""
    print(json.dumps(content, indent=2))


def page_line(page: Path | None) -> str:
    """The last line of a result that has a page: where it is, or how to get it."""
    if page is None:
        return "With all figures on one HTML page: --page FILE.html"
    return f"Page: {shown(page)}"
