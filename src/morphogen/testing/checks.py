"""What all suites of checks have in common: promises by name."""

from __future__ import annotations


class Checks:
    """A suite: each method called `check_...` is a promise, its docstring what it promises."""

    _PREFIX = "check_"

    @classmethod
    def promises(cls) -> tuple[str, ...]:
        """The names of all promises, in the order in which they are written."""
        own = [name for base in reversed(cls.__mro__) for name in vars(base)]
        found = dict.fromkeys(n for n in own if n.startswith(cls._PREFIX))
        return tuple(n.removeprefix(cls._PREFIX) for n in found if n != "check_all")

    def check(self, promise: str) -> None:
        """Hold what is checked to one promise; one that does not apply to it is kept.

        Raises:
            AssertionError: it is not kept.
            ValueError: there is no such promise.
        """
        if promise not in self.promises():
            raise ValueError(f"promise is {promise!r}; accepted: {', '.join(self.promises())}")
        getattr(self, self._PREFIX + promise)()

    def check_all(self) -> None:
        """Hold it to all of them, one after the other.

        Raises:
            AssertionError: the first that is not kept.
        """
        for promise in self.promises():
            try:
                self.check(promise)
            except AssertionError as error:
                raise AssertionError(f"{promise}: {error}") from error


def require(kept: bool, otherwise: str) -> None:
    """An `AssertionError` with this sentence unless `kept`; `assert` would be off under -O."""
    if not kept:
        raise AssertionError(otherwise)
