"""Vocabularies: from a text to ids and back, trained on the texts of the training part alone.

Three ways to cut a text into tokens: `bpe`, pieces of words by how often they occur (Sennrich et
al., 2016, arXiv 1508.07909); `characters`; `words`, whatever stands between blanks. The library
`tokenizers` does the work; a vocabulary is its JSON text.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Literal, get_args

from morphogen.core.errors import ConfigError, DataError
from morphogen.supernets.sequences import END, SPECIAL, UNKNOWN

Way = Literal["bpe", "characters", "words"]
WAYS: tuple[Way, ...] = get_args(Way)

LONGEST = 16 * 2**20
"""Letters of a vocabulary's text, at most; one of 32,000 pieces takes 2 million."""


class Vocabulary:
    """Tokens and their ids; the first are the special ones, `supernets.sequences.SPECIAL`.

    Args:
        text: JSON as the library `tokenizers` writes it, of whatever origin.
        where: what messages call its origin.

    Raises:
        DataError: the text is no vocabulary of this package.
        ConfigError: the library is not installed.
    """

    def __init__(self, text: str, where: str = "the vocabulary") -> None:
        library = _library()
        try:
            if not isinstance(text, str) or len(text) > LONGEST:
                raise ValueError("too long, or no text")
            # Else a text could say how it is to be cut: by a pattern that takes hours, say.
            if _rules(text) not in [_rules(_untrained(way).to_str()) for way in WAYS]:
                raise ValueError("other rules than those of bpe, characters or words")
            self._held = library.Tokenizer.from_str(text)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(
                f"{where} cannot be read ({reason}); accepted: the JSON text that a training wrote"
            ) from error
        found = tuple(self._held.id_to_token(i) for i in range(len(SPECIAL)))
        ids = sorted(self._held.get_vocab().values())
        if found != SPECIAL or ids != list(range(len(ids))):
            raise DataError(
                f"{where} begins with {found}, or has gaps; accepted: ids from 0 on, of which the "
                f"first are {', '.join(SPECIAL)}"
            )
        self.text = text

    @classmethod
    def trained(cls, texts: Iterable[str], way: Way, size: int) -> Vocabulary:
        """The vocabulary of some texts; the same for the same texts.

        Args:
            texts: of the training part.
            way: see the module.
            size: tokens at most, the special ones included; of `bpe` never fewer than there are
                different characters.

        Raises:
            ConfigError: no such way, or the library is not installed.
        """
        if way not in WAYS:
            raise ConfigError(f"tokens is {way!r}; accepted: {', '.join(WAYS)}")
        trainers, held = _library().trainers, _untrained(way)
        kind = trainers.BpeTrainer if way == "bpe" else trainers.WordLevelTrainer
        trainer = kind(vocab_size=size, special_tokens=list(SPECIAL), show_progress=False)
        held.train_from_iterator(texts, trainer)
        return cls(held.to_str())

    def __len__(self) -> int:
        return int(self._held.get_vocab_size())

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, with none of the special tokens but `UNKNOWN`."""
        found = self._held.encode_batch_fast(list(texts), add_special_tokens=False)
        # Signs of a text that spell a special token are none.
        return [[max(i, UNKNOWN) for i in one.ids] for one in found]

    def texts(self, rows: Iterable[Sequence[int]]) -> list[str]:
        """The text of each row of ids up to its first `END`, special tokens left out."""
        return [self._held.decode(_to_end(row), skip_special_tokens=True) for row in rows]

    def names(self, row: Sequence[int]) -> list[str]:
        """The tokens of a row up to its first `END`."""
        return [self._names[i] for i in _to_end(row)]

    @cached_property
    def _names(self) -> list[str]:
        return [str(self._held.id_to_token(i)) for i in range(len(self))]


def _to_end(row: Sequence[int]) -> list[int]:
    ids = [int(i) for i in row]
    return ids[: ids.index(END)] if END in ids else ids


def _untrained(way: Way) -> Any:
    """A tokenizer that has no token but the special ones."""
    library = _library()
    models, cuts, decoders = library.models, library.pre_tokenizers, library.decoders
    model = models.BPE if way == "bpe" else models.WordLevel
    held = library.Tokenizer(model(unk_token=SPECIAL[UNKNOWN]))
    held.normalizer = library.normalizers.NFC()
    if way == "bpe":
        # A blank is a part of the token after it, so that texts come back as they were.
        held.pre_tokenizer = cuts.Sequence([cuts.Metaspace(), cuts.Punctuation()])
        held.decoder = decoders.Metaspace()
    elif way == "characters":
        held.pre_tokenizer = cuts.Split(library.Regex(r"[\s\S]"), "isolated")
        held.decoder = decoders.Fuse()
    else:
        held.pre_tokenizer = cuts.WhitespaceSplit()
    held.add_special_tokens(list(SPECIAL))
    return held


def _rules(text: str) -> dict[str, Any]:
    """All that a tokenizer's text says but its tokens."""
    held: dict[str, Any] = json.loads(text)
    rest = {k: v for k, v in held["model"].items() if k not in ("vocab", "merges")}
    return {**held, "model": rest}


def _library() -> Any:
    # It counts words in threads, which would be there when a process is copied; a second is saved.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import tokenizers
    except ImportError as error:
        raise ConfigError(
            "texts need the package tokenizers, which is not installed; accepted: pip install "
            "'morphogen[sequences]'"
        ) from error
    return tokenizers
