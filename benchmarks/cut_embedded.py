"""Cut the images that ship with the package out of the full Fashion-MNIST.

    python benchmarks/cut_embedded.py ../shared/data/fashion_mnist

The same rows each time: 600 train and 100 test images per class, drawn with a fixed seed, in the
order of the full files. The file keeps the row numbers, so that anyone can check it.
"""

from __future__ import annotations

import argparse

import numpy as np

from morphogen.tasks.load import load
from morphogen.tasks.readers.embedded import FASHION_CLASSES, FASHION_FILE

SEED = 1708_07747  # arXiv number of the Fashion-MNIST paper
PER_CLASS = {"train": 600, "test": 100}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="folder with the full Fashion-MNIST")
    source = parser.parse_args().source
    arrays: dict[str, np.ndarray] = {"classes": np.array(FASHION_CLASSES)}
    for part, count in PER_CLASS.items():
        images = load(source, part)
        labels = images.labels.numpy()
        order = np.argsort(np.random.PCG64(SEED).random_raw(len(labels)), kind="stable")
        rows = np.sort(np.concatenate([order[labels[order] == c][:count] for c in range(10)]))
        arrays[f"x_{part}"] = images.pixels[:, 0].numpy()[rows]
        arrays[f"y_{part}"] = labels[rows].astype(np.uint8)
        arrays[f"rows_{part}"] = rows.astype(np.int32)
    FASHION_FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FASHION_FILE, **arrays)
    print(f"{FASHION_FILE}: {FASHION_FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
