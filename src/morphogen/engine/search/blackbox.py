"""The loop of rounds, for a method that asks and tells.

A round's architectures are evaluated by an executor, in whatever order, and told together in the
order in which they were asked for; so the result does not depend on who was quicker. The store is
the whole state: to resume, the method is asked and told again from the start, and what the store
has is not evaluated again, be it of whole rounds or of the one that was cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from morphogen import benchmarks, cost
from morphogen.core import Architecture, CheckpointError, ConfigError, RunError, memory
from morphogen.core.rng import numpy_stream
from morphogen.engine.record.recorder import Recorder, in_all_processes
from morphogen.engine.record.watch import Silent
from morphogen.engine.search.job import Job, objectives_in, problem_of, task_of_job
from morphogen.engine.search.lengthen import stops
from morphogen.engine.search.loop import Outcome, offered
from morphogen.engine.search.rounds import ask_and_tell
from morphogen.engine.search.settings import Settings
from morphogen.engine.search.warmstart import Origin
from morphogen.evaluators.executors import Executor, Make, Report, make_executor
from morphogen.evaluators.executors import Job as Work
from morphogen.evaluators.executors.make import cores
from morphogen.evaluators.limits import limits_of
from morphogen.evaluators.objectives import Costs, Objectives, maximised, objectives_of
from morphogen.evaluators.proxy import ProxyEvaluator
from morphogen.evaluators.stage import Stage
from morphogen.evaluators.supernet import SupernetEvaluator
from morphogen.evaluators.table import TableEvaluator
from morphogen.evaluators.traces import Trace
from morphogen.evaluators.training import TrainingEvaluator
from morphogen.methods import AskTell, MethodInfo, find, methods
from morphogen.proxies import named
from morphogen.runs.store import Best, Evaluation, Store, row_of
from morphogen.spaces import SearchSpace
from morphogen.spaces.constrained import Constrained
from morphogen.supernets import network
from morphogen.tasks import Metric
from morphogen.tasks.problem import Clock, Problem

CLASSES = {"CIFAR-100": 100, "ImageNet16-120": 120}
"""Classes of a table's data set, 10 unless named, for the size of its networks."""


def resolved(
    info: MethodInfo,
    space: SearchSpace,
    settings: Settings,
    origin: Origin | None = None,
    *,
    metric: Metric,
    known_data: bool = False,
) -> Settings:
    """The settings with what depends on the machine made definite; what does not fit is refused.

    Args:
        info: the method.
        space: what is searched.
        settings: as they were given.
        origin: of the supernet that the run begins with, if it does.
        metric: of the task.
        known_data: whether its supernet was trained on the run's data.

    Raises:
        ConfigError: the method, or the executor, cannot do what is asked.
        CapabilityError: there is no table of the space.
    """
    s, e = settings, settings.evaluation
    names = [o.name for o in objectives_of(e.objectives, metric)]
    limits = limits_of(s.limit)
    plain, black_box = Settings(), attrgetter("black_box")
    if not info.black_box:
        serving: list[tuple[str, str, str, Callable[[MethodInfo], bool]]] = [
            ("objectives", e.objectives, plain.evaluation.objectives, black_box),
            ("limit", s.limit, plain.limit, lambda m: m.black_box or m.limits),
            ("executor", s.workers.executor, plain.workers.executor, black_box),
        ]
        for field, asked, usual, serves in serving:
            if asked != usual and not serves(info):
                raise ConfigError(
                    f"{field} is {asked!r}, and {info.name!r} searches in a "
                    f"supernet of its own; accepted: one of {', '.join(_fit(serves))}"
                )
        return s
    if len(names) > 1 and not info.objectives:
        raise ConfigError(
            f"method {info.name!r} optimises one objective, and objectives are {e.objectives!r}; "
            "accepted: one of them (the others as limit), or a method of several: "
            + (", ".join(_fit(lambda m: m.objectives)) or "none yet")
        )
    if e.evaluator != "training" and info.staged:
        raise ConfigError(
            f"evaluator is {e.evaluator!r}, and {info.name!r} asks for trainings of several "
            "lengths; accepted: evaluator training"
        )
    if e.table and e.evaluator != "table":
        raise ConfigError(
            f"table is {e.table}, and evaluator {e.evaluator!r} reads none; accepted: evaluator "
            "table, or no table"
        )
    if e.evaluator == "table":
        TableEvaluator(space, e.metric, e.table)
    if e.evaluator == "proxy":
        named([e.proxy])
    _check_origin(s, origin, known_data=known_data)
    if s.workers.executor == "local":
        if s.workers.timeout:
            raise ConfigError(
                f"timeout is {s.workers.timeout:g} with executor 'local', which cannot end what "
                "hangs; accepted: timeout 0, or executor processes or ray"
            )
    elif s.hardware.devices > 1:
        raise ConfigError(
            f"devices is {s.hardware.devices} with executor {s.workers.executor!r}; accepted: "
            "devices 1, or executor local, where the devices share each evaluation"
        )
    if s.workers.executor == "ray":
        from morphogen.evaluators.executors import cluster  # noqa: F401 - it says what is missing
    counted = {*names, *(limit.name for limit in limits)} - {metric.name}
    table = benchmarks.of(space, e.table) if e.evaluator == "table" else None
    if e.evaluator == "proxy" or counted - set(table.metrics if table is not None else ()):
        arch = space.sample(np.random.default_rng(0))
        with torch.device("meta"):
            network(space, arch, cost.published(space))  # it says if there is none
    if s.workers.executor == "local":
        return s
    workers = s.workers.count or cores()
    if s.workers.executor == "processes":
        memory.require_processes(min(workers, e.budget), "workers")
    size = s.workers.round_size or workers
    return replace(s, workers=replace(s.workers, count=workers, round_size=size))


def _check_origin(s: Settings, origin: Origin | None, *, known_data: bool) -> None:
    """A supernet is needed by one evaluator, and no other has a use for it."""
    evaluator = s.evaluation.evaluator
    if evaluator != "supernet":
        if origin is not None:
            raise ConfigError(
                f"from is {origin.run}, and evaluator {evaluator!r} uses no supernet; accepted: "
                "evaluator supernet, or no from"
            )
        return
    if origin is None:
        raise ConfigError(
            "evaluator is 'supernet', and there is none to score with; accepted: with --from RUN, "
            "a finished run that trained one"
        )
    if not known_data:
        raise ConfigError(
            f"the supernet of {origin.run} was trained on {origin.data}, other data than these; "
            "accepted: the same, since its classifier knows no others"
        )


def _fit(serves: Any) -> list[str]:
    return [name for name, info in methods().items() if serves(info)]


def run_rounds(method: AskTell, problem: Problem, recorder: Recorder, job: Job) -> Outcome:
    """Ask, evaluate and tell until the budget is spent or the method has no more questions.

    Raises:
        CheckpointError: the record does not fit what the method asks.
        RunError: the record cannot be written, or no architecture could be evaluated.
    """
    s, budget = job.settings, job.settings.evaluation.budget
    space = limited(problem, s)
    with ExitStack() as stack:
        executor = _executor(problem, job)
        stack.callback(executor.close)
        store = stack.enter_context(Store(recorder.run.store_file, writes=recorder.writes))
        record = _Record(store, recorder, problem, executor, s)
        in_all_processes(problem.devices, record.start)
        ended = ask_and_tell(
            method,
            space,
            numpy_stream(s.seed, "search"),
            partial(record.answer, flat=not find(job.method).objectives),
            budget=budget,
            round_size=s.workers.round_size or 1,
            stops=stops(recorder.config),
            traces=record.traces,
        )
        in_all_processes(problem.devices, record.finish)
    history = record.history()
    if ended.answered < budget:
        recorder.watcher.notice(
            f"the method had no more new questions after {ended.answered} of {budget} architectures"
        )
    found = method.derive(ended.state, space)
    return Outcome(found, history, offered(method, ended.state, space))


def limited(problem: Problem, s: Settings) -> SearchSpace:
    """The problem's space without the architectures that exceed the limits, if there are any."""
    limits = limits_of(s.limit)
    if not limits:
        return problem.space
    within = _costs(problem, s).within(limits)
    return Constrained(problem.space, within, ", ".join(limit.text for limit in limits))


class _Record:
    """Answers a method's questions from the store or by the executor, and keeps the answers."""

    def __init__(
        self, store: Store, recorder: Recorder, problem: Problem, executor: Executor, s: Settings
    ) -> None:
        self.store, self.recorder, self.executor = store, recorder, executor
        self.space, self.devices = problem.space, problem.devices
        self.objectives = objectives_in(s, problem.task.metric)
        self.budget = s.evaluation.budget
        self.asked, self.best, self.failure = 0, Best(), ""
        for evaluation in self._ordered():
            if evaluation.objectives is not None:
                self._require_objectives(evaluation)
            self.best.after(evaluation)

    def _require_objectives(self, evaluation: Evaluation) -> None:
        held = dict(evaluation.objectives or {})
        names = [o.name for o in self.objectives]
        if set(held) != set(names) or maximised(held, self.objectives)[0] != evaluation.score:
            raise CheckpointError(
                f"row {evaluation.number} of {self.store.path} has the objectives "
                f"{', '.join(held)} or another score; accepted: {', '.join(names)}, the first "
                "of them the score"
            )

    def finish(self) -> None:
        """Have all on the disk, if it is no more than was asked for.

        Raises:
            CheckpointError: the record has architectures that the method never asked for.
        """
        if len(self.store.known) > self.asked:
            raise CheckpointError(
                f"{self.store.path} has {len(self.store.known)} architectures, and the method "
                f"asked for {self.asked}; accepted: the record of this very run"
            )
        self.store.commit()

    def start(self) -> None:
        """Tell the watcher where the search stands."""
        self.recorder.watcher.started(
            self.recorder.config, self.recorder.run.path, len(self.store.known)
        )

    def answer(
        self, archs: Sequence[Architecture], stage: Stage, *, flat: bool
    ) -> NDArray[np.float64]:
        """What to tell of new architectures, [n] or [n, objectives]."""
        texts = [self.space.format(arch) for arch in archs]
        numbers = range(self.asked + 1, self.asked + 1 + len(archs))
        pairs = zip(numbers, texts, strict=True)
        found = [self.store.find(n, t, stage.budget) for n, t in pairs]
        self.asked += len(archs)
        left = [i for i, evaluation in enumerate(found) if evaluation is None]
        for report in self.executor.map([(archs[i], stage) for i in left]) if left else ():
            i = left[report.index]
            found[i] = self._keep(numbers[i], texts[i], stage, report)
        rows = np.stack([maximised(e.objectives if e else None, self.objectives) for e in found])
        return rows[:, 0] if flat else rows

    def traces(
        self, archs: Sequence[Architecture], stage: Stage
    ) -> list[NDArray[np.float64] | None]:
        """What was recorded of the trainings of architectures that are answered for."""
        found = [self.store.known[self.space.format(arch), stage.budget].trace for arch in archs]
        return [None if trace is None else np.array(trace, np.float64) for trace in found]

    def history(self) -> list[dict[str, Any]]:
        """The rows of the record, in the order in which the method asked.

        Raises:
            RunError: there is nothing but failures.
        """
        if self.store.known and self.best.evaluation is None:
            raise RunError(
                f"none of {len(self.store.known)} architectures could be evaluated; the last one: "
                f"{self.failure or 'see the record'}"
            )
        best = Best()
        return [row_of(e, best.after(e)) for e in self._ordered()]

    def _keep(self, number: int, text: str, stage: Stage, report: Report) -> Evaluation:
        values, trace = (None, None) if report.failed else report.value
        evaluation = Evaluation(
            number,
            text,
            values,
            None if report.failed else float(maximised(values, self.objectives)[0]),
            report.error,
            report.attempts,
            report.seconds,
            report.cpu_seconds,
            report.worker,
            stage.budget,
            None if trace is None else trace.tolist(),
        )
        done = len(self.store.known)
        self.recorder.watcher.stepped(Clock(done, self.budget, 1, 1))
        in_all_processes(self.devices, partial(self.store.add, evaluation))
        self.failure = report.error or self.failure
        row = row_of(evaluation, self.best.after(evaluation))
        self.recorder.watcher.epoch({**row, "epoch": done + 1})
        return evaluation

    def _ordered(self) -> list[Evaluation]:
        return sorted(self.store.known.values(), key=lambda e: e.number)


# -- what the workers do ---------------------------------------------------------------------------

Question = tuple[Architecture, Stage]
"""A task of a worker."""

Measured = tuple[dict[str, float], Trace | None]
"""What it returns: all objectives by name, and what the stage asks to have recorded."""


def _executor(problem: Problem, job: Job) -> Executor:
    s = job.settings
    make: Make = partial(_work, problem, s)
    if s.workers.executor != "local":
        make = partial(_make_work, replace(job, watcher=Silent))
    return make_executor(
        s.workers.executor,
        make,
        workers=s.workers.count,
        retries=s.workers.retries,
        timeout=s.workers.timeout,
        threads=s.hardware.threads or 1,
        address=s.workers.ray_address,
    )


def _make_work(job: Job) -> Work:
    """In a worker: the same problem again."""
    task = task_of_job(job)
    work = _work(problem_of(job, task), job.settings)

    def sealed(question: Question) -> Measured:
        with task.sealed("the search"):
            return work(question)

    return sealed


def _work(problem: Problem, s: Settings) -> Callable[[Question], Measured]:
    e = s.evaluation
    aims, costs = objectives_in(s, problem.task.metric), _costs(problem, s)
    if e.evaluator == "table":
        look_up = Objectives(aims, TableEvaluator(problem.space, e.metric, e.table), costs)
        return lambda question: (look_up(question[0]), None)
    if e.evaluator == "proxy":
        untrained = Objectives(aims, ProxyEvaluator(problem, e.proxy, s.batch_size), costs)
        return lambda question: (untrained(question[0]), None)
    if e.evaluator == "supernet":
        net = problem.supernet()
        inherited = SupernetEvaluator(
            problem,
            norms=e.norms,
            recalibration_examples=e.recalibration,
            examples=e.images,
        )
        score = Objectives(
            aims, lambda archs: [inherited.measure(net, arch).score for arch in archs], costs
        )
        return lambda question: (score(question[0]), None)
    training = TrainingEvaluator(problem, e.epochs, s.batch_size, patience=e.patience)

    def work(question: Question) -> Measured:
        arch, stage = question
        traces: list[Trace | None] = [None]

        def evaluate(archs: Sequence[Architecture]) -> list[float]:
            score, traces[0] = training.measure(arch, stage)
            return [score]

        return Objectives(aims, evaluate, costs)(arch), traces[0]

    return work


def _costs(problem: Problem, s: Settings) -> Costs:
    """Costs of the networks that the scores are of: those of the table, or those trained here."""
    space = problem.space
    if s.evaluation.evaluator != "table":
        return Costs(space, None, problem.spec, problem.task.example())
    evaluator = TableEvaluator(space, s.evaluation.metric, s.evaluation.table)
    data = evaluator.metric.data
    side = 16 if data == "ImageNet16-120" else 32
    spec = replace(cost.published(space), classes=CLASSES.get(data, 10))
    return Costs(space, benchmarks.of(space, s.evaluation.table), spec, (3, side, side))
