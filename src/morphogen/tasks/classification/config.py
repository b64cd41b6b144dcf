"""What images can be asked for, in a search and in a training from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from morphogen.core.config import Share, Side, config
from morphogen.tasks.classification.augment import Augment
from morphogen.tasks.classification.inputs import ImageInputs
from morphogen.tasks.classification.task import ImageTask
from morphogen.tasks.configs import TaskConfig, task_config
from morphogen.tasks.cut import Cut


@task_config("images")
@config
class ImageConfig(TaskConfig):
    """Images: their size, what training images undergo, and the loss."""

    spatial_dims: ClassVar[int | None] = 2
    default_space: ClassVar[str] = "nasbench201"
    usual_data: ClassVar[str] = "fashion-mnist"
    licences: ClassVar[Mapping[str, str]] = {
        "fashion-mnist": "MIT (Zalando Research, Fashion-MNIST)",
        "cifar10": "no licence stated by its authors; cite Krizhevsky, 2009",
        "cifar100": "no licence stated by its authors; cite Krizhevsky, 2009",
    }

    image_size: Side = 16
    """height and width in pixels to which images are resized; 0: as they are (paper: 32)"""
    flip: bool = True
    """mirror training images at random; off for digits, letters and wherever sides matter"""
    crop: bool = True
    """shift training images at random, by an eighth of their size at most"""
    cutout: Side = 0
    """side in pixels of the square that is cut out of training images; 0: none"""
    label_smoothing: Share = 0.0
    """share of a label that goes to all classes alike, in the loss that trains weights (paper,
    CIFAR: 0; ImageNet: 0.1)"""
    class_weights: str = "none"
    """weights of classes in the loss that trains weights: none; balanced, for every class the same
    in all; logarithmic, which is milder; or numbers, for classes that are not named 1:
    'cat=2, dog=0.5'"""

    @classmethod
    def inputs(cls) -> ImageInputs:
        """How a trained network is given other images."""
        return ImageInputs()

    def make(self, data: Any, cut: Cut) -> ImageTask:
        """The images, read and cut; see `ImageTask.of`."""
        return ImageTask.of(
            data,
            train_images=cut.train,
            valid_images=cut.valid,
            at_most=cut.at_most,
            held_out=cut.held_out,
            size=self.size,
            channels=cut.channels,
            seed=cut.seed,
            augment=self.augment,
            class_weights=self.class_weights,
            label_smoothing=self.label_smoothing,
        )

    @property
    def augment(self) -> Augment:
        """What training images undergo."""
        return Augment(padding=None if self.crop else 0, flip=self.flip, cutout=self.cutout)

    @property
    def size(self) -> int | None:
        """Pixels to which images are resized, if they are."""
        return self.image_size or None
