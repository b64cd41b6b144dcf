"""Flags and their documentation from configuration dataclasses; tyro reads, this file shows.

A field is a flag, the docstring under it is its help, the fields of a nested configuration are
`--field.nested`. Nothing about a method is written here.
"""

from __future__ import annotations

import dataclasses
import io
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar

from morphogen.core import ConfigError
from morphogen.core.names import LONGEST, brief
from morphogen.core.ranges import NATURAL, Range
from morphogen.core.text import fold

T = TypeVar("T")

FLAGS = {
    "start": "from",  # Python keeps that word for itself
    "selection.rule": "select",
    "selection.order": "select-order",
    "evaluation.budget": "evaluations",
    "evaluation.epochs": "evaluation-epochs",
    "evaluation.patience": "evaluation-patience",
    "evaluation.images": "evaluation-images",
    "evaluation.norms": "evaluation-norms",
    "evaluation.recalibration": "evaluation-recalibration",
    "evaluation.proxy": "evaluation-proxy",
    "workers.count": "workers",
    "diagnostics.images": "diagnostic-images",
}
"""Fields whose flag has another name than the field."""

FLAG_WIDTH = 26
"""Columns of the flags in a help text, as wide as most of them are."""


@dataclass(frozen=True)
class Option:
    """One flag, or one positional argument, as the user sees it."""

    flags: tuple[str, ...]
    """`--lr`, or `--nesterov` and `--no-nesterov`; empty for a positional argument."""
    value: str
    """What stands for its value: `N`, `a|b`; empty for a switch."""
    text: str
    """The docstring under the field, on one line."""
    default: Any
    """What holds without the flag; `dataclasses.MISSING` if it must be given."""
    field: str = ""
    """Of a configuration: where it has the value, `settings.network.channels`."""

    @property
    def name(self) -> str:
        """`metric` of `--metric`, of the argument METRIC or of several, `METRIC...`."""
        return (self.flags[0] if self.flags else self.value).lstrip("-").rstrip(".").lower()

    @property
    def several(self) -> bool:
        """Whether it takes all the arguments that are left."""
        return self.value.endswith("...")


DIGITS = 100
"""Of a number on the command line; Python itself refuses to read thousands."""

TABLE = Option(
    ("--table",),
    "FILE",
    "a table that `morphogen import-nasbench101` wrote, for nasbench1shot1-s1, -s2 and -s3 "
    "(default: the shipped table)",
    "",
)
"""Of every command that looks architectures up."""


@dataclass(frozen=True)
class Section:
    """The options of one (nested) configuration."""

    title: str
    options: tuple[Option, ...]


def sections(
    title: str, held: Any, *, name: str, flat: bool = False, inside: Sequence[str] = ()
) -> Iterator[Section]:
    """The options of a configuration, its own first, then those of every nested one.

    Args:
        title: heading of its own options.
        held: the configuration, with the defaults.
        name: what it is called in `parse`.
        flat: whether the flags of nested ones have no prefix: `--lr`, not `--weights.lr`.
        inside: names of the configurations around this one, which is nested in them.
    """
    hints = typing.get_type_hints(type(held), include_extras=True)
    described = getattr(type(held), "__pydantic_fields__", {})
    own, nested = [], []
    for field in dataclasses.fields(held):
        default = getattr(held, field.name)
        hint = _bare(hints[field.name])
        path = (*inside, field.name)
        if dataclasses.is_dataclass(default):
            summary = (type(default).__doc__ or "").split("\n\n")[0].rstrip(".")
            head = summary if flat else f"{field.name}: {summary}"
            nested.append(sections(head, default, name=name, flat=flat, inside=path))
            continue
        text = " ".join((described[field.name].description or "").split())
        flag = FLAGS.get(".".join(path), field.name if flat else ".".join(path)).replace("_", "-")
        place = ".".join((name, *path))
        if hint is bool:
            *parts, last = flag.split(".")
            off = ".".join([*parts, f"no-{last}"])
            own.append(Option((f"--{flag}", f"--{off}"), "", text, default, place))
        else:
            own.append(Option((f"--{flag}",), _value(hint), text, default, place))
    yield Section(title, tuple(own))
    for sub in nested:
        yield from sub


def read(words: Sequence[str], known: Section, *, prog: str) -> dict[str, Any]:
    """The values of a small command's options by name: texts, lists of them, switches as bool.

    It spares the commands that answer at once the import of tyro and pydantic.

    Args:
        words: what the user typed after `prog`.
        known: its options, positional ones in their order.
        prog: the command, for the message.

    Raises:
        ConfigError: an unknown option, a missing or an unexpected argument.
    """
    words = check_flags(words, [known], prog=prog)
    flags = {o.flags[0]: o for o in known.options if o.flags}
    places = [o for o in known.options if not o.flags]
    values = {o.name: o.default for o in known.options}
    rest = iter(words)
    for word in rest:
        flag, equals, value = word.partition("=")
        if flag in flags and not flags[flag].value:
            if equals:
                raise ConfigError(f"{flag} takes no value, and {value!r} was given")
            values[flags[flag].name] = True
        elif flag in flags:
            values[flags[flag].name] = value if equals else next(rest)
        elif places and not word:
            raise ConfigError(f"{places[0].value} is empty; see `{prog} --help`")
        elif places and places[0].several:
            left = places[0].name
            values[left] = [*(values[left] if isinstance(values[left], list) else ()), word]
        elif places:
            values[places.pop(0).name] = word
        else:
            raise ConfigError(f"unexpected argument {word!r}; see `{prog} --help`")
    missing = [o.value for o in known.options if values[o.name] is dataclasses.MISSING]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} missing; see `{prog} --help`")
    return values


def whole(flag: str, text: str, accepted: Range = NATURAL) -> int:
    """The whole number in `text`, or a `ConfigError` that names the flag and the range."""
    plain = text.isascii() and text.isdigit() and len(text) <= DIGITS
    if not plain or not accepted.least <= int(text) <= accepted.most:
        raise ConfigError(
            f"{flag} is {brief(text)}; accepted: a whole number from {accepted.least} to "
            f"{accepted.most}"
        )
    return int(text)


def check_flags(words: Sequence[str], known: Sequence[Section], *, prog: str) -> list[str]:
    """The words with their flags as `known` writes them, with dashes.

    An option may come again (after an alias that has it); the last counts, which is said on stderr.

    Raises:
        ConfigError: a word is no option of `known`, with the nearest match; or a value is empty
            or missing.
    """
    options = {flag: o for section in known for o in section.options for flag in o.flags}
    out, seen, last = [], set(), ""
    for word in words:
        head, equals, value = word.partition("=")
        flag = head.replace("_", "-")
        if not flag.startswith("--"):
            if last and not word:
                raise ConfigError(f"{last} is empty; accepted: a value, or leave {last} out")
            out.append(word)
            last = ""
            continue
        if flag not in options:
            near = get_close_matches(flag[:LONGEST], options, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ConfigError(f"unknown option {flag[:LONGEST]}; {hint}`{prog} --help` lists them")
        option = options[flag]
        if last:
            raise ConfigError(f"{last} has no value; see `{prog} --help`")
        if option.flags in seen:
            names = " or ".join(option.flags)
            print(f"note: {names} is given twice; the last counts", file=sys.stderr)
        if equals and option.value and not value:
            raise ConfigError(f"{flag} is empty; accepted: a value, or leave {flag} out")
        seen.add(option.flags)
        out.append(flag + equals + value)
        last = "" if equals or not option.value else flag
    if last:
        raise ConfigError(f"{last} has no value; see `{prog} --help`")
    return out


def parse(
    cls: type[T], words: Sequence[str], known: Sequence[Section], *, prog: str, default: T
) -> T:
    """An instance of `cls` from the words of the command line.

    Args:
        cls: a dataclass of configurations, by the names that the options have for them.
        words: what the user typed after `prog`.
        known: its options.
        prog: the command, for the message.
        default: an instance with the defaults; where a field may hold one of several classes, it
            has the options of the one that it holds there.

    Raises:
        ConfigError: an unknown option, a missing or unreadable value, or one out of range.
    """
    words = check_flags(words, known, prog=prog)
    import tyro  # late: the small commands do without

    options = {flag: o for section in known for o in section.options for flag in o.flags}
    said = io.StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(said):
            made: T = tyro.cli(
                cls,
                prog=prog,
                args=[_in_python(word, options) for word in words],
                default=default,
                add_help=False,
                config=(tyro.conf.AvoidSubcommands,),
            )
    except SystemExit:
        sentence = _sentence(said.getvalue(), options)
        raise ConfigError(f"{sentence}; see `{prog} --help`") from None
    return made


def given_fields(words: Sequence[str], known: Sequence[Section]) -> set[str]:
    """Where a configuration has the values of the flags that the user typed: `Option.field`."""
    options = {flag: o for section in known for o in section.options for flag in o.flags}
    heads = (word.partition("=")[0].replace("_", "-") for word in words)
    return {options[head].field for head in heads if head in options}


def _in_python(word: str, options: Mapping[str, Option]) -> str:
    """A word of the command line, a flag named by its field: `--settings.network.depth=3`."""
    flag, equals, value = word.partition("=")
    option = options.get(flag)
    return word if option is None else f"--{_inner(flag, option)}{equals}{value}"


def _inner(flag: str, option: Option) -> str:
    """The name of a flag by its field, in which a switch that turns off has its `no`."""
    before, dot, last = option.field.rpartition(".")
    return f"{before}{dot}{'no_' * (flag != option.flags[0])}{last}".replace("_", "-")


def show(known: Sequence[Section], *, width: int, paper: Sequence[Section] = ()) -> str:
    """The documentation of options: a heading per section, flags left, text and default right.

    Args:
        known: the sections.
        width: columns of the screen.
        paper: the same sections with the defaults of `--preset paper`, shown where they differ.
    """
    lines: list[str] = []
    there = {o.flags: o.default for section in paper for o in section.options}
    for section in known:
        if not section.options:
            continue
        lines += ["", fold(section.title + ":", width)]
        for option in section.options:
            lines += _entry(option, there.get(option.flags, option.default), width)
    return "\n".join(lines)


def peek(words: Sequence[str], flag: str, default: str) -> str:
    """The value of one flag before all are read, since other defaults depend on it."""
    found = default
    for i, word in enumerate(words):
        if word.startswith(f"{flag}="):
            found = word.partition("=")[2]
        elif word == flag and i + 1 < len(words):
            found = words[i + 1]
    return found


def described(option: Option, paper: Any) -> tuple[str, str]:
    """An option's head, `--epochs N`, and its text with the defaults in brackets.

    Args:
        option: the option.
        paper: its default with `--preset paper`.
    """
    switch = option.flags[-1:] if option.default is True else option.flags[:1]
    many = len(option.value) > FLAG_WIDTH + 20
    head = " ".join([*switch, "NAME" if many else option.value]).strip()
    notes = [f"one of {option.value.replace('|', ', ')}"] if many else []
    if option.default is not dataclasses.MISSING and option.default not in ("", None):
        notes.append(f"default: {_text(option.default)}")
    if paper != option.default:
        notes.append(f"with --preset paper: {_text(paper)}")
    text = ("turns off: " if option.default is True else "") + option.text
    return head, text + (f" [{'; '.join(notes)}]" if notes else "")


def _entry(option: Option, paper: Any, width: int) -> list[str]:
    head, text = described(option, paper)
    head = f"  {head}"
    body = fold(text, width, indent=FLAG_WIDTH).split("\n")
    if len(head) > FLAG_WIDTH - 2:
        return [head, *body]
    return [head.ljust(FLAG_WIDTH) + body[0].strip(), *body[1:]]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(_text(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _bare(hint: Any) -> Any:
    """A type without its `Annotated`."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _value(hint: Any) -> str:
    """What stands for a value of this type."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "|".join(map(str, inside))
    if origin is tuple:
        return " ".join(_value(_bare(part)) for part in inside)
    if origin in (types.UnionType, typing.Union):
        return _value(next(part for part in inside if part is not type(None)))
    return {int: "N", float: "X"}.get(hint, "TEXT")


def _sentence(box: str, options: Mapping[str, Option]) -> str:
    """What tyro says in its box, as one of our own sentences where we know the kind."""
    accepts = {flag: o.value for flag, o in options.items()}
    for flag, option in options.items():
        box = re.sub(rf"--{re.escape(_inner(flag, option))}(?![\w.-])", flag, box)
    lines = [line.strip(" │|") for line in box.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("╰", "└"))]
    # Its title and a rule come first; what comes after the next rule is an extract of the help.
    rules = [i for i, line in enumerate(lines) if i and set(line) <= set("─-")] or [0]
    first = 1 if lines[:1] and lines[0].startswith("╭") else rules[0] + 1
    end = next((i for i in rules if i > first), len(lines))
    message = " ".join(lines[first:end]).rstrip(".")
    for pattern, ours in _KINDS:
        found = re.search(pattern, message)
        if found:
            flag = next((part for part in found.groups() if part in accepts), "")
            value = accepts.get(flag, "")
            wanted = WANTED.get(value, value.replace("|", ", ") or "a value")
            return ours.format(*found.groups(), accepts=wanted)
    return message or "cannot read the options"


WANTED = {"N": "a whole number", "X": "a number", "X X": "two numbers", "TEXT": "a text"}
"""What stands for a value -> in words."""

_KINDS = (
    (r"Error parsing (--\S+): .*?('[^']*')$", "{0} is {1}; accepted: {accepts}"),
    (r"invalid choice '(.*)' for argument '(--\S+)'", "{1} is '{0}'; accepted: {accepts}"),
    (r"Missing value for argument '(--\S+)'", "{0} has no value; accepted: {accepts}"),
    (r"Unrecognized options: (.+)$", "unexpected argument {0}"),
)
"""What tyro says -> what we say of the same."""
