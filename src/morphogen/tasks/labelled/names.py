"""Names of classes: when two are one, and by what the labels of one part are counted in another's.

Names are compared as people read them: in Unicode's composed form, with blanks at the ends left out
and every run of blanks as one. An archive packed on a Mac has `é` in two characters, Linux one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from morphogen.core.errors import DataError


def spelled(name: str) -> str:
    """What two spellings of one name have in common."""
    return unicodedata.normalize("NFC", " ".join(name.split()))


def numbered(count: int) -> tuple[str, ...]:
    """Class names `"0"` to `str(count - 1)` for data without names."""
    return tuple(str(i) for i in range(count))


def few(names: Iterable[str], most: int = 10) -> str:
    """Names joined for a message, cut after `most`."""
    listed = list(names)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")


def require_names(names: Sequence[str], where: str) -> None:
    """Refuse names by which a prediction could not say what it means.

    Raises:
        DataError: a name is empty, or that of two classes.
    """
    seen: dict[str, str] = {}
    for place, name in enumerate(names):
        key = spelled(name)
        if not key:
            raise DataError(
                f"{where}: the name of class {place} is {name!r}, which is empty; accepted: a name "
                "for every class, each another"
            )
        if key in seen:
            twin = "" if seen[key] == name else f" and {name!r}, which read the same"
            raise DataError(
                f"{where}: two classes are named {seen[key]!r}{twin}; accepted: a name for every "
                "class, each another"
            )
        seen[key] = name


def places(
    names: Sequence[str],
    classes: Sequence[str],
    *,
    named: bool,
    by_name: bool,
    present: Iterable[int],
    where: str,
) -> list[int]:
    """For each of `names`, its place among `classes`; -1 for one that has none and no image.

    Classes with names are matched by them, in whatever order they come. Where one of the two has
    only numbers, they are the other's names if that is named by numbers, and else its places.

    Args:
        names: classes of one part.
        classes: classes of the training data.
        named: whether `names` are names, and not the numbers of classes without.
        by_name: the same of `classes`.
        present: places in `names` of which there are images.
        where: what `names` are of, for the message.

    Raises:
        DataError: a class that is present is not among `classes`.
    """
    known = {spelled(name): place for place, name in enumerate(classes)}
    numbers = all(n.isdecimal() for n in (classes if by_name else names))
    if named == by_name or numbers:
        found = [known.get(spelled(name), -1) for name in names]
    else:
        found = [place if place < len(classes) else -1 for place in range(len(names))]
    for place in present:
        if found[place] < 0:
            raise DataError(
                f"{where} has class {names[place]!r}, which the training data has not; "
                f"accepted: {few(classes)}"
            )
    return found
