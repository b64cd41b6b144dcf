"""What the files of a run directory hold, declared once for who writes and who reads.

No torch: what only reads a run starts at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from morphogen.core.reading import MEBIBYTE
from morphogen.core.records import Amount, Count, Natural, Plain, Record, Text
from morphogen.runs.verdict import Verdict

Matrix = list[list[float]]


class Hardware(Record, extra="allow"):
    """Where a run was made."""

    __pydantic_extra__: dict[str, Plain]

    accelerator: Text
    devices: Count = 1


class Evaluation(Record, extra="allow"):
    """How a search scores architectures."""

    __pydantic_extra__: dict[str, Plain]

    evaluator: Text = "training"
    epochs: Count = 1


class RecordedSettings(Record, extra="allow"):
    """Settings of a search or a training, as far as a report needs them; the rest is plain."""

    __pydantic_extra__: dict[str, Plain]

    seed: Natural
    epochs: Count | None = None
    hardware: Hardware
    evaluation: Evaluation | None = None


class Space(Record, extra="allow"):
    """A search space as `to_mapping` writes it; `spaces.read` says what is wrong with the rest."""

    __pydantic_extra__: dict[str, Plain]

    name: Text


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256."""


Contents = dict[Text, Digest | Natural | list[Count]]
"""The data of a run as they were read, see `Task.contents`."""


class Metric(Record):
    """By what a run judges, see `morphogen.tasks.Metric`."""

    name: Text
    unit: Text
    higher_is_better: bool


class Task(Record, extra="allow"):
    """What a run is for, see `Task.describe`; the rest is plain."""

    __pydantic_extra__: dict[str, Plain]

    name: Text
    metric: Metric
    examples: Text
    """What they are called: images, signals."""
    outputs: Natural
    parts: dict[Text, Text]
    """What the search parts are, in words."""


class Module(Record):
    """A user's module, when the run began."""

    structure: Digest
    weights: Digest


class Sizes(Record, extra="allow"):
    """Of networks, as `NetworkSpec` has them."""

    __pydantic_extra__: dict[str, Plain]

    channels: Count
    depth: Count
    classes: Natural
    in_channels: Natural


class Extension(Record):
    """That a run was searched on to another length."""

    setting: Literal["epochs", "evaluations"]
    before: Count
    after: Count
    done: Natural
    """When it was asked for."""
    identity: Digest
    """Of the run until then."""
    when: Text
    note: Text


class Opponent(Record):
    """An architecture with which that of a training is compared."""

    against: Text
    """What it is, in words."""
    folder: Annotated[str, Field(pattern=r"^[a-z]{1,20}$")]
    """Of its training, in the run directory."""
    architecture: Text
    space: Space | None = None
    """Where it is another than the training's."""


class Share(Record):
    """How many architectures of the space keep the limits of a search, see `evaluators.share`."""

    kept: Natural
    of: Count
    exact: bool
    sentence: Text


class RunConfig(Record):
    """config.yaml: what is run."""

    method: Text
    space: Space
    """Without what is left out of it."""
    data: Text
    """Their name, or that they were an object."""
    settings: RecordedSettings
    config: dict[str, Plain]
    """Of the method, in full."""
    identity: Text | None = None
    """Fingerprint of all that decides the numbers."""
    contents: Contents | None = None
    threads: Annotated[int, Field(ge=1, le=2**16)] | None = None
    """Of torch, in each process."""
    numerics: dict[str, Text] | None = None
    """Kind of processor, switches of torch."""
    module: Module | None = None
    table: Digest | None = None
    """Of the file of a benchmark table."""
    beginning: Digest | None = None
    """Of the weights with which the supernet begins."""
    extended: list[Extension] = Field(default_factory=list)
    command: Text | None = None
    created: Text | None = None
    """When, UTC."""
    versions: dict[str, Text] = Field(default_factory=dict)
    machine: Text | None = None
    share: Share | None = None
    """Of the architectures that keep the limits, when the search began."""
    network: Sizes | None = None
    """Of the networks of a search; those of a training stand beside its weights."""
    start: Text | None = None
    """The run whose supernet this one begins with."""
    baseline: dict[str, Plain] | None = None
    """By what recipe that which a search finds is trained beside what asks for no search."""
    opponents: Annotated[list[Opponent], Field(min_length=1)] | None = None
    """With what the architecture of a training is compared."""
    search: Text | None = None
    """The run that found the architecture of a training."""
    inherited: Text | None = None
    """What a training has from that run, in a sentence."""
    time: Text | None = None
    """For which the search was planned."""
    plan: list[Text] = Field(default_factory=list)
    """What was chosen so, a sentence each."""
    planned: list[Text] = Field(default_factory=list)
    """Names of the fields that were chosen."""
    kept: list[Text] = Field(default_factory=list)
    """Of those that were not to be, whatever the time."""
    remarks: list[Text] = Field(default_factory=list)
    """What the user is told of the space."""
    task: Task | None = None
    """What was to be learnt, and how it is judged."""


class WarmStart(Record):
    """Beside the weights that a run begins with: where they are from."""

    run: Text
    data: Text
    classes: list[Text]
    outputs: Natural
    in_channels: Natural
    seed: Natural
    train_images: Natural
    contents: Contents


class Epoch(Record, extra="allow"):
    """A line of metrics.jsonl, or a row of the store in its shape; the rest are plain figures."""

    __pydantic_extra__: dict[str, Plain]

    epoch: Count
    phase: Text | None = None
    ended_early: bool | None = None
    """Whether its phase ended with it, which was to be longer."""
    architecture: Text | None = None
    candidate: Text | None = None
    score: float | None = None
    failed: Text | None = None
    examples: dict[str, Natural] | None = None
    """Drawn so far, by part."""
    gates: dict[str, Matrix] | None = None
    alpha: dict[str, Matrix] | None = None
    edges: dict[str, Matrix] | None = None
    """Architecture parameters of edges, where these are normalised."""
    seed: Natural | None = None
    seed_epoch: Count | None = None
    seconds: Amount = 0.0
    cpu_seconds: Amount = 0.0


class Cost(Record, extra="allow"):
    """What a run has cost: further entries are examples drawn, parameters, multiply-adds."""

    __pydantic_extra__: dict[str, Amount]

    seconds: Amount
    cpu_seconds: Amount


class Offered(Record, extra="allow"):
    """One of several architectures that a search ends with, and its figures by name."""

    __pydantic_extra__: dict[str, float]

    architecture: Text


class Reached(Record):
    """The metric over seeds: the mean, and from two on its 95 % interval.

    Or that of one network, with the interval that the number of examples allows.
    """

    mean: float
    n: Count
    low: float | None = None
    high: float | None = None
    examples: Count | None = None
    """On which one network was measured."""
    values: list[float]

    @model_validator(mode="after")
    def _each(self) -> Self:
        several = self.n > 1
        unsaid = self.examples is None and several != (self.low is not None)
        if len(self.values) != self.n or unsaid or (several and self.examples is not None):
            raise ValueError("a value for each seed, and from two on an interval")
        if (self.low is None) != (self.high is None):
            raise ValueError("both ends of the interval")
        return self


class Figure(Record):
    """What trained networks reach beside the metric, see `morphogen.tasks.metric.Figure`."""

    name: Text
    unit: Text
    higher_is_better: bool
    how: Text
    """How it was computed; empty where the name says it."""
    part: Literal["test", "held_out"]
    reached: Reached


class Comparison(Record):
    """What was found, trained from scratch and beside others by one recipe."""

    training: Text
    """Its run directory, as seen from the run's own: `.` is the run itself."""
    metric: Text
    """What is compared, in words: test accuracy."""
    reached: Reached
    """By what was found."""
    verdicts: Annotated[list[Verdict], Field(min_length=1)]

    def written(self) -> dict[str, Any]:
        """As result.json has it."""
        return self.model_dump(mode="json", exclude_none=True)

    @property
    def sentence(self) -> str:
        """All verdicts, without a full stop."""
        told = "; ".join(verdict.sentence for verdict in self.verdicts)
        return f"by {self.metric}, trained from scratch by one recipe: {told}"


class Kept(Record):
    """What the network that was found costs, beside a limit."""

    limit: Text
    cost: Text
    most: Amount
    value: Amount
    unit: Text
    kept: bool


class SearchRecord(Record):
    """result.json of a search that ends with an architecture."""

    architecture: Text
    method: Text
    space: Text
    seed: Natural
    epochs: Natural
    """Lines of metrics."""
    remarks: list[Text]
    split: Text
    cost: Cost
    ended_early: bool | None = None
    """Whether an interrupt has ended it with the best so far."""
    explanation: Text | None = None
    """Why it has ended as it has, without a full stop."""
    limits: list[Kept] | None = None
    failed_evaluations: Count | None = None
    candidates: list[Offered] | None = None
    hypervolume: float | None = None
    reference: dict[str, float] | None = None
    comparison: Comparison | None = None
    """With what asks for no search."""

    @model_validator(mode="after")
    def _figures(self) -> Self:
        figures = [set(candidate.model_extra or ()) for candidate in self.candidates or ()]
        if any(names != set(self.reference or figures[0]) for names in figures):
            raise ValueError("candidates with the same figures, the objectives of reference if any")
        return self


WeightsFile = Annotated[str, Field(pattern=r"^seed-[0-9]{1,20}-(best|last)\.safetensors$")]
"""Of a training's seed, in the run directory."""


NETWORK = "network.safetensors"
"""Of the network that a search delivers, in the run directory."""


class Delivered(SearchRecord, extra="allow"):
    """result.json of a search that ends with a trained network; the metric names what it reaches"""

    __pydantic_extra__: dict[str, Reached | None]

    seeds: Literal[1]
    test_openings: list[Text]
    test_remarks: list[Text]
    figures: list[Figure] | None = None
    weights: Annotated[list[Literal["network.safetensors"]], Field(min_length=1, max_length=1)]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if {"params", "macs"} - set(self.cost.model_extra or ()):
            raise ValueError("cost with params and macs")
        measured = self.model_extra or {}
        if len(measured) != 1 or not all(name.startswith("test_") for name in measured):
            raise ValueError("test_ before the name of the metric, and none else")
        return self


class Trained(SearchRecord, extra="allow"):
    """result.json of a training from scratch; what was reached is named by the metric."""

    __pydantic_extra__: dict[str, Reached | None]

    seeds: Count
    test_openings: list[Text]
    weights: list[WeightsFile]
    figures: list[Figure] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if {"params", "macs", "train_examples"} - set(self.cost.model_extra or ()):
            raise ValueError("cost with params, macs and train_examples")
        measured = self.model_extra or {}
        names = {name.removeprefix("test_").removeprefix("held_out_") for name in measured}
        if len(names) != 1 or len(measured) != 2:
            raise ValueError("test_ and held_out_ before the name of the metric, and none else")
        known = [held for held in measured.values() if held is not None]
        if not known or any(r.n != self.seeds for r in known) or len(self.weights) != self.seeds:
            raise ValueError("a value of the metric and a file of weights for each seed")
        return self


class Estimate(Record):
    """A figure with its interval; None where there is no number."""

    value: float | None
    low: float | None
    high: float | None


class Level(Record):
    """The order within a subset."""

    subset: Literal["all", "truth", "prediction"]
    n: Natural
    fraction: float | None
    tau: Estimate
    spearman: Estimate


class Head(Record):
    """What the best predicted hold."""

    k: Natural
    fraction: float | None
    precision: Estimate
    overlap: Estimate
    chance: float | None


class Picture(Record):
    """An example that a report shows."""

    caption: Text
    png: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]+=*$", max_length=8 * MEBIBYTE)]
    """Base 64."""


class Legend(Record):
    """What a colour stands for."""

    name: Text
    colour: Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]


class Shown(Record):
    """examples.json: what a trained network makes of a few examples, see `Task.shown`."""

    text: Text
    pictures: list[Picture]
    legend: list[Legend]
    head: list[Text] | None = None
    """Of a table."""
    rows: list[list[Text]] | None = None


class Ranked(Record):
    """rank.json: how well a trained supernet orders architectures."""

    space: Text
    title: Text
    about: Text
    by: Text
    scorer_data: Text
    truth_data: Text
    other_data: bool
    truth: Text
    truth_about: Text
    higher_is_better: bool
    chosen_place: Natural
    chosen: Text
    n: Count
    truths: Natural
    predictions: Natural
    rank: Count
    levels: Annotated[list[Level], Field(min_length=1)]
    heads: list[Head]
    regret: Estimate
    points: list[Annotated[list[float | None], Field(min_length=2, max_length=2)]]

    @model_validator(mode="after")
    def _inside(self) -> Self:
        if self.chosen_place >= len(self.points):
            raise ValueError("points with the chosen one among them")
        return self


def comparison_of(result: Mapping[str, Any]) -> Comparison | None:
    """The comparison of a result.json that was checked; None if there is none."""
    written = result.get("comparison")
    return None if written is None else Comparison.model_validate(written)


def result_kind(values: Any) -> type[SearchRecord]:
    """Which declaration a result.json is checked by."""
    held = values if isinstance(values, dict) else {}
    if held.get("method") == "train":
        return Trained
    return Delivered if "weights" in held else SearchRecord
