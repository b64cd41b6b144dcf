"""Images with masks: from folders, and from parquet files with two columns of encoded images."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from morphogen.core.reading import trouble
from morphogen.tasks.segmentation.readers import folder, parquet
from morphogen.tasks.segmentation.scenes import SceneSource


def find(data: str | os.PathLike[str]) -> SceneSource | None:
    """A data set of images and masks at a path, not read; None if there is none.

    Raises:
        DataError: there is one, but it is not clear which mask is of which image.
        OSError: a folder may not be read.
    """
    path = Path(data)
    if path.is_dir():
        found = folder.find(path) or parquet.find(path)
    elif path.suffix.lower() == ".parquet" and not trouble(path):
        found = parquet.find(path)
    else:
        found = None
    return None if found is None else replace(found, name=os.fspath(data))
