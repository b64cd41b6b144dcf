"""Packages of environments, which are an extra."""

from __future__ import annotations

import io
import warnings
from contextlib import redirect_stderr
from importlib import import_module
from typing import Any

from morphogen.core.errors import DataError


def needed(package: str) -> Any:
    """The package, imported.

    Raises:
        DataError: it is not installed.
    """
    try:
        # The package gym, which envpool brings along, complains of itself.
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            return import_module(package)
    except ImportError as error:
        raise DataError(
            f"these environments need the package {package}, which cannot be imported "
            f"({error}); accepted: after pip install 'morphogen[rl]'"
        ) from error
