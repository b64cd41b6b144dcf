"""One file per layout of image data on disk, each with `find(path) -> Source | None`.

None of them unpickles, runs or downloads anything: a data file can only be data or an error.
"""
