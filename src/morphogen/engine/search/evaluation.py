"""How a black-box search has its architectures evaluated, and where; the limits they keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from morphogen import benchmarks, cost
from morphogen.core import Architecture
from morphogen.core.rng import numpy_stream
from morphogen.engine.devices import one_device
from morphogen.engine.record.watch import Silent
from morphogen.engine.search.job import Job, objectives_in, problem_of, task_of_job
from morphogen.engine.search.settings import Settings
from morphogen.engine.train.training import own_descent
from morphogen.evaluators.executors import Executor, Make, make_executor
from morphogen.evaluators.limits import limits_of
from morphogen.evaluators.objectives import Costs, Objectives
from morphogen.evaluators.proxy import ProxyEvaluator
from morphogen.evaluators.share import Share, share_of
from morphogen.evaluators.stage import Stage
from morphogen.evaluators.supernet import SupernetEvaluator
from morphogen.evaluators.table import TableEvaluator
from morphogen.evaluators.traces import Trace
from morphogen.evaluators.training import TrainingEvaluator
from morphogen.spaces import SearchSpace
from morphogen.spaces.constrained import FEW, TRIES, Constrained
from morphogen.supernets import NetworkSpec
from morphogen.supernets.global_rng import forked_rng
from morphogen.tasks import Task
from morphogen.tasks.problem import Problem

CLASSES = {"CIFAR-100": 100, "ImageNet16-120": 120}
"""Classes of a table's data set, 10 unless named, for the size of its networks."""


Question = tuple[Architecture, Stage]
"""A task of a worker."""

Measured = tuple[dict[str, float], Trace | None]
"""What it returns: all objectives by name, and what the stage asks to have recorded."""


def executor_of(problem: Problem, job: Job) -> Executor:
    """What evaluates the architectures of a job: this process, others, or a cluster."""
    s = job.settings
    make: Make = partial(evaluation_of, problem, s)
    if s.workers.executor != "local":
        make = partial(_in_worker, replace(job, watcher=Silent))
    return make_executor(
        s.workers.executor,
        make,
        workers=s.workers.count,
        retries=s.workers.retries,
        timeout=s.workers.timeout,
        threads=s.hardware.threads or 1,
        address=s.workers.ray_address,
    )


def _in_worker(job: Job) -> Callable[[Question], Measured]:
    """In a worker: the same problem again, on the same kind of device."""
    task, hardware = task_of_job(job), job.settings.hardware
    devices = one_device(hardware.accelerator, hardware.precision)
    evaluate = evaluation_of(problem_of(job, task, devices), job.settings)

    def sealed(question: Question) -> Measured:
        with task.sealed("the search"):
            return evaluate(question)

    return sealed


def evaluation_of(problem: Problem, s: Settings) -> Callable[[Question], Measured]:
    """How architectures are evaluated: by a table, a proxy, a supernet, a training."""
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
    training = TrainingEvaluator(
        problem, e.epochs, s.batch_size, own_descent(problem.space, s.task), patience=e.patience
    )

    def trained(question: Question) -> Measured:
        arch, stage = question
        traces: list[Trace | None] = [None]

        def evaluate(archs: Sequence[Architecture]) -> list[float]:
            score, traces[0] = training.measure(arch, stage)
            return [score]

        return Objectives(aims, evaluate, costs)(arch), traces[0]

    return trained


def _costs(problem: Problem, s: Settings) -> Costs:
    return costs_of(problem.space, problem.task, problem.spec, s)


def costs_of(space: SearchSpace, task: Task, spec: NetworkSpec, s: Settings) -> Costs:
    """Costs of the networks that the scores are of: those of the table, or those trained here.

    Args:
        space: of the architectures.
        task: whose inputs the networks take.
        spec: their sizes.
        s: how they are scored.
    """
    if s.evaluation.evaluator != "table":
        return Costs(space, None, spec, task.example())
    evaluator = TableEvaluator(space, s.evaluation.metric, s.evaluation.table)
    data = evaluator.metric.data
    side = 16 if data == "ImageNet16-120" else 32
    spec = replace(cost.published(space), classes=CLASSES.get(data, 10))  # and not those here
    return Costs(space, benchmarks.of(space, s.evaluation.table), spec, (3, side, side))


TRIES_TIMED = 100
"""Architectures drawn and refused, one after the other, where each is timed."""


def limited(problem: Problem, s: Settings, share: Mapping[str, Any] | None = None) -> SearchSpace:
    """The problem's space without the architectures that exceed the limits, if there are any.

    Args:
        problem: of the search.
        s: with its limits.
        share: what config.yaml says of how many keep them, see `share_in`.
    """
    limits = limits_of(s.limit)
    if not limits:
        return problem.space
    costs, words = _costs(problem, s), ", ".join(limit.text for limit in limits)
    tries = TRIES_TIMED if any(limit.name == "latency" for limit in limits) else TRIES
    if share is not None and not share["kept"]:
        tries = FEW
    return Constrained(problem.space, costs.within(limits), words, costs.excess(limits), tries)


def share_in(space: SearchSpace, task: Task, spec: NetworkSpec, s: Settings) -> Share | None:
    """Which share of a space keeps the limits of a search that is about to begin; None without any.

    Args:
        space: the whole space.
        task: of the search.
        spec: sizes of its networks.
        s: its settings.

    Raises:
        ConfigError: nothing keeps them, as far as can be found.
    """
    limits = limits_of(s.limit)
    if not limits:
        return None
    with forked_rng():
        costs = costs_of(space, task, spec, s)
        return share_of(space, limits, costs, numpy_stream(s.seed, "limits"))


def keeps_limits(
    space: SearchSpace, arch: Architecture, task: Task, spec: NetworkSpec, s: Settings
) -> bool:
    """Whether the network of an architecture, in these sizes, exceeds none of the limits."""
    limits = limits_of(s.limit)
    return not limits or costs_of(space, task, spec, s).within(limits)(arch)


def kept_limits(problem: Problem, arch: Architecture, s: Settings) -> list[dict[str, Any]]:
    """What the network of an architecture costs, beside each limit; a latency is timed anew.

    Args:
        problem: of the search.
        arch: what it found.
        s: with its limits.
    """
    costs = _costs(problem, s)
    return [
        {
            "limit": limit.text,
            "cost": limit.name,
            "most": limit.most,
            "value": (value := costs(arch, limit.name)),
            "unit": costs.unit(limit.name),
            "kept": value <= limit.most,
        }
        for limit in limits_of(s.limit)
    ]
