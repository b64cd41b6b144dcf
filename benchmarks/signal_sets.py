"""Signals that packages carry, as .npz files that `--data` reads.

    pip install aeon seglearn      # in an environment of its own: morphogen needs neither
    python benchmarks/signal_sets.py DIRECTORY

japanese-vowels.npz   270 + 370 utterances of 9 speakers, 12 cepstrum coefficients, 7 to 29 points,
                      zeros after the end (Kudo, Toyama and Shimbo 1999; in aeon)
acsf1.npz             100 + 100 recordings of the power of 10 kinds of appliances, 1460 points
                      (Gisler et al. 2013; in aeon)
basic-motions.npz     40 + 40 recordings of 4 activities, 6 inertial channels, 100 points (in aeon)
watch.npz             windows of 2 s, half of each new, of 140 recordings of 7 shoulder exercises
                      by a watch: 6 inertial channels, 100 points, the subject as group; subjects
                      8, 9 and 10 are the test part (Burns et al. 2018, arXiv 1802.01489; in
                      seglearn)
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np

WINDOW, STRIDE = 100, 50
"""Points of a window of the watch, at 50 Hz, and from one to the next."""
TEST_SUBJECTS = (8, 9, 10)
SETS = {"JapaneseVowels": "japanese-vowels", "ACSF1": "acsf1", "BasicMotions": "basic-motions"}


def folder(package: str) -> Path:
    """Where a package is installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is not installed; accepted: pip install {package}")
    return Path(spec.origin).parent


def padded(series: list[np.ndarray], length: int) -> np.ndarray:
    """Series [channels, points] of up to `length` points as one array, zeros after their end."""
    out = np.zeros((len(series), series[0].shape[0], length), np.float32)
    for row, values in enumerate(series):
        out[row, :, : values.shape[1]] = values
    return out


def of_aeon(name: str) -> dict[str, np.ndarray]:
    """The two parts of a data set that aeon carries."""
    from aeon.datasets import load_from_ts_file

    data = folder("aeon") / "datasets" / "data" / name
    found = {part: load_from_ts_file(str(data / f"{name}_{part}.ts")) for part in ("TRAIN", "TEST")}
    longest = max(values.shape[1] for series, _ in found.values() for values in series)
    out = {}
    for part, (series, labels) in found.items():
        out[f"x_{part.lower()}"] = padded(list(series), longest)
        out[f"y_{part.lower()}"] = np.asarray(labels).astype(str)
    return out


def of_watch() -> dict[str, np.ndarray]:
    """Windows of the recordings of seglearn's watch, by subject."""
    # A pickle: read here, from an installed package, and by nothing else.
    file = folder("seglearn") / "data" / "watch_dataset.npy"
    held = np.load(file, allow_pickle=True).item()
    out: dict[str, list[np.ndarray]] = {}
    for values, label, subject in zip(held["X"], held["y"], held["subject"], strict=True):
        starts = range(0, len(values) - WINDOW + 1, STRIDE)
        windows = np.stack([values[start : start + WINDOW].T for start in starts])
        part = "test" if subject in TEST_SUBJECTS else "train"
        out.setdefault(f"x_{part}", []).append(windows.astype(np.float32))
        out.setdefault(f"y_{part}", []).append(np.full(len(windows), held["y_labels"][label]))
        out.setdefault(f"groups_{part}", []).append(np.full(len(windows), subject))
    return {name: np.concatenate(parts) for name, parts in out.items()}


def main() -> None:
    """Write all of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args().directory
    directory.mkdir(parents=True, exist_ok=True)
    for name, file in SETS.items():
        np.savez_compressed(directory / f"{file}.npz", **of_aeon(name))
    np.savez_compressed(directory / "watch.npz", **of_watch())
    for file in sorted(directory.glob("*.npz")):
        with np.load(file) as held:
            print(file, {name: held[name].shape for name in held})


if __name__ == "__main__":
    main()
