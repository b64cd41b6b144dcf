"""What if: gates with one option taken away, or with one alone; functions from gates to gates.

An option that is taken away has weight 0 and the others keep theirs: a row that is not normalised
again sums to 1 less that option (DARTS-PT, arXiv 2108.04392; Zero-Cost-PT, arXiv 2106.06799).
"""

from __future__ import annotations

from collections.abc import Collection

from morphogen.spaces import SearchSpace
from morphogen.supernets import Gates


def place(space: SearchSpace, name: str) -> tuple[str, int]:
    """Group and row of the choice called `name`."""
    choice = space.choice(name)
    return choice.group, [c.name for c in space.groups[choice.group]].index(name)


def without(
    space: SearchSpace, gates: Gates, name: str, option: int, *, run: bool = False
) -> Gates:
    """Weight 0 for one option of the choice `name`.

    Args:
        space: of the gates.
        gates: not changed.
        name: the choice.
        option: position of the option.
        run: execute it all the same, so that only what comes after it changes; by default it is
            not executed.
    """
    group, row = place(space, name)
    live = gates.live[group][row]
    kept = live if run else tuple(i for i in live if i != option)
    return _changed(gates, group, row, kept, {option})


def only(space: SearchSpace, gates: Gates, name: str, option: int, *, run: bool = False) -> Gates:
    """Weight 1 for one option of the choice `name` and 0 for its others."""
    group, row = place(space, name)
    others = {i for i in range(gates.weights[group].shape[1]) if i != option}
    kept = gates.live[group][row] if run else (option,)
    changed = _changed(gates, group, row, kept, others)
    changed.weights[group][row, option] = 1.0
    return changed


def without_choice(space: SearchSpace, gates: Gates, name: str, *, run: bool = False) -> Gates:
    """Weight 0 for all options of the choice `name`: an edge taken away."""
    group, row = place(space, name)
    kept = gates.live[group][row] if run else ()
    return _changed(gates, group, row, kept, range(gates.weights[group].shape[1]))


def _changed(
    gates: Gates, group: str, row: int, live: tuple[int, ...], zero: Collection[int]
) -> Gates:
    matrix = gates.weights[group].detach().clone()
    matrix[row, list(zero)] = 0.0
    rows = list(gates.live[group])
    rows[row] = live
    return Gates({**gates.weights, group: matrix}, {**gates.live, group: tuple(rows)})
