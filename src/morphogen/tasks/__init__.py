"""Tasks: image classification, its data and batched augmentation.

task = ImageTask.of("fashion-mnist", size=16)
x, y = task.stream("train", 64, torch.Generator().manual_seed(0)).next()
"""

from morphogen.tasks.augment import PLAIN, Augment
from morphogen.tasks.classification import ImageTask
from morphogen.tasks.images import Images
from morphogen.tasks.load import load, locate
from morphogen.tasks.readers.arrays import from_arrays
from morphogen.tasks.readers.dataset import from_dataset
from morphogen.tasks.streams import Batch, Stream

__all__ = [
    "PLAIN",
    "Augment",
    "Batch",
    "ImageTask",
    "Images",
    "Stream",
    "from_arrays",
    "from_dataset",
    "load",
    "locate",
]
