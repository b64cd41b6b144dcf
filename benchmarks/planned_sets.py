"""Image sets for `planned_search.py` that no one has tuned on, cut from data sets that one has.

    python benchmarks/planned_sets.py DIRECTORY --camvid FOLDER --cifar10 FOLDER

`patches.npz`: street patches of CamVid, as many of a class as the streets have of it (many roads,
few fences); those of its test images are the test part. `few.npz`: 500 of CIFAR-10's training
images, and of its test part the 6,000 by which nothing was tuned.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from numpy.typing import NDArray
from PIL import Image

SIDE, STEP, PURE = 32, 24, 0.6
"""Pixels of a patch, between patches, and the share that must be of one class."""

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
    "bicyclist",
)  # fmt: skip
VOID = 11
FEW = 500
JUDGED = 4000
"""Test images, the first ones, that judged the tuning of the recipe of few data."""

Set = tuple[NDArray[np.uint8], NDArray[np.int64]]


def picture(value: bytes | dict[str, bytes]) -> NDArray[np.uint8]:
    """A column's image."""
    held = value if isinstance(value, bytes) else value["bytes"]
    return np.asarray(Image.open(io.BytesIO(held)))


def patches(files: list[Path]) -> Set:
    """The patches of some images that are nearly of one class; their images and classes."""
    found, labels = [], []
    for file in files:
        for row in parquet.read_table(file).to_pylist():
            image, mask = picture(row["image"]), picture(row["label"])
            for top in range(0, image.shape[0] - SIDE + 1, STEP):
                for left in range(0, image.shape[1] - SIDE + 1, STEP):
                    part = mask[top : top + SIDE, left : left + SIDE]
                    counts = np.bincount(part.ravel(), minlength=VOID + 1)
                    if counts[:VOID].max() >= PURE * SIDE * SIDE:
                        found.append(image[top : top + SIDE, left : left + SIDE])
                        labels.append(int(counts[:VOID].argmax()))
    return np.stack(found), np.array(labels)


def thinned(images: Set, most: int, seed: int) -> Set:
    """At most so many, drawn at random."""
    x, y = images
    rows = np.random.default_rng(seed).permutation(len(y))[:most]
    return x[rows], y[rows]


def main() -> None:
    """Write what is not there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--camvid", type=Path, required=True)
    parser.add_argument("--cifar10", type=Path, required=True)
    args = parser.parse_args()
    args.directory.mkdir(parents=True, exist_ok=True)
    train = thinned(
        patches([args.camvid / f"{part}.parquet" for part in ("train", "val")]), 6000, 0
    )
    test = thinned(patches([args.camvid / "test.parquet"]), 4000, 1)
    kept = [c for c in range(VOID) if (train[1] == c).sum() >= 12]
    parts = {"train": train, "test": test}
    held = {part: np.isin(y, kept) for part, (_, y) in parts.items()}
    np.savez_compressed(
        args.directory / "patches.npz",
        classes=np.array([CLASSES[c] for c in kept]),
        **{f"x_{part}": x[held[part]] for part, (x, _) in parts.items()},
        **{f"y_{part}": np.searchsorted(kept, y[held[part]]) for part, (_, y) in parts.items()},
    )
    few = {}
    for part in ("train", "test"):
        (file,) = args.cifar10.glob(f"{part}-*.parquet")
        table = parquet.read_table(file)
        rows = (table.slice(0, FEW) if part == "train" else table.slice(JUDGED)).to_pylist()
        few[f"x_{part}"] = np.stack([picture(row["img"]) for row in rows])
        few[f"y_{part}"] = np.array([row["label"] for row in rows])
    np.savez_compressed(args.directory / "few.npz", **few)
    for name in ("patches", "few"):
        with np.load(args.directory / f"{name}.npz") as made:
            counts = np.bincount(made["y_train"]).tolist()
            print(name, made["x_train"].shape, made["x_test"].shape, counts)


if __name__ == "__main__":
    main()
