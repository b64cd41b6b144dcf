"""What pairs of texts can be asked for, in a search and in a training from scratch."""

from __future__ import annotations

import os
from typing import Annotated, Any, ClassVar

from pydantic import Field

from morphogen.core.config import Share, config
from morphogen.core.errors import DataError
from morphogen.tasks.configs import TaskConfig, task_config
from morphogen.tasks.cut import Cut
from morphogen.tasks.sequences.beam import Beam
from morphogen.tasks.sequences.inputs import LONGEST, WIDEST, TextInputs
from morphogen.tasks.sequences.pairs import Pairs
from morphogen.tasks.sequences.readers import find
from morphogen.tasks.sequences.task import SequenceTask
from morphogen.tasks.sequences.tokens import Way

Tokens = Annotated[int, Field(ge=8, le=10**6)]
Longest = Annotated[int, Field(ge=1, le=LONGEST)]
Width = Annotated[int, Field(ge=WIDEST.least, le=WIDEST.most)]
Penalty = Annotated[float, Field(ge=0, le=10)]


@task_config("sequences")
@config
class SequenceConfig(TaskConfig):
    """Texts for texts: which side is translated, how texts are cut into tokens, and the loss."""

    spatial_dims: ClassVar[int | None] = 0
    dense: ClassVar[bool] = True
    default_space: ClassVar[str] = "dartsformer-small"

    source: str = ""
    """column, or ending of the files, of what is translated, such as en; by default the first"""
    target: str = ""
    """likewise of what it is translated into; by default the first of the others"""
    source_tokens: Way = "bpe"
    """how sources are cut: bpe, pieces of words; characters; words, what is between blanks"""
    target_tokens: Way = "bpe"
    """likewise of targets"""
    vocabulary: Tokens = 8000
    """different tokens of each side, at most"""
    longest: Longest = 128
    """tokens of a text, at most; longer ones are cut off"""
    label_smoothing: Share = 0.1
    """share of a target that goes to all tokens alike, in the loss that trains weights (0.1)"""

    beam: Width = 5
    """beginnings of a text that are held while a finished network is asked for it; 1: greedy"""
    length_penalty: Penalty = 0.6
    """exponent of the length by which texts compete there; 0: short ones win"""

    @classmethod
    def takes(cls, data: Any) -> bool:
        """Pairs in memory, parquet files with two columns of text, files of lines."""
        if not isinstance(data, str | os.PathLike):
            return isinstance(data, Pairs)
        try:
            return find(data) is not None
        except (DataError, OSError):
            return False

    @classmethod
    def inputs(cls) -> TextInputs:
        """How a trained network is given other texts."""
        return TextInputs()

    def make(self, data: Any, cut: Cut) -> SequenceTask:
        """The pairs, read and cut; see `SequenceTask.of`."""
        return SequenceTask.of(
            data,
            **cut.given,
            source=self.source,
            target=self.target,
            ways=(self.source_tokens, self.target_tokens),
            vocabulary=self.vocabulary,
            longest=self.longest,
            label_smoothing=self.label_smoothing,
            beam=Beam(self.beam, self.length_penalty),
        )
