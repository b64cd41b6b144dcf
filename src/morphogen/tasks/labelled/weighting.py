"""Weights of classes in the loss that trains weights, for data whose classes are unbalanced."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from morphogen.core.errors import ConfigError
from morphogen.tasks.labelled.names import few, spelled

ClassWeights = str | Mapping[str, float]
"""`none`, `balanced`, `logarithmic`, or numbers by class: a mapping, or text as `cat=2, dog=0.5`.
"""

_ACCEPTED = "accepted: none, balanced, logarithmic, or numbers by class as 'cat=2, dog=0.5'"
_MOST = 1e6


def class_weights(asked: ClassWeights, counts: Tensor, classes: Sequence[str]) -> Tensor | None:
    """The weight of an image's loss by its class, float32 `[classes]`; None where all weigh alike.

    `balanced` is n / (k n_c), as scikit-learn's: of n images of k classes, n_c are of class c.
    `logarithmic` is proportional to 1 / ln(1.02 + n_c / n) (ENet, Paszke et al., 2016, arXiv
    1606.02147, section 5.2), from 1.4 of a class that is alone to 50 of the rarest before scaling.
    Weights of both are 1 in the mean over images. Classes without images, and those that are not
    named among given numbers, weigh 1.

    Args:
        asked: what was asked for.
        counts: images, or pixels, of each class among those that are trained on, int64
            `[classes]`.
        classes: their names.

    Raises:
        ConfigError: a number is not positive, or there is no such class.
    """
    if asked == "none":
        return None
    if asked == "balanced":
        present = counts > 0
        even = int(counts.sum()) / int(present.sum())
        return torch.where(present, even / counts.double().clamp_min(1), 1.0).float()
    if asked == "logarithmic":
        shares = counts.double() / counts.sum()
        weights = 1 / (1.02 + shares).log()
        return torch.where(counts > 0, weights / (weights @ shares), 1.0).float()
    given = _parsed(asked) if isinstance(asked, str) else asked
    place = {spelled(name): i for i, name in enumerate(classes)}
    found = torch.ones(len(classes))
    for name, value in given.items():
        if spelled(str(name)) not in place:
            raise ConfigError(f"class_weights names the class {name!r}; accepted: {few(classes)}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and 0 < value <= _MOST and math.isfinite(value)):
            raise ConfigError(
                f"class_weights of {name!r} is {value!r}; accepted: a number above 0, up to "
                f"{_MOST:g}"
            )
        found[place[spelled(str(name))]] = value
    return found


def _parsed(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for pair in text.split(","):
        name, equals, number = pair.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            equals = ""
        if not equals or not name.strip() or spelled(name) in map(spelled, found):
            raise ConfigError(f"class_weights is {text!r}; {_ACCEPTED}, each class once")
        found[name.strip()] = value
    return found
