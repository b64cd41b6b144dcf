"""Time of loading and augmenting one batch: median of many, one core.

python benchmarks/data_path.py
"""

from __future__ import annotations

import statistics
import time

import torch

from morphogen.tasks import Augment, Images, Stream
from morphogen.tasks.images import numbered

REPEATS = 500


def milliseconds(stream: Stream) -> tuple[float, float]:
    """Median and 95th percentile of `stream.next()`."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        stream.next()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


def main() -> None:
    torch.set_num_threads(1)
    print("batch 64, images in memory; milliseconds per batch: median, 95th percentile")
    for channels, size in ((1, 16), (3, 16), (1, 28), (3, 32)):
        pixels = torch.randint(0, 256, (25_000, channels, size, size)).to(torch.uint8)
        images = Images(pixels, torch.arange(25_000) % 10, numbered(10))
        for name, augment in (
            ("normalise", Augment(padding=0, flip=False)),
            ("crop, flip", Augment()),
            ("crop, flip, cutout", Augment(cutout=size // 2)),
        ):
            stream = Stream(
                images,
                64,
                torch.Generator().manual_seed(0),
                augment=augment,
                mean=(0.5,) * channels,
                std=(0.25,) * channels,
            )
            middle, late = milliseconds(stream)
            print(f"{channels} x {size} x {size}  {name:20} {middle:6.3f} {late:6.3f}")


if __name__ == "__main__":
    main()
