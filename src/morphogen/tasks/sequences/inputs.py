"""Texts as inputs of a network, and the texts that it makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morphogen.core import DataError
from morphogen.core.names import brief, shown
from morphogen.core.ranges import Range
from morphogen.supernets.sequences import BEGIN, END, PAD
from morphogen.tasks.inputs import Failed, Named, Prepared
from morphogen.tasks.sequences.beam import Beam, translated
from morphogen.tasks.sequences.rows import IdRows
from morphogen.tasks.sequences.tokens import Vocabulary

FILE = ".txt"
"""Ending of files of texts, one in each line."""

WIDEST = Range(1, 1000)
"""Of a beam."""


@dataclass(frozen=True)
class Translation:
    """What a network makes of one text."""

    said: str

    def line(self, top: int) -> str:
        """The text."""
        return shown(self.said)

    def plain(self) -> dict[str, Any]:
        """The text, beside which that of the input stands."""
        return {"said": self.said}

    def file(self) -> None:
        """A text is shown as it is."""


@dataclass(frozen=True)
class Reading:
    """How texts become ids and ids texts: what a network's file keeps beside its weights."""

    source: Vocabulary
    target: Vocabulary
    longest: int
    beam: Beam

    def written(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "source": self.source.text,
            "target": self.target.text,
            "longest": self.longest,
            "beam": self.beam.width,
            "length_penalty": self.beam.penalty,
        }

    @classmethod
    def of(cls, signature: Prepared) -> Reading:
        """Read back from what a file says.

        Raises:
            DataError: it says something else.
        """
        held = signature.preparation or {}
        numbers = tuple(held.get(name) for name in ("longest", "beam", "length_penalty"))
        texts = (held.get("source"), held.get("target"))
        return _read(texts, numbers)


@lru_cache(maxsize=8)
def _read(texts: tuple[Any, Any], numbers: tuple[Any, ...]) -> Reading:
    longest, width, penalty = numbers
    if (
        type(longest) is not int
        or type(width) is not int
        or not isinstance(penalty, int | float)
        or not 1 <= longest <= LONGEST
        or not WIDEST.least <= width <= WIDEST.most
        or not 0 <= penalty <= 10
    ):
        raise DataError(
            f"the file says of its texts longest {brief(longest)}, beam {brief(width)} and "
            f"length_penalty {brief(penalty)}; accepted: a file that morphogen wrote"
        )
    source, target = (Vocabulary(text, "a vocabulary of the file") for text in texts)
    return Reading(source, target, longest, Beam(width, float(penalty), longest + 1))


LONGEST = 10_000
"""Tokens of a text."""


class TextInputs:
    """Texts as inputs of a network; see `tasks.inputs.Inputs` and `Asking`."""

    one = "text"
    axes, array = 0, "of texts"
    accepted = f"texts, or {FILE} files with one in each line"
    sizes, unit = Range(1, 1), ""
    word = "'A TEXT' FILE.txt"
    python = ("", "['A text.']")
    what, labelled, answer = "network from sequences to sequences", "", "said"

    def expanded(
        self, word: str, signature: Prepared, passed: list[str], failed: list[Failed]
    ) -> Iterator[Named]:
        """The word itself, or the lines of a file of texts."""
        path = Path(word)
        if path.suffix.lower() != FILE:
            yield Named(word, word)
            return
        try:
            lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "no text in UTF-8"
            failed.append(
                (word, DataError(f"{word} cannot be read ({reason}); accepted: {self.accepted}"))
            )
            return
        yield from (Named(line, line) for line in map(str.strip, lines) if line)

    def several(self, given: Any, signature: Prepared) -> Sequence[Any]:
        """A list of texts as it is."""
        return list(given)

    def prepared(self, item: Any, signature: Prepared) -> Tensor:
        """Ids of a text, int64 `[1, S]`.

        Raises:
            DataError: it is no text, or an empty one.
        """
        if not isinstance(item, str) or not item.strip():
            raise DataError(f"a text is {brief(item)}; accepted: {self.accepted}")
        return _ids(Reading.of(signature), [item]).padded(torch.arange(1))

    def stacked(self, ready: Sequence[Tensor]) -> Tensor:
        """Ids of several texts, int64 `[n, S]`, padded."""
        return IdRows.of([row[0].tolist() for row in ready]).padded(torch.arange(len(ready)))

    def asked(
        self, net: Callable[..., Any], inputs: Tensor, signature: Prepared
    ) -> list[Translation]:
        """The text that beam search finds for each."""
        reading = Reading.of(signature)
        rows = IdRows.of([[i for i in row if i] for row in inputs.tolist()])
        try:
            found = translated(net, rows, reading.beam, inputs.device)
        except IndexError as error:  # of an embedding
            raise DataError(
                f"the network has fewer tokens than its vocabularies ({error}); accepted: a file "
                "that morphogen wrote"
            ) from error
        return [Translation(text) for text in reading.target.texts(found)]

    def examples(self, task: Any, rows: Tensor, signature: Prepared) -> tuple[Tensor, Tensor]:
        """Training pairs as ids of the network's vocabularies, of source and decoder."""
        reading = Reading.of(signature)
        pairs = task.pool.take(rows)
        source, target = encoded(reading, pairs.sources, pairs.targets)
        every = torch.arange(len(pairs))
        return source.padded(every), decoder_and_next(target.padded(every))[0]

    def outputs(self, signature: Prepared) -> tuple[int, ...]:
        """Scores of every target token at each place; how many places there are differs."""
        return ()

    def answers(
        self, scores: Tensor, items: Sequence[Any], signature: Prepared
    ) -> list[Translation]:
        """None: the network is asked token by token."""
        raise NotImplementedError

    def shape(self, signature: Prepared) -> str:
        """How many tokens there are."""
        reading = Reading.of(signature)
        return f"texts of {len(reading.source):,} tokens into {len(reading.target):,}"

    def described(self, signature: Prepared) -> str:
        """How texts are prepared, for the model card."""
        reading = Reading.of(signature)
        return (
            f"int64 `[batch, S]` and `[batch, T]`: ids of the source ({len(reading.source):,} "
            f"tokens), ended by 2, and of the target tokens so far ({len(reading.target):,}), "
            "begun by 1; rows are padded with 0. Its scores `[batch, T, tokens]` are of the token "
            "after each. `morphogen predict` and `morphogen.load` cut texts into tokens and search "
            f"for whole texts (beam {reading.beam.width}): the vocabularies are stored in the file."
        )


def encoded(
    reading: Reading, sources: Sequence[str], targets: Sequence[str]
) -> tuple[IdRows, IdRows]:
    """Ids of pairs: sources up to `END`, targets from `BEGIN` to `END`."""
    begun = [[BEGIN, *ids] for ids in _ended(reading.target, targets, reading.longest)]
    return _ids(reading, sources), IdRows.of(begun)


def _ids(reading: Reading, sources: Sequence[str]) -> IdRows:
    return IdRows.of(_ended(reading.source, sources, reading.longest))


def _ended(held: Vocabulary, texts: Sequence[str], longest: int) -> list[list[int]]:
    return [[*ids[:longest], END] for ids in held.ids(texts)]


def decoder_and_next(target: Tensor) -> tuple[Tensor, Tensor]:
    """What the decoder is given and what comes next, of ids from `BEGIN` to `END`, padded."""
    following = target[:, 1:]
    # The end is no token of the decoder's.
    return target[:, :-1].masked_fill(following == PAD, PAD), following
