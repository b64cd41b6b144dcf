"""What segmentation can be asked for, in a search and in a training from scratch."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from morphogen.core.config import Share, Side, config
from morphogen.core.errors import ConfigError, DataError
from morphogen.tasks.configs import TaskConfig, task_config
from morphogen.tasks.cut import Cut
from morphogen.tasks.segmentation.augment import SceneAugment
from morphogen.tasks.segmentation.inputs import SceneInputs
from morphogen.tasks.segmentation.readers import find
from morphogen.tasks.segmentation.scenes import Scenes
from morphogen.tasks.segmentation.task import SegmentationTask


@task_config("segmentation")
@config
class SegmentationConfig(TaskConfig):
    """Segmentation: images and masks, their size, what training images undergo, and the loss."""

    spatial_dims: ClassVar[int | None] = 2
    dense: ClassVar[bool] = True
    default_space: ClassVar[str] = "short-connections"

    height: Side = 0
    """pixels to which images and masks are resized; 0: as they are"""
    width: Side = 0
    """likewise; with one of the two the other must be given, too"""
    void: str = "255"
    """ids or names of mask pixels that count for nothing, in the loss and in the metric: '255',
    '0, void', or none"""
    class_names: str = ""
    """names of the ids, from 0 and with commas between them, where the data have none"""
    flip: bool = True
    """mirror training images and their masks at random; off wherever sides matter"""
    resized_crop: Share = 0.0
    """largest share of height and width that is cut from training images and their masks at random,
    before they are enlarged again; 0: none"""
    class_weights: str = "none"
    """weights of classes in the loss that trains weights: none; balanced, for every class the same
    in all; logarithmic, which is milder; or numbers, for classes that are not named 1:
    'car=2, sky=0.5'"""

    @classmethod
    def takes(cls, data: Any) -> bool:
        """Scenes in memory, folders of images and of masks, parquet files of both."""
        if not isinstance(data, str | os.PathLike):
            return isinstance(data, Scenes)
        try:
            return find(data) is not None
        except (DataError, OSError):
            return False

    @classmethod
    def inputs(cls) -> SceneInputs:
        """How a trained network is given other images."""
        return SceneInputs()

    def make(self, data: Any, cut: Cut) -> SegmentationTask:
        """The images and masks, read and cut; see `SegmentationTask.of`."""
        return SegmentationTask.of(
            data,
            **cut.given,
            size=self.size,
            channels=cut.channels,
            void=self.void,
            names=[name.strip() for name in self.class_names.split(",") if name.strip()],
            augment=SceneAugment(crop=self.resized_crop, flip=self.flip),
            class_weights=self.class_weights,
        )

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width to which images are resized, if they are."""
        if not self.height and not self.width:
            return None
        if not self.height or not self.width:
            raise ConfigError(
                f"height is {self.height} and width {self.width}; accepted: both in pixels, or "
                "neither"
            )
        return self.height, self.width
