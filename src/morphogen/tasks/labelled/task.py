"""What all classification has in common: classes, the cut of the parts, loss and accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from morphogen.core.errors import ConfigError, SpaceError
from morphogen.core.statistics import proportion
from morphogen.supernets.nested import length_of, shapes
from morphogen.tasks.batches import Batch
from morphogen.tasks.cut import Parts
from morphogen.tasks.labelled.data import Labelled
from morphogen.tasks.labelled.remarks import remarks
from morphogen.tasks.labelled.split import chosen_rows
from morphogen.tasks.labelled.weighting import ClassWeights
from morphogen.tasks.labelled.weighting import class_weights as weights_of
from morphogen.tasks.metric import Compare, Metric, Sums
from morphogen.tasks.pooled import PooledTask

L = TypeVar("L", bound=Labelled)


class LabelledTask(PooledTask[L]):
    """Examples of classes, cut into two disjoint search parts by class and seed, groups whole.

    Args: those of `PooledTask`, and
        class_weights: of the loss that trains weights, see `weighting`.
        label_smoothing: of the same: the share of a label that goes to all classes alike.

    Raises:
        ConfigError: an option is out of range.
    """

    metric = Metric("accuracy", "%", bounds=(0.0, 100.0))
    drawn_by = ("class", "seed")

    def __init__(
        self,
        name: str,
        whole: L,
        parts: Parts,
        *,
        test: Any,
        class_weights: ClassWeights,
        label_smoothing: float,
    ) -> None:
        if not 0 <= label_smoothing < 1:
            raise ConfigError(f"label_smoothing is {label_smoothing}; accepted: 0 or more, below 1")
        super().__init__(name, whole, parts, test=test)
        self.label_smoothing = label_smoothing
        self._class_weights = class_weights
        self._weights = weights_of(class_weights, self._counts(self.train_rows), whole.classes)

    # -- data --------------------------------------------------------------------------------

    @property
    def unit(self) -> str:  # type: ignore[override]
        """What its examples are: `images`, `signals`."""
        return self.pool.unit

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.pool.classes

    def choose(self, part: str, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """`count` rows of a part, the classes mixed evenly from first to last; 0 is all rows."""
        return chosen_rows(self.pool.labels[self.rows(part)].numpy(), count, rng)

    def outputs(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def train_on_all(self) -> None:
        """Take class weights from all examples, not from the train part."""
        counts = self._counts(self.rows("pool"))
        self._weights = weights_of(self._class_weights, counts, self.classes)

    def _counts(self, rows: Tensor) -> Tensor:
        """How many of these rows are of each class."""
        return torch.bincount(self.pool.labels[rows], minlength=len(self.classes))

    # -- the record --------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """All that a report knows of the task: also its classes."""
        return super().describe() | {"classes": list(self.classes)}

    def remarks(self) -> list[str]:
        """What a user should know of the data, a sentence each."""
        return remarks(self.whole) + self.overlap()

    # -- loss and metric ---------------------------------------------------------------------

    def loss(self, output: Tensor, y: Tensor, *, train: bool = False, each: bool = False) -> Tensor:
        """Cross entropy in nats of logits `[b, classes]` and labels `[b]`; see `Task.loss`.

        With smoothing, targets are `(1 - smoothing) onehot + smoothing / classes` (Szegedy et al.,
        CVPR 2016, arXiv 1512.00567, section 7). With class weights, every example's loss is
        multiplied by its class's. The mean is divided by the number of examples, not by the sum of
        their weights, so that the shares of data-parallel processes add up.
        """
        smoothing, weights = (self.label_smoothing, self._weights) if train else (0.0, None)
        if weights is None:
            reduction = "none" if each else "mean"
            return F.cross_entropy(output, y, label_smoothing=smoothing, reduction=reduction)
        if weights.device != output.device:
            weights = self._weights = weights.to(output.device)
        values = F.cross_entropy(output, y, label_smoothing=smoothing, reduction="none")
        values = weights[y] * values
        return values if each else values.mean()

    @property
    def criterion(self) -> Compare:
        """Cross entropy of logits and labels."""
        return F.cross_entropy

    def check_output(self, output: Any, batch: Batch, *, whose: str) -> tuple[str, ...]:
        """Refuse what is no row of scores for each example; see `Task.check_output`."""
        count, classes = length_of(batch.x), len(self.classes)
        shape = list(output.shape) if isinstance(output, Tensor) else []
        if len(shape) != 2 or shape[0] != count or shape[1] < classes:
            raise SpaceError(
                f"{whose} gives {shapes(output)} for inputs {shapes(batch.x)}; accepted: "
                f"{self.accepted_output(batch)}"
            )
        more = shape[1] - classes
        if not more:
            return ()
        return (
            f"{whose} gives {shape[1]} scores for {classes} classes: {more} of them are for no "
            "class of the data, and wrong wherever they are largest",
        )

    def accepted_output(self, batch: Batch) -> str:
        """In words, what a network has to give for a batch."""
        count = length_of(batch.x)
        return f"scores [{count}, {len(self.classes)}], one for each example and class"

    def counts(self, output: Tensor, y: Tensor) -> Sums:
        """`right`: examples whose largest logit is their label's, and whose logits are finite."""
        right = (output.argmax(1) == y) & output.isfinite().all(dim=1)
        return {"right": right.sum().double()}

    def value(self, sums: Mapping[str, Tensor]) -> float:
        """The accuracy in percent."""
        return float(100.0 * sums["right"] / sums["size"])

    def interval(self, sums: Mapping[str, Tensor]) -> tuple[float, float]:
        """Wilson's, of the share of right answers."""
        low, high = proportion(float(sums["right"]), float(sums["size"]))
        return 100.0 * low, 100.0 * high
