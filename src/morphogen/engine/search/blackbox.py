"""The loop of rounds, for a method that asks and tells.

A round's architectures are evaluated by an executor, in whatever order, and told together in the
order in which they were asked for; so the result does not depend on who was quicker. The store is
the whole state: to resume, the method is asked and told again from the start, and what the store
has is not evaluated again, be it of whole rounds or of the one that was cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core import Architecture, CheckpointError, RunError
from morphogen.core.rng import numpy_stream
from morphogen.engine.record.recorder import Recorder, in_all_processes
from morphogen.engine.search.evaluation import executor_of, limited
from morphogen.engine.search.extend import stops
from morphogen.engine.search.job import Job, objectives_in
from morphogen.engine.search.loop import Outcome, offered
from morphogen.engine.search.rounds import ask_and_tell
from morphogen.engine.search.settings import Settings
from morphogen.evaluators.executors import Executor, Report
from morphogen.evaluators.objectives import maximised
from morphogen.evaluators.stage import Stage
from morphogen.methods import AskTell, find
from morphogen.runs.store import Best, Evaluation, Store, row_of
from morphogen.tasks.problem import Clock, Problem


def run_rounds(method: AskTell, problem: Problem, recorder: Recorder, job: Job) -> Outcome:
    """Ask, evaluate and tell until the budget is spent or the method has no more questions.

    Raises:
        CheckpointError: the record does not fit what the method asks.
        RunError: the record cannot be written, or no architecture could be evaluated.
    """
    s, budget = job.settings, job.settings.evaluation.budget
    share = recorder.config.get("share")
    space = limited(problem, s, share)
    # Where it is known how many there are, nobody asks for more, again and again.
    there = share["kept"] if share and share["exact"] and "latency" not in s.limit else budget
    staged = find(job.method).staged
    with ExitStack() as stack:
        executor = executor_of(problem, job)
        stack.callback(executor.close)
        store = stack.enter_context(Store(recorder.run.store_file, writes=recorder.writes))
        record = _Record(store, recorder, problem, executor, s)
        in_all_processes(problem.devices, record.start)
        ended = ask_and_tell(
            method,
            space,
            numpy_stream(s.seed, "search"),
            partial(record.answer, flat=not find(job.method).objectives),
            budget=budget if staged else min(budget, there),
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
