"""Sequences to sequences: pairs of texts in two search parts and a closed test part."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from morphogen.core.errors import DataError, SpaceError
from morphogen.supernets.nested import length_of, shapes
from morphogen.supernets.sequences import PAD, UNKNOWN
from morphogen.tasks.batches import Batch, Examples
from morphogen.tasks.cut import Cut, Parts
from morphogen.tasks.digests import digest
from morphogen.tasks.labelled.split import parts_of
from morphogen.tasks.metric import Compare, Figure, Metric, Sums
from morphogen.tasks.pooled import PooledTask
from morphogen.tasks.sequences.beam import Beam, translated
from morphogen.tasks.sequences.buckets import Buckets, BucketStream
from morphogen.tasks.sequences.inputs import Reading, decoder_and_next, encoded
from morphogen.tasks.sequences.judge import bleu, error_rates, repetition
from morphogen.tasks.sequences.pairs import Pairs, PairSource, joined
from morphogen.tasks.sequences.readers import find
from morphogen.tasks.sequences.rows import IdRows
from morphogen.tasks.sequences.tokens import Vocabulary, Way
from morphogen.tasks.shown import Shown
from morphogen.tasks.streams import Stream

Data = str | os.PathLike[str] | Pairs
"""What pairs of texts can be given as: a path, or pairs in memory."""

BEAM = Beam()

_SHOWN = 8
"""Pairs in a report."""

_SCORES = 2**26
"""Of the scores of a pass without gradients, at most: they take 4 bytes each."""


class PairExamples(Examples):
    """Pairs as ids on a device, of which padded batches are made.

    A batch's `x` is `(source, decoder)`, ids int64 `[b, S]` and `[b, T]`, its `y` ids `[b, T]` of
    the token after each of the decoder's; its size is the number of these. It is as long as the
    longest sequence of the joint batch.

    Args:
        pairs: the texts.
        source: ids of the sources, each with `END`.
        target: ids of the targets, each from `BEGIN` to `END`.
        device: where batches are.
        notes: what a user should know.
    """

    def __init__(
        self,
        pairs: Pairs,
        source: IdRows,
        target: IdRows,
        *,
        device: torch.device | str = "cpu",
        notes: tuple[str, ...] = (),
    ) -> None:
        self.pairs, self.source, self.target = pairs, source, target
        self.notes, self.device = notes, torch.device(device)

    def __len__(self) -> int:
        return len(self.source)

    @property
    def lengths(self) -> Tensor:
        """Of the longer side of each pair, int64 `[n]`."""
        return torch.maximum(self.source.lengths, self.target.lengths - 1)

    def batch(
        self,
        rows: Tensor,
        *,
        mine: slice = slice(None),
        generator: torch.Generator | None = None,
    ) -> Batch:
        """The pairs of `rows[mine]`; there is no augmentation."""
        source = self.source.padded(rows)[mine].to(self.device)
        decoder, y = decoder_and_next(self.target.padded(rows)[mine].to(self.device))
        return Batch((source, decoder), y, int((y != PAD).sum()))


class SequenceTask(PooledTask[Pairs]):
    """Texts for texts; made by `SequenceTask.of`.

    Attributes:
        whole: all training pairs.
        pool: those of them that are in `train` or `valid`.
        source: the vocabulary of sources, trained on the train part.
        target: likewise of targets.
    """

    kind = "sequences"
    unit = "pairs"
    finishes = True
    metric = Metric("token_accuracy", "%", bounds=(0.0, 100.0))
    changes: ClassVar[Mapping[str, str]] = {
        "pairs": "{} pairs then, {} now",
        "sources": "other sources",
        "targets": "other targets",
        "split": "other rows in the search parts",
        "vocabularies": "other vocabularies: another version of tokenizers?",
    }
    resizing = ("split", "vocabularies")

    def __init__(
        self,
        name: str,
        pool: Pairs,
        parts: Parts,
        *,
        test: Pairs | PairSource | None = None,
        sides: tuple[str, str] = ("source", "target"),
        ways: tuple[Way, Way] = ("bpe", "bpe"),
        vocabulary: int = 8000,
        longest: int = 128,
        label_smoothing: float = 0.1,
        beam: Beam = BEAM,
    ) -> None:
        super().__init__(name, pool, parts, test=test)
        self.sides = sides
        self.ways, self.label_smoothing, self.beam = ways, label_smoothing, beam
        self._size, self._longest = vocabulary, longest
        self._measure(self.train)

    @classmethod
    def of(
        cls,
        data: Data,
        *,
        test: Pairs | None = None,
        train_images: int | float | None = None,
        valid_images: int | float | None = None,
        at_most: Collection[str] = (),
        held_out: float | None = None,
        seed: int = 0,
        source: str = "",
        target: str = "",
        ways: tuple[Way, Way] = ("bpe", "bpe"),
        vocabulary: int = 8000,
        longest: int = 128,
        label_smoothing: float = 0.1,
        beam: Beam = BEAM,
    ) -> SequenceTask:
        """Read the training pairs, cut the search parts from them, and train the vocabularies.

        Args:
            data: a path (see `readers`), or pairs in memory.
            test: of pairs in memory.
            train_images: size of the train part, a count or a fraction (a float below 1); see
                `ImageTask.of` of this and the next four.
            valid_images: of the search-validation part.
            at_most: which of the two sizes shrink to what the data have.
            held_out: a share of all pairs for the second part, instead of the two sizes.
            seed: of the split.
            source: column or ending of the sources; by default the first.
            target: likewise of the targets; by default the first of the others.
            ways: how sources and targets are cut into tokens, see `tokens`.
            vocabulary: tokens of each side, at most.
            longest: tokens of a text, at most; longer ones are cut off.
            label_smoothing: share of a target that goes to all tokens alike, in the loss that
                trains weights.
            beam: how finished networks are asked for whole sequences.

        Raises:
            DataError: the data are missing, damaged, too few, or cannot be split.
            ConfigError: an option is out of range.
        """
        sides = "source", "target"
        held: Pairs | PairSource | None = test
        if isinstance(data, Pairs):
            name, pool, first = "pairs", data, None
        else:
            found = _located(data)
            name, first = found.name, None
            sides = _sides(found, source, target)
            pool = found.read("train", *sides)
            if "valid" in found.parts:
                first = len(pool)
                pool = joined(pool, found.read("valid", *sides))
            held = found if "test" in found.parts else None
        cut = Cut(train_images, valid_images, at_most, held_out, seed=seed)
        return cls(
            name,
            pool,
            parts_of(pool.as_rows(), cut, first),
            test=held,
            sides=sides,
            ways=ways,
            vocabulary=vocabulary,
            longest=longest,
            label_smoothing=label_smoothing,
            beam=beam,
        )

    # -- data --------------------------------------------------------------------------------

    @property
    def in_channels(self) -> int:
        """Different tokens of sources."""
        return len(self.source)

    def outputs(self) -> int:
        """Different tokens of targets."""
        return len(self.target)

    @property
    def at_once(self) -> int:
        """Pairs of a pass without gradients, so that their scores fit into memory."""
        longest = int(self._ids[1].lengths.max())
        return max(1, min(super().at_once, _SCORES // (longest * self.outputs())))

    def _measure(self, train: Pairs) -> None:
        """Train the vocabularies, and cut all texts of the pool into tokens."""
        both = zip((train.sources, train.targets), self.ways, strict=True)
        vocabularies = [Vocabulary.trained(texts, way, self._size) for texts, way in both]
        self.source, self.target = vocabularies
        self._ids = self._encoded(self.pool)

    def with_all(self) -> Self:
        """A copy whose pool is all training pairs."""
        other = super().with_all()
        if other.pool is not self.pool:
            other._ids = other._encoded(other.pool)
        return other

    def train_on_all(self) -> None:
        """Train the vocabularies on all pairs, not on the train part."""
        self._measure(self.pool)

    @property
    def _reading(self) -> Reading:
        beam = replace(self.beam, longest=self._longest + 1)
        return Reading(self.source, self.target, self._longest, beam)

    def _encoded(self, pairs: Pairs) -> tuple[IdRows, IdRows]:
        return encoded(self._reading, pairs.sources, pairs.targets)

    def inputs(self) -> dict[str, Any]:
        """That there are ids of any number, and the vocabularies."""
        ids = ["int64 [*]", "int64 [*]"]
        return {"kind": self.kind, "example": ids, "preparation": self._reading.written()}

    def steps(self, part: str, batch_size: int) -> int:
        """Batches of an epoch of `stream`."""
        return len(Buckets.of(self.examples(part).lengths, batch_size).sizes)

    def examples(
        self, part: str, *, device: torch.device | str = "cpu", augmented: bool = False
    ) -> PairExamples:
        """A part, from which batches can be made; see `Task.examples`."""
        rows = self.rows(part)
        source, target = (ids.take(rows) for ids in self._ids)
        return PairExamples(self.pool.take(rows), source, target, device=device)

    def stream(
        self,
        part: str,
        batch_size: int,
        generator: torch.Generator,
        *,
        augmented: bool = True,
        replacement: bool = False,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> Stream:
        """Endless batches of pairs of about one length; see `buckets`."""
        examples = self.examples(part, device=device)
        return BucketStream(
            examples,
            examples.lengths,
            batch_size,
            generator,
            replacement=replacement,
            rank=rank,
            world=world,
            name=part,
        )

    def example(self) -> tuple[Tensor, Tensor]:
        """A pair of middling length, as a batch of one."""
        train = self.examples("train")
        middle = train.lengths.argsort(stable=True)[len(train) // 2]
        source, decoder = train.batch(middle[None]).x
        return source, decoder

    # -- the test part -----------------------------------------------------------------------

    def _test_examples(self, held: Pairs | PairSource, device: torch.device) -> PairExamples:
        if isinstance(held, PairSource):
            held = held.read("test", *self.sides)
        return PairExamples(held, *self._encoded(held), device=device, notes=self._shared(held))

    def _shared(self, held: Pairs) -> tuple[str, ...]:
        known = set(zip(self.whole.sources, self.whole.targets, strict=True))
        both = sum(pair in known for pair in zip(held.sources, held.targets, strict=True))
        if not both:
            return ()
        return (f"{both} of the {len(held)} pairs of the test part are training pairs, too",)

    # -- loss and metric ---------------------------------------------------------------------

    def loss(self, output: Tensor, y: Tensor, *, train: bool = False, each: bool = False) -> Tensor:
        """Cross entropy in nats of scores `[b, T, targets]` and ids `[b, T]`, padding left out.

        The mean over all tokens of the batch, so that long sequences weigh more.

        Args:
            output: of the network.
            y: targets.
            train: with label smoothing.
            each: the mean over the tokens of each pair, `[b]`.
        """
        smoothing = self.label_smoothing if train else 0.0
        values = F.cross_entropy(
            output.flatten(0, 1),
            y.flatten(),
            ignore_index=PAD,
            reduction="none",
            label_smoothing=smoothing,
        ).view_as(y)
        counted = y != PAD
        if each:
            return values.sum(1) / counted.sum(1).clamp_min(1)
        return values.sum() / counted.sum().clamp_min(1)

    @property
    def criterion(self) -> Compare:
        """Cross entropy of all tokens that are no padding."""
        return partial(_cross_entropy)

    def units(self, y: Tensor) -> int:
        """Tokens that count."""
        return int((y != PAD).sum())

    def check_output(self, output: Any, batch: Batch, *, whose: str) -> tuple[str, ...]:
        """Refuse what is no row of scores for each token; see `Task.check_output`."""
        wanted = [*batch.y.shape, self.outputs()]
        if not isinstance(output, Tensor) or list(output.shape) != wanted:
            raise SpaceError(
                f"{whose} gives {shapes(output)} for inputs {shapes(batch.x)}; accepted: "
                f"{self.accepted_output(batch)}"
            )
        return ()

    def accepted_output(self, batch: Batch) -> str:
        """In words, what a network has to give for a batch."""
        wanted = [length_of(batch.x), batch.y.shape[1], self.outputs()]
        return f"scores {wanted}, one for each example, place and target token"

    def counts(self, output: Tensor, y: Tensor) -> Sums:
        """`right`: tokens whose score is the largest, all scores finite, and `tokens`."""
        counted = y != PAD
        right = (output.argmax(-1) == y) & output.isfinite().all(-1) & counted
        return {"right": right.sum().double(), "tokens": counted.sum().double()}

    def value(self, sums: Mapping[str, Tensor]) -> float:
        """The share of tokens that the network says next, given those before, in percent."""
        return float(100.0 * sums["right"] / sums["tokens"].clamp_min(1))

    # -- finished networks -------------------------------------------------------------------

    def finished(self, net: nn.Module, examples: Examples) -> tuple[Figure, ...]:
        """BLEU of pieces of words, error rates of words and characters; and repetitions.

        Of the sequences that beam search finds; error rates of one for each different source, by
        the nearest of its targets.
        """
        if not isinstance(examples, PairExamples):
            raise TypeError("examples of another task")
        pairs, known = examples.pairs, dict[str, list[str]]()
        for source, target in zip(pairs.sources, pairs.targets, strict=True):
            known.setdefault(source, []).append(target)
        rows = list(range(len(pairs)))
        if self.ways[1] != "bpe":
            rows = sorted({source: row for row, source in enumerate(pairs.sources)}.values())
        chosen = pairs.take(torch.tensor(rows))
        sources = examples.source.take(torch.tensor(rows))
        said = self.target.texts(translated(net, sources, self._reading.beam, examples.device))
        cut = [self._cut(text) for text in said]
        if self.ways[1] == "bpe":
            figures = [bleu(said, chosen.targets)]
        else:
            right = [[*map(self._cut, known[source])] for source in chosen.sources]
            figures = error_rates(cut, right)
        return (*figures, repetition(cut, [*map(self._cut, chosen.targets)]))

    def _cut(self, text: str) -> list[str]:
        """Of what errors and repetitions are counted: words, or characters."""
        return list(text) if self.ways[1] == "characters" else text.split()

    def shown(
        self, forward: Callable[[Any], Any], part: str, *, device: torch.device | str = "cpu"
    ) -> Shown:
        """A few texts, what they should become, and what the network makes of them."""
        n = self.length(part)
        examples = self.examples(part)
        rows = torch.linspace(0, n - 1, min(_SHOWN, n)).round().long()
        pairs, sources = examples.pairs.take(rows), examples.source.take(rows)
        ids = translated(forward, sources, self._reading.beam, torch.device(device))
        where = {"valid": "validation", "pool": "training", "train": "training"}[part]
        said = self.target.texts(ids)
        return Shown(
            f"{len(rows)} {where} {self.unit}, and what the network makes of the first side.",
            head=(*self.sides, "said"),
            rows=tuple(zip(pairs.sources, pairs.targets, said, strict=True)),
        )

    # -- the record --------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """All that a report knows of the task: also the languages and the vocabularies."""
        return super().describe() | {
            "sides": list(self.sides),
            "vocabularies": [len(self.source), len(self.target)],
            "tokenizers": version("tokenizers"),
            "in_channels": self.in_channels,
        }

    def prepared(self) -> list[str]:
        """What is done to texts before a network sees them, a phrase each."""
        said = []
        both = zip(("sources", "targets"), self.ways, (self.source, self.target), strict=True)
        for what, way, held in both:
            said.append(f"{what} cut into {_WORDS[way]}, {len(held)} different ones")
        return said

    def remarks(self) -> list[str]:
        """What a user should know of the data, a sentence each."""
        said = [f"{note}" for note in self.pool.notes]
        for what, ids in zip(("source", "target"), self._ids, strict=True):
            unknown = int((ids.values == UNKNOWN).sum())
            if unknown:
                share = 100 * unknown / len(ids.values)
                said.append(f"{share:.2g} % of the {what} tokens are not in the vocabulary")
            edge = self._longest + (1 if what == "source" else 2)
            cut = int((ids.lengths == edge).sum())
            if cut:
                said.append(f"{cut} {what}s of {self._longest} tokens or more were cut off there")
        return said

    @cached_property
    def _texts(self) -> dict[str, str]:
        return {
            "sources": digest(text.encode() + b"\0" for text in self.whole.sources),
            "targets": digest(text.encode() + b"\0" for text in self.whole.targets),
        }

    def contents(self) -> dict[str, Any]:
        """Numbers and digests of the texts and vocabularies; the test part stays closed."""
        return {
            "pairs": len(self.whole),
            **self._texts,
            "vocabularies": digest([self.source.text.encode(), b"\0", self.target.text.encode()]),
            "split": self.split,
        }


_WORDS = {
    "bpe": "pieces of words",
    "characters": "characters",
    "words": "words between blanks",
}


def _cross_entropy(output: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, 1), y.flatten(), ignore_index=PAD)


def _sides(found: PairSource, source: str, target: str) -> tuple[str, str]:
    """Names of the columns or endings of sources and targets."""
    for field, asked in (("source", source), ("target", target)):
        if asked and asked not in found.sides:
            raise DataError(
                f"{field} is {asked!r}; accepted for data {found.name!r}: {', '.join(found.sides)}"
            )
    first = source or next(side for side in found.sides if side != target)
    second = target or next((side for side in found.sides if side != first), first)
    if first == second:
        raise DataError(
            f"source and target are both {first!r}; accepted: two different ones of "
            f"{', '.join(found.sides)}"
        )
    return first, second


def _located(data: str | os.PathLike[str]) -> PairSource:
    found = find(data)
    if found is None:
        raise DataError(
            f"data {os.fspath(data)!r} hold no pairs of texts; accepted: parquet files with two "
            "columns of text, or a folder with train.A and train.B, a text in each line"
        )
    return found
