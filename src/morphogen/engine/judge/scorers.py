"""What gives architectures scores without training them: see `ranking` for what is asked of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from morphogen.core import Architecture, ConfigError
from morphogen.core.rng import numpy_stream, seed_for
from morphogen.engine.judge.ranking import Scorer
from morphogen.engine.judge.truth import Truth, table_truth
from morphogen.spaces import SearchSpace

if TYPE_CHECKING:
    from morphogen.engine.search.settings import Settings
    from morphogen.evaluators.supernet import Norms
    from morphogen.predictors.encodings import Encoding
    from morphogen.runs.config import Space
    from morphogen.tasks.kinds import Data


def supernet_scorer(
    run: str | Path,
    *,
    space: Space | None = None,
    data: Data | None = None,
    norms: Norms = "recalibrate",
    recalibration_images: int = 1000,
    images: int = 1000,
) -> tuple[Scorer, SearchSpace]:
    """The trained supernet of a finished run, on the run's own search-validation part.

    Args:
        run: its directory.
        space: needed again if it was an object of yours.
        data: needed again if they were an object of yours.
        norms: see `SupernetEvaluator`.
        recalibration_images: likewise.
        images: likewise.

    Returns:
        The scorer, with the task's metric and the loss as columns, and the run's space.

    Raises:
        RunError: the run is not finished, or trained no supernet.
    """
    from morphogen.core.config import from_mapping
    from morphogen.engine.devices import one_device
    from morphogen.engine.record.watch import Silent
    from morphogen.engine.search.job import Job, problem_of, task_of_job
    from morphogen.engine.search.settings import Settings
    from morphogen.engine.search.warmstart import read_run
    from morphogen.evaluators.supernet import SupernetEvaluator
    from morphogen.runs.config import data_name, read_back
    from morphogen.runs.directory import RunDirectory
    from morphogen.runs.provenance import require_same_data

    directory = RunDirectory.open(run)
    values, known, images_of = read_back(directory, space, data, call="morphogen.rank")
    if values["method"] == "train":
        raise ConfigError(f"{run} is a training of one architecture; accepted: a search's run")
    settings = from_mapping(Settings, values["settings"])
    weights, _ = read_run(run, known, settings, what="run")
    job = Job("", None, known, images_of, settings, directory.path, resume=False, watcher=Silent)
    task = task_of_job(job)
    require_same_data(directory, values, task)
    problem = problem_of(
        job, task, one_device(settings.hardware.accelerator, settings.hardware.precision)
    )
    net = problem.supernet()
    net.load_state_dict(weights)
    evaluator = SupernetEvaluator(
        problem, norms=norms, recalibration_examples=recalibration_images, examples=images
    )
    how = (
        f"recalibrated on {recalibration_images} {task.unit}"
        if norms == "recalibrate"
        else "by batch"
    )
    metric = task.metric
    count = min(images, task.length("valid")) or task.length("valid")

    def score(arch: Architecture) -> Sequence[float]:
        with task.sealed("the ranking"):
            found = evaluator.measure(net, arch)
        return found.score, found.loss

    scorer = Scorer(
        f"supernet {digest(weights)}, norms {how}, {count} {task.unit}, seed {settings.seed}",
        f"supernet of {run}",
        (metric.name if metric.higher_is_better else "score", "loss"),
        score,
        f"{metric.name.capitalize()} with inherited weights on {count:,} search-validation "
        f"{task.unit}; norms {how}.",
        data_name(images_of),
    )
    return scorer, known


def digest(weights: Mapping[str, Any]) -> str:
    """Twelve digits that change with any bit of the weights."""
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(name.encode())
        found.update(weights[name].detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:12]


def proxy_scorer(
    name: str, space: SearchSpace, data: Data = "fashion-mnist", *, settings: Settings | None = None
) -> Scorer:
    """A zero-cost proxy, of stand-alone networks with fresh weights on one minibatch.

    Args:
        name: of the proxy.
        space: of the networks.
        data: whose train part the minibatch is from.
        settings: sizes of networks and examples, `batch_size` of the minibatch, seed.

    Raises:
        UnknownNameError: there is no such proxy.
    """
    from morphogen import cost
    from morphogen.core import UnknownNameError
    from morphogen.engine.search.job import task_of
    from morphogen.engine.search.settings import BATCH_SIZE, Settings
    from morphogen.proxies import PROXIES, batch_of, score_architecture
    from morphogen.runs.config import data_name
    from morphogen.supernets import NetworkSpec
    from morphogen.supernets.nested import shapes
    from morphogen.tasks.digests import digest as digest_of
    from morphogen.tasks.digests import raw

    if name not in PROXIES:
        raise UnknownNameError("proxy", name, PROXIES)
    s = settings or Settings()
    task, count = task_of(data, s), s.batch_size or BATCH_SIZE
    spec = NetworkSpec(
        channels=s.network.channels,
        depth=s.network.depth,
        classes=task.outputs(),
        in_channels=task.in_channels,
    )
    arch = space.sample(np.random.default_rng(0))
    cost.require(space, spec, task.example(), batch=count, arch=arch)
    batch = batch_of(task, count, s.seed)
    seen = digest_of(map(raw, (batch.x, batch.y)))[:12]
    shape = shapes(task.example())
    sizes = f"{spec.channels} channels, depth {spec.depth}, {count} {task.unit} of shape {shape}"
    return Scorer(
        f"proxy {name}, {sizes}, data {data_name(data)} ({seen}), seed {s.seed}",
        f"proxy {name}",
        ("score",),
        lambda arch: (
            score_architecture([name], space, arch, batch, spec, s.seed, loss=task.criterion)[name],
        ),
        f"{PROXIES[name].summary.rstrip('.')} ({PROXIES[name].source}); {sizes}.",
        data_name(data),
    )


def predictor_scorer(
    kind: str, truth: Truth, *, fit: int = 100, encoding: Encoding = "onehot", seed: int = 0
) -> Scorer:
    """A predictor fitted to some architectures of the truth, to be judged on the others.

    Args:
        kind: of `predictors.KINDS`.
        truth: of all architectures.
        fit: how many it is fitted to, drawn at random.
        encoding: of architectures.
        seed: of the draw and of the predictor.

    Raises:
        UnknownNameError: there is no such predictor.
        ConfigError: there are not so many architectures.
    """
    from morphogen.core import UnknownNameError
    from morphogen.predictors import KINDS, encode_all, make
    from morphogen.predictors.encodings import Encoding as ENCODING

    if kind not in KINDS:
        raise UnknownNameError("predictor", kind, KINDS)
    if encoding not in get_args(ENCODING):
        raise UnknownNameError("encoding", encoding, get_args(ENCODING))
    if not 1 <= fit < len(truth):
        raise ConfigError(f"fit is {fit}; accepted: 1 to {len(truth) - 1} architectures")
    rows = numpy_stream(seed, "ranking/fit").permutation(len(truth))[:fit]
    some = truth.take(rows)
    model = make(kind, seed_for(seed, "ranking/predictor") % 2**31)
    model.fit(encode_all(truth.space, some.archs, encoding), some.values)
    predicted = model.predict(encode_all(truth.space, truth.archs, encoding))
    scores = dict(zip(truth.archs, predicted.tolist(), strict=True))
    return Scorer(
        f"predictor {kind}, {encoding}, fitted to {fit} of {truth.name} ({truth.digest}), "
        f"seed {seed}",
        f"predictor {kind}",
        ("score",),
        lambda arch: (scores[arch],),
        f"Fitted to {fit:,} architectures with their {truth.name}, which are not ranked.",
        truth.data,
        frozenset(some.archs),
    )


def column_scorer(space: SearchSpace, metric: str, file: str = "") -> Scorer:
    """A column of the table: a short training, or another data set, as a predictor."""
    column = table_truth(space, metric, file=file)
    scores: Mapping[Architecture, float] = dict(
        zip(column.archs, np.asarray(column.values).tolist(), strict=True)
    )
    return Scorer(
        f"column {column.name} ({column.digest})",
        f"column {column.name}",
        ("score",),
        lambda arch: (scores[arch],),
        f"Score: {column.about}.",
        column.data,
    )
