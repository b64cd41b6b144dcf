"""The search parts of a data set: disjoint, drawn by class and seed, the same on every machine."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from morphogen.core.errors import ConfigError, DataError
from morphogen.tasks.cut import Cut, Parts
from morphogen.tasks.labelled.data import Labelled
from morphogen.tasks.labelled.groups import split_groups


def split(
    images: Labelled, train: int, valid: int, seed: int, *, share: bool = False
) -> tuple[Tensor, Tensor]:
    """Two disjoint sets of rows, each with the classes in the proportions of `images`.

    Examples of one group come to one set, see `groups`: the sets then have at most so many rows,
    or all rows in about this proportion.
    Rows are ordered by raw 64-bit draws of PCG64, whose stream numpy promises never to change: the
    split is the same on every machine and with every version.

    Args:
        images: what is split.
        train: rows of the first set.
        valid: rows of the second set; together at most all.
        seed: 0 or more.
        share: whether a message speaks of the second as a share, `held_out`.

    Returns:
        Row numbers, int64 `[train]` and `[valid]`, ascending.

    Raises:
        DataError: a class would be missing from one of the sets.
        ConfigError: the seed is negative.
    """
    if seed < 0:
        raise ConfigError(f"seed is {seed}; accepted: 0 or more")
    labels = images.labels.numpy()
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    if images.groups is not None:
        inside = split_groups(labels, images.groups, (train, valid), images.classes, seed)
        if train + valid == len(labels):  # all of them, in about this proportion
            train = valid = len(labels)
        return (
            _drawn(order[~inside[order]], labels, train),
            _drawn(order[inside[order]], labels, valid),
        )
    present = np.unique(labels)
    rows = [order[labels[order] == label] for label in present]
    counts = np.array([len(r) for r in rows])
    first, second = _shares(train, valid, counts)
    if min(first.min(), second.min()) == 0:
        raise _missing(images, present, counts, first, second, share=share)
    chosen = zip(rows, first, second, strict=True)
    pairs = [(r[:a], r[a : a + b]) for r, a, b in chosen]
    one, two = (np.sort(np.concatenate(part)) for part in zip(*pairs, strict=True))
    return torch.from_numpy(one), torch.from_numpy(two)


def _drawn(order: np.ndarray, labels: np.ndarray, count: int) -> Tensor:
    """The first of the rows `order`, at most `count`, classes in proportion; ascending."""
    present = np.unique(labels[order])
    rows = [order[labels[order] == label] for label in present]
    shares = apportion(min(count, len(order)), np.array([len(r) for r in rows]))
    chosen = np.concatenate([r[:share] for r, share in zip(rows, shares, strict=True)])
    return torch.from_numpy(np.sort(chosen))


def apportion(total: int, weights: np.ndarray) -> np.ndarray:
    """`total` shared in whole numbers in proportion to `weights`, by largest remainders.

    No share exceeds its weight while `total` is at most their sum; ties go to the first.
    """
    shares = total * weights.astype(np.int64)
    whole, rest = np.divmod(shares, weights.sum())
    short = total - int(whole.sum())
    whole[np.argsort(-rest, kind="stable")[:short]] += 1
    return whole


def parts_of(images: Labelled, cut: Cut, first: int | None = None) -> Parts:
    """The two search parts, as they are asked for.

    Args:
        images: all of them.
        cut: the two sizes, or a share of all; see `ImageTask.of`.
        first: of data that come with both parts, how many are of the train part, which is first;
            the others are the search-validation part, whole or as many of it as are asked for.

    Raises:
        DataError: they are too few, or cannot be split.
        ConfigError: a size is out of range.
    """
    if first is not None:
        rows = own_rows(images, first, cut.train, cut.valid, at_most=cut.at_most, seed=cut.seed)
        return Parts(*rows, cut.seed, own_valid=True)
    if cut.held_out is not None:
        return Parts(*hold_out(images, cut.held_out, cut.seed), cut.seed)
    asked = sizes(images, cut.train, cut.valid, cut.at_most)
    return Parts(*split(images, *asked, cut.seed), cut.seed, asked=asked)


def hold_out(images: Labelled, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Rows of the two parts, of which the second is a share of the images, from 0 to below 1."""
    n = len(images)
    if share == 0:
        return torch.arange(n), torch.arange(0)
    count = min(max(_count(n, "held_out", share), 1), n - 1)
    return split(images, n - count, count, seed, share=True)


def own_rows(
    images: Labelled,
    first: int,
    train: int | float | None,
    valid: int | float | None,
    *,
    at_most: Collection[str],
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Rows of the two search parts where the data come with both.

    Args:
        images: both, the train part first.
        first: images of the train part.
        train: how many of it are taken, drawn by class and seed; `None`: all.
        valid: the same of the other.
        at_most: see `ImageTask.of`.
        seed: 0 or more.
    """
    labels = images.labels.numpy()
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    taken = []
    bounds = ((0, first), (first, len(labels)))
    for (field, value), (start, end) in zip(_named(train, valid), bounds, strict=True):
        has = end - start
        count = has if value is None else _count(has, field, value)
        if count > has and field not in at_most:
            raise DataError(
                f"{field} is {count}, of a part of {has} {images.unit}; accepted: 1 to {has}"
            )
        taken.append(_drawn(order[(order >= start) & (order < end)], labels, count))
    return taken[0], taken[1]


def sizes(
    images: Labelled, train: int | float | None, valid: int | float | None, at_most: Collection[str]
) -> tuple[int, int]:
    """Rows of the two search parts of `images`."""
    n = len(images)
    if train is None and valid is None:
        return n - n // 2, n // 2
    counts = [None if v is None else _count(n, f, v) for f, v in _named(train, valid)]
    a, b = counts
    a = n - (b or 0) if a is None else a
    b = n - a if b is None else b
    if a + b > n:  # in the proportion that was asked for, where both may shrink
        if "train_images" in at_most and "valid_images" in at_most:
            a = min(max(round(n * a / (a + b)), 1), n - 1)
            b = n - a
            if b and not _fits(a, b, images):  # a class would be missing from one of them
                a, b = suggested(images) or (a, b)
        elif "train_images" in at_most:
            a = n - b
        elif "valid_images" in at_most:
            b = n - a
    if a < 1 or b < 1 or a + b > n:
        fit = suggested(images)
        raise DataError(
            f"train_images is {a} and valid_images {b} of {n} training {images.unit}; accepted: at "
            f"least 1 each and {n} together"
            + (f", for instance {fit[0]} and {fit[1]}" if fit else "")
        )
    return a, b


def chosen_rows(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` rows of labels `[n]`, the classes mixed evenly from first to last; 0 is all rows.

    The classes come in their own proportions as nearly as whole numbers allow, in the whole and in
    every stretch of it: equally many of each if the images have them so.
    """
    order = rng.permutation(len(labels))
    count = min(count, len(labels)) or len(labels)
    present, counts = np.unique(labels, return_counts=True)
    shares = apportion(count, counts)
    rows, places = [], []
    for label, share in zip(present, shares, strict=True):
        rows.append(order[labels[order] == label][:share])
        places.append((np.arange(share) + 0.5) / max(share, 1))
    return np.concatenate(rows)[np.argsort(np.concatenate(places), kind="stable")]


def suggested(images: Labelled) -> tuple[int, int] | None:
    """Sizes of the two search parts with which every class is in both; None if there are none."""
    n = len(images)
    for a, b in ((n - n // 3, n // 3), (n - n // 2, n // 2)):
        if _fits(a, b, images):
            return a, b
    return None


def _fits(train: int, valid: int, images: Labelled) -> bool:
    """Whether every class comes into both parts."""
    counts = torch.bincount(images.labels).numpy()
    return bool(min(map(min, _shares(train, valid, counts[counts > 0]))) > 0)


def _shares(train: int, valid: int, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of each class in either part, of so many in both together."""
    first = apportion(train, counts)
    return first, apportion(valid, counts - first)


def _missing(
    images: Labelled,
    present: np.ndarray,
    counts: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    *,
    share: bool,
) -> DataError:
    """A class would be missing from one of the parts: which, and sizes with which none is."""
    fit = suggested(images)
    fewest = int(counts.argmin())
    # The class that makes it impossible, where one does.
    at = fewest if fit is None else int(np.flatnonzero((first == 0) | (second == 0))[0])
    if fit is None:
        remedy = f"add {images.unit} to it, or leave it out"
        remedy += ", or held_out 0, which trains on all" if share else ""
    elif share:
        remedy = f"held_out {np.ceil(100 * fit[1] / len(images)) / 100:g}, for instance"
    else:
        remedy = f"train_images {fit[0]} and valid_images {fit[1]}, for instance"
    return DataError(
        f"class {images.classes[present[at]]!r} has {counts[at]} "
        f"{images.unit if counts[at] != 1 else images.unit[:-1]}, of which {first[at]} would come "
        f"to the train part and {second[at]} to the valid part; accepted: at "
        f"least one in each ({remedy})"
    )


def _named(
    train: int | float | None, valid: int | float | None
) -> tuple[tuple[str, int | float | None], ...]:
    return ("train_images", train), ("valid_images", valid)


def _count(n: int, field: str, value: int | float) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{field} is {value!r}; accepted: a count, or a fraction below 1")
    if isinstance(value, float) and not value.is_integer():
        if not 0 < value < 1:
            raise ConfigError(f"{field} is {value}; accepted: a count, or a fraction below 1")
        return int(n * value + 0.5)
    if value < 1:
        raise ConfigError(f"{field} is {value}; accepted: 1 or more, or a fraction below 1")
    return int(value)
