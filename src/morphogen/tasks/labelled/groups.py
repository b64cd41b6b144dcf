"""Groups: rows that belong together (of one subject, one recording) stay together in a split.

A network that has seen one second of a recording knows the next one; were both halves of it in the
train part and in the part that judges, accuracies would say nothing of new subjects. So a group
never straddles a split. Row counts and class shares are met as nearly as whole groups allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import DataError
from morphogen.tasks.labelled.names import few

Groups = NDArray[Any]
"""The name of each row's group, text `[n]`."""

TRIES = 50
"""Orders of the groups that are tried until every class is in both parts."""


def group_names(values: Sequence[object] | NDArray[Any], count: int, where: str) -> Groups:
    """The name of every row's group as text `[count]`.

    Args:
        values: `[count]` or `[count, 1]`: whole numbers or text, none missing.
        count: rows.
        where: what they are of, for messages.

    Raises:
        DataError: they are something else, or as many as there are rows.
    """
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (count,):
        raise DataError(
            f"{where} has groups of shape {list(array.shape)} for {count} rows; accepted: one "
            "group for each row"
        )
    kinds = {type(value).__name__ for value in array.tolist()}
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind not in "iuUO" or not kinds <= {"int", "str"} or len(kinds) > 1:
        odd = next((v for v in array.tolist() if type(v) not in (int, str)), "numbers and text")
        raise DataError(
            f"{where} has {odd!r} among its groups; accepted: whole numbers, or names, and none "
            "missing"
        )
    return array.astype(str)


def split_groups(
    labels: NDArray[np.int64],
    groups: Groups,
    shares: tuple[int, int],
    classes: Sequence[str],
    seed: int,
) -> NDArray[np.bool_]:
    """Which rows come to the second of two parts: whole groups, classes in about equal shares.

    Greedy, large groups first: each goes to the part that lacks more of what it holds, every class
    counted relative to its size; the last group of a class that a part has nothing of goes there.
    Of groups of about one size the order is drawn by the seed; orders are drawn until every class
    is in both parts.

    Args:
        labels: classes of the rows.
        groups: the group of each row.
        shares: rows of the parts; only their proportion counts.
        classes: names, for messages.
        seed: 0 or more.

    Raises:
        DataError: there is one group only, or a class is in one group only.
    """
    names, of_row = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise DataError(
            f"all rows are of one group, {str(names[0])!r}; accepted: two groups or more, since a "
            "group is never in both the train and the valid part"
        )
    present, row_class = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(names), len(present)))
    np.add.at(counts, (of_row, row_class), 1)
    single = np.flatnonzero((counts > 0).sum(0) < 2)
    if len(single):
        only = names[counts[:, single[0]].argmax()]
        raise DataError(
            f"class {classes[present[single[0]]]!r} is in one group only, {str(only)!r}, and a "
            "group is never in both the train and the valid part; accepted: every class in two "
            "groups or more"
        )
    total = counts.sum(0)
    lacking = np.outer(np.array(shares) / sum(shares), total)
    # Powers of two: within a factor of two the drawn order counts, so that seeds differ.
    sizes = np.floor(np.log2(counts.sum(1)))
    draws = np.random.PCG64(seed)
    for _ in range(TRIES):
        order = np.argsort(draws.random_raw(len(names)), kind="stable")
        order = order[np.argsort(-sizes[order], kind="stable")]
        second = _greedy(counts, order, lacking / total)
        if (counts[second].sum(0) > 0).all() and (counts[~second].sum(0) > 0).all():
            return second[of_row]
    rare = classes[present[(counts > 0).sum(0).argmin()]]
    raise DataError(
        f"the {len(names)} groups could not be cut in two parts with every class in both (class "
        f"{rare!r} is in the fewest groups); accepted: more groups with it, or another seed"
    )


def _greedy(
    counts: NDArray[np.float64], order: NDArray[np.intp], wanted: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which groups come to the second part.

    Args:
        counts: `[groups, classes]`.
        order: in which they are placed.
        wanted: `[2, classes]`, shares of each class; rows add up to 1.
    """
    shares = counts / counts.sum(0)
    lacking, left = wanted.copy(), (counts > 0).sum(0)
    second = np.zeros(len(counts), bool)
    for group in order:
        held = counts[group] > 0
        last = held & (left == 1)
        empty = [int((last & (lacking[part] == wanted[part])).sum()) for part in (0, 1)]
        # Least squares: a group takes most from the distance where most is lacking.
        part = int((lacking[1] @ shares[group]) > (lacking[0] @ shares[group]))
        if empty[0] != empty[1]:
            part = int(empty[1] > empty[0])
        second[group] = bool(part)
        lacking[part] -= shares[group]
        left -= held
    return second


def joined_groups(one: Groups | None, other: Groups | None) -> Groups | None:
    """Those of two parts in a row; None unless both have them."""
    return None if one is None or other is None else np.concatenate([one, other])


def shared_groups(train: Groups | None, other: Groups | None, what: str) -> list[str]:
    """A remark if groups of the train part are in another part of the data, too.

    Args:
        train: groups of its rows, if it has any.
        other: likewise.
        what: what the other part is called.
    """
    if train is None or other is None:
        return []
    both = np.intersect1d(train, other)
    if not len(both):
        return []
    return [
        f"{len(both)} of the {len(np.unique(other))} groups of {what} are in the train part, too "
        f"({few(map(str, both), 3)}): its accuracy does not say how new groups fare"
    ]
