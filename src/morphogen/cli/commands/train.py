"""`morphogen train`: an architecture, trained from scratch. Torch is imported late."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from morphogen.cli.command import CELL, HELP, Command
from morphogen.cli.options import Section, peek, show
from morphogen.cli.terminal.output import width
from morphogen.core import ConfigError
from morphogen.core.text import fold


def train(words: Sequence[str]) -> int:
    """`morphogen train RUN|ARCH ...`."""
    if not words or any(word in HELP for word in words):
        print(_help(peek(words, "--space", "nasbench201") or "nasbench201"))
        return 0
    if words[0].startswith("-"):
        raise ConfigError(
            "what to train comes first: morphogen train RUN|ARCH [options], a run directory or an "
            "architecture in quotes"
        )
    from morphogen.cli import training

    return training.train(words)


def _help(space: str) -> str:
    from morphogen.cli.training import option_sections, preset

    published: list[Section] = []
    with suppress(ConfigError):  # nothing is published for every space
        published = option_sections(preset("paper", space), every_kind=True)
    known = option_sections(preset("quick", space), every_kind=True)
    return "\n".join(
        [
            f"Usage: morphogen train {COMMAND.usage}",
            "",
            fold(COMMAND.summary, width()),
            "",
            fold(
                "RUN is the directory of a finished search, ARCH an architecture of --space in "
                "quotes. Trained is on all training data, those that the search used among them, "
                "but for a held-out share that chooses the best epoch. The test part is opened "
                "once, after the last training. The data of a RUN are seen as the search saw them "
                "(image size, mirroring, weights of classes), unless an option says otherwise. "
                "What you do not set fits the data: few examples are seen more often; images that "
                "are seen a few times are not shifted, those that are seen often undergo "
                "AutoAugment, with a larger weight decay.",
                width(),
            ),
            show(known, width=width(), paper=published),
            "",
            "Examples:",
            *(f"  {line}" for line in COMMAND.examples),
        ]
    )


COMMAND = Command(
    "train",
    "RUN|ARCH [options]",
    "Train the architecture that a search found, or any other, from scratch, and evaluate it on "
    "the test examples; writes a run directory that `resume` continues.",
    (
        "morphogen train runs/idarts-nasbench201-20260101-120000 --baseline",
        "morphogen train runs/idarts-nasbench201-20260101-120000 --seeds 3",
        f"morphogen train {CELL} \\\n      --space nasbench201 --data fashion-mnist",
        "morphogen train DARTS_V2 --space darts --preset paper --data cifar10:/data/cifar-10",
    ),
    train,
)
