"""Cut the images that ship with the package out of the full Fashion-MNIST.

    python benchmarks/cut_embedded.py --data fashion-mnist:PATH
    python benchmarks/cut_embedded.py --data fashion-mnist:PATH --check

The same rows each time: 600 train and 100 test images per class, drawn with a fixed seed, in the
order of the full files. The file keeps the row numbers, so that anyone can check it: --check cuts
anew, and fails if that is not what the package ships. Full Fashion-MNIST: docs/public-data.md.
"""

from __future__ import annotations

import argparse
import hashlib

import numpy as np
import record

from morphogen.tasks.classification.load import load
from morphogen.tasks.classification.readers.embedded import FASHION_CLASSES, FASHION_FILE

SEED = 1708_07747  # arXiv number of the Fashion-MNIST paper
PER_CLASS = {"train": 600, "test": 100}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    record.add_data(parser, "fashion-mnist")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args()
    arrays = cut(options.data)
    if not options.check:
        FASHION_FILE.parent.mkdir(exist_ok=True)
        np.savez_compressed(FASHION_FILE, **arrays)
        print(f"{FASHION_FILE}: {FASHION_FILE.stat().st_size:,} bytes")
        return
    with np.load(FASHION_FILE, allow_pickle=False) as shipped:
        wrong = [k for k, v in arrays.items() if not np.array_equal(shipped[k], v)]
    if wrong or set(shipped.files) != set(arrays):
        raise SystemExit(f"{FASHION_FILE} is not the cut of {options.data}: {wrong}")
    print(f"{FASHION_FILE} is the cut of {options.data}; SHA-256 of its arrays {digest(arrays)}")


def cut(data: str) -> dict[str, np.ndarray]:
    """The arrays of the shipped file."""
    arrays: dict[str, np.ndarray] = {"classes": np.array(FASHION_CLASSES)}
    for part, count in PER_CLASS.items():
        images = load(data, part)
        labels = images.labels.numpy()
        order = np.argsort(np.random.PCG64(SEED).random_raw(len(labels)), kind="stable")
        rows = np.sort(np.concatenate([order[labels[order] == c][:count] for c in range(10)]))
        arrays[f"x_{part}"] = images.pixels[:, 0].numpy()[rows]
        arrays[f"y_{part}"] = labels[rows].astype(np.uint8)
        arrays[f"rows_{part}"] = rows.astype(np.int32)
    return arrays


def digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of rows, pixels and labels of both parts, as tests/unit/tasks compares it."""
    total = hashlib.sha256()
    for part in PER_CLASS:
        for kind in ("rows", "x", "y"):
            total.update(np.ascontiguousarray(arrays[f"{kind}_{part}"]).tobytes())
    return total.hexdigest()


if __name__ == "__main__":
    main()
