"""What images can be asked for, in a search and in a training from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

from morphogen.core.config import Share, Side, config
from morphogen.core.errors import DataError
from morphogen.tasks.classification.augment import Augment
from morphogen.tasks.classification.inputs import ImageInputs
from morphogen.tasks.classification.policies import Policy
from morphogen.tasks.classification.task import ImageTask
from morphogen.tasks.configs import TaskConfig, task_config
from morphogen.tasks.cut import Cut

LARGEST, SMALLEST, GRAIN = 64, 12, 4
"""Pixels of a side, where nobody asks for other sizes; and by what they can be divided, since
networks halve their maps twice."""


@task_config("images")
@config
class ImageConfig(TaskConfig):
    """Images: their size, what training images undergo, and the loss."""

    spatial_dims: ClassVar[int | None] = 2
    default_space: ClassVar[str] = "nasbench201"
    planned_space: ClassVar[str] = "anynet"
    fits: ClassVar[bool] = True
    usual_data: ClassVar[str] = "fashion-mnist"
    sizes: ClassVar[tuple[str, ...]] = ("image_size",)
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
    """shift training images at random, by an eighth of their size at most. A training that sees
    each image a few times does not, nor does a search that is planned for one, unless --crop is
    given"""
    auto_augment: Policy = "none"
    """operations that training images undergo at random: cifar10, the policy that AutoAugment found
    there; trivial, one of TrivialAugment's. They turn and recolour: none where direction or colour
    tells the classes apart. A training that sees each image often takes cifar10, as does a search
    that is planned for one, unless this is given"""
    cutout: Side = 0
    """side in pixels of the square that is cut out of training images; 0: none"""
    label_smoothing: Share = 0.0
    """share of a label that goes to all classes alike, in the loss that trains weights (paper,
    CIFAR: 0; ImageNet: 0.1)"""
    class_weights: str = "none"
    """weights of classes in the loss that trains weights: none; balanced, for every class the same
    in all; logarithmic, which is milder; or numbers, for classes that are not named 1:
    'cat=2, dog=0.5'"""

    @property
    def seen_often(self) -> Mapping[str, Any]:
        """AutoAugment's policy, unless direction matters."""
        return {"auto_augment": "cifar10"} if self.flip else {}

    @property
    def seen_seldom(self) -> Mapping[str, Any]:
        """No shifts: images that are hardly known need not be made new ones."""
        return {"crop": False}

    @classmethod
    def inputs(cls) -> ImageInputs:
        """How a trained network is given other images."""
        return ImageInputs()

    def make(self, data: Any, cut: Cut) -> ImageTask:
        """The images, read and cut; see `ImageTask.of`."""
        return ImageTask.of(
            data,
            **cut.given,
            size=self.size,
            channels=cut.channels,
            augment=self.augment,
            class_weights=self.class_weights,
            label_smoothing=self.label_smoothing,
        )

    def at_sizes(self, data: Any, cut: Cut) -> tuple[ImageTask, tuple[Self, ...]]:
        """The images as they are, or `LARGEST` pixels if they are larger or of several sizes.

        And half as wide and high, where that leaves `SMALLEST` pixels.
        """
        try:
            task = replace(self, image_size=0).make(data, cut)
            high, wide = task.example().shape[2:]
            side = max(high, wide) if high % GRAIN or wide % GRAIN or high != wide else 0
        except DataError:  # of several sizes, say; what else is wrong is said again below
            high = wide = side = LARGEST
        if side or max(high, wide) > LARGEST:
            high = wide = min(LARGEST, max(GRAIN, max(high, wide) // GRAIN * GRAIN))
            task = replace(self, image_size=high).make(data, cut)
        half = -(-high // 2 // GRAIN) * GRAIN
        sides = [high, *([half] if half >= SMALLEST else [])]
        return task, tuple(replace(self, image_size=side) for side in sides)

    @property
    def augment(self) -> Augment:
        """What training images undergo."""
        return Augment(
            padding=None if self.crop else 0,
            flip=self.flip,
            policy=self.auto_augment,
            cutout=self.cutout,
        )

    @property
    def size(self) -> int | None:
        """Pixels to which images are resized, if they are."""
        return self.image_size or None
