"""Sequences to sequences: translation, letters to phonemes.

A batch's `x` is a tuple `(source, decoder)` of ids, int64 `[b, S]` and `[b, T]`; its `y` is int64
`[b, T]`, the token after each of the decoder's; its `size` counts the tokens of `y`. Padding is
`PAD` in all three, at the ends of rows, and counts for nothing:

    source   w1 w2 w3 END PAD         decoder   BEGIN v1 v2 PAD        y   v1 v2 END PAD

A network is called `net(source, decoder)`, a supernet `net((source, decoder), gates)`, and gives
scores `[b, T, targets]`. `supernets.sequences` says what is asked of it for beam search. Special
ids are there (`PAD`, `BEGIN`, `END`, `UNKNOWN` are 0 to 3). `task.in_channels` is the number of
different source tokens and `task.outputs()` that of target tokens: a network gets them as
`NetworkSpec.in_channels` and `classes`, its width as `channels`, its layers of encoder and of
decoder as `depth`. There is no longest sequence. `task.example()` is `(source, decoder)` of one
pair of middling length.

task = SequenceTask.of("multi30k", source="en", target="de")
(source, decoder), y, tokens = task.stream("train", 64, torch.Generator().manual_seed(0)).next()
"""

from morphogen.tasks.sequences.config import SequenceConfig
from morphogen.tasks.sequences.pairs import Pairs
from morphogen.tasks.sequences.task import PairExamples, SequenceTask
from morphogen.tasks.sequences.tokens import Vocabulary

__all__ = ["PairExamples", "Pairs", "SequenceConfig", "SequenceTask", "Vocabulary"]
