"""A method's trained network: its weights into the run directory, and one look at the test part."""

from __future__ import annotations

from torch import nn

from morphogen import cost
from morphogen.core import ConfigError
from morphogen.core.config import to_mapping
from morphogen.engine.record.evaluating import (
    deployed,
    deployed_names,
    figures_over,
    finished_of,
    show,
    signed,
    sums_of,
    weighted,
)
from morphogen.engine.search.delivered import Delivered, reached
from morphogen.engine.search.job import Job, spec_of
from morphogen.engine.search.loop import Outcome
from morphogen.engine.search.splits import split_sentence
from morphogen.runs.directory import RunDirectory
from morphogen.runs.validation import require_alike, require_finite
from morphogen.runs.weights import write_weights
from morphogen.spaces import ModuleSpace
from morphogen.supernets import network
from morphogen.supernets.global_rng import forked_rng
from morphogen.tasks import Task
from morphogen.tasks.problem import Devices


def deliver(job: Job, task: Task, devices: Devices, outcome: Outcome, net: nn.Module) -> Delivered:
    """Write the weights of the network that a search has trained, and measure it.

    What is measured is what was written: the weights are read from their file again.

    Args:
        job: the search.
        task: its task, no longer sealed.
        devices: of the process that writes.
        outcome: of the search's loop.
        net: the network, of the architecture found.

    Raises:
        ConfigError: it is not the network of that architecture.
        NumericalError: the metric is not finite.
        RunError: the weights cannot be written.
    """
    space, arch, seed = job.space, outcome.architecture, job.settings.seed
    spec = deployed(spec_of(job.settings, task))
    names = deployed_names(space, arch, spec)
    state = {name: value for name, value in net.state_dict().items() if name in names}
    with forked_rng():
        wanted = network(space, arch, spec).state_dict()
    try:
        require_alike(wanted, state, "its state")
        require_finite(state, "its state")
    except ValueError as error:
        raise ConfigError(
            f"method {job.method!r} delivers a network that is not its architecture's, trained: "
            f"{error}; accepted: supernets.network(space, architecture, problem.spec), with finite "
            "weights"
        ) from error
    directory = RunDirectory(job.path)
    signature = signed(
        space,
        arch,
        spec,
        task,
        data=job.data,
        seed=seed,
        weights="delivered",
        epoch=len(outcome.history),
        split=split_sentence(job, outcome.history, measured=task.has_test),
        settings=to_mapping(job.settings),
    )
    before = directory.set_early_aside()  # its weights are about to be others
    write_weights(directory.network_file, net, signature, names)
    counted = cost.of(space, arch, spec, task.example())
    sizes = directory.network_file.name, float(counted.params), float(counted.macs)
    written = devices.placed(weighted(directory.network_file, space, arch, spec))
    own = isinstance(space, ModuleSpace)
    # Weights that were trained on both parts have seen the search-validation part, too.
    drawn = outcome.history[-1].get("examples", {}) if outcome.history else {}
    part = "pool" if drawn.get("pool") else "valid"
    show(written, task, part, devices, job.path, own=own)
    if not task.has_test:
        return Delivered(*sizes)
    test = task.open_test(
        f"evaluation of the network that {job.method} delivers, after the search",
        device=devices.device,
    )
    sums = sums_of(written, task, test, devices, seed=seed, own=own)
    return Delivered(
        *sizes,
        reached(task, sums, len(test)),
        (*before, task.test_openings[-1]),
        test.notes,
        figures_over("test", [finished_of(written, task, devices, test)]),
    )
