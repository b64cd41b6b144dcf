"""Segmentation: a class for every pixel. Images with masks, their augmentation, loss and mIoU.

task = SegmentationTask.of("scenes", void="11")
x, y, _ = task.stream("train", 8, torch.Generator().manual_seed(0)).next()
"""

from morphogen.tasks.segmentation.answers import Mask
from morphogen.tasks.segmentation.augment import SceneAugment
from morphogen.tasks.segmentation.config import SegmentationConfig
from morphogen.tasks.segmentation.scenes import VOID, Scenes
from morphogen.tasks.segmentation.task import Data, SceneExamples, SegmentationTask

__all__ = [
    "VOID",
    "Data",
    "Mask",
    "SceneAugment",
    "SceneExamples",
    "Scenes",
    "SegmentationConfig",
    "SegmentationTask",
]
