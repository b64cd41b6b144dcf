"""Image classification: its data, augmentation, loss and metric.

task = ImageTask.of("fashion-mnist", size=16)
x, y, _ = task.stream("train", 64, torch.Generator().manual_seed(0)).next()
"""

from morphogen.tasks.classification.augment import PLAIN, Augment
from morphogen.tasks.classification.config import ImageConfig
from morphogen.tasks.classification.images import Images
from morphogen.tasks.classification.load import load, locate
from morphogen.tasks.classification.readers.arrays import from_arrays
from morphogen.tasks.classification.readers.dataset import from_dataset
from morphogen.tasks.classification.task import Data, ImageExamples, ImageTask

__all__ = [
    "PLAIN",
    "Augment",
    "Data",
    "ImageConfig",
    "ImageExamples",
    "ImageTask",
    "Images",
    "from_arrays",
    "from_dataset",
    "load",
    "locate",
]
