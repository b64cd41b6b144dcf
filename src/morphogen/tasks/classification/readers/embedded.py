"""The images that ship inside the package: 6,000 + 1,000 of Fashion-MNIST (MIT licence).

Cut by `benchmarks/cut_embedded.py`; the licence lies beside the file.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from morphogen.core.errors import DataError
from morphogen.tasks.classification.images import Source
from morphogen.tasks.classification.readers import arrays

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

FASHION_FILE = Path(__file__).parents[1] / "embedded" / "fashion_mnist.npz"


def fashion() -> Source:
    """The embedded subset: 600 train and 100 test images of each of ten classes, 28x28 grey."""
    source = arrays.find(FASHION_FILE)
    if source is None:
        raise DataError(
            f"the embedded images are missing at {str(FASHION_FILE)!r}; reinstall morphogen"
        )
    # Which rows of the full set these are is for whoever checks the cut, and no news to a user.
    return replace(source, name="fashion-mnist", notes=())
