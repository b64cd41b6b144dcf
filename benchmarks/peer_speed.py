"""A step of ours beside one of a peer's own code, in one process, in turn.

    git clone https://github.com/D-X-Y/AutoDL-Projects        and checkouts of other PEERS
    python benchmarks/peer_speed.py --checkout autodl=AutoDL-Projects darts=darts confopt=...
    python benchmarks/peer_speed.py --checkout ... --report   of what is there
    python benchmarks/peer_speed.py --checkout ... --small    tiny networks, no result file

What was measured of a commit is kept in --out and not measured again, so that a run that was cut
off goes on.

A step is a pair: one on alpha and one on the weights, each on a batch of its own, with optimisers
and whatever else the peer's search loop does to its network between two batches, but no logging.
The peer gets batches that lie ready; ours draws and augments its own. Compared are steps of the
same method on a supernet of the same space and size, both in float32 on one core. `less work` marks
what is no such comparison: our partial channels and sampled paths beside the peer's DARTS.

Nothing of a peer is part of this project: its supernets and samplers are imported from the checkout
that is given, as they are. Packages that a peer imports for its logging and is not installed with
are replaced by nothing (`thop`, which ConfigurableOptimizer's supernets call, is not: install it);
`.cuda()` does nothing where there is no GPU. In each turn all run once; a ratio is the median over
turns of the peer's CPU time divided by ours, with the least and the greatest.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import record
import torch
from torch import Tensor, nn

from morphogen import spaces
from morphogen.bilevel.regularisation import Regularisation
from morphogen.bilevel.regularised import RegularisedProblem
from morphogen.engine.search.timetable import phases_of
from morphogen.methods import find
from morphogen.supernets import NetworkSpec
from morphogen.tasks.classification import Images, ImageTask
from morphogen.tasks.problem import Clock

Step = Callable[[], None]

SIDE, BATCH, CHANNELS = 32, 64, 16
SMALL = {"side": 16, "batch": 4, "channels": 4}
UNUSED = ("wandb", "ConfigSpace", "nasbench", "reinmax")
"""Packages that a peer imports and a step does not use: replaced where they are missing."""


@dataclass(frozen=True)
class Sizes:
    """Of supernets and batches."""

    channels: int = CHANNELS
    batch: int = BATCH
    side: int = SIDE

    def batch_of(self, seed: int) -> tuple[Tensor, Tensor]:
        """A batch that lies ready."""
        g = torch.Generator().manual_seed(seed)
        x = torch.randn(self.batch, 3, self.side, self.side, generator=g)
        return x, torch.randint(10, (self.batch,), generator=g)


PLAIN = Regularisation()
PARTIAL = Regularisation(partial_channels=4, edge_normalisation="on")


@dataclass(frozen=True)
class Row:
    """One comparison."""

    peer: str
    space: str
    depth: int
    method: str
    """Ours."""
    make: Callable[[Sizes, int], Step]
    """The peer's step, inside of its checkout."""
    options: Regularisation = PLAIN
    less: bool = False
    """Whether ours does less work, so that the ratio is no comparison of code."""

    @property
    def words(self) -> str:
        """What is compared."""
        ours = self.method
        if self.options.partial_channels > 1:
            ours += f" with 1/{self.options.partial_channels} of the channels"
        return f"{self.space}, depth {self.depth}: {ours}" + (" (less work)" * self.less)


# -- peers -----------------------------------------------------------------------------------------


@contextmanager
def checkout(path: Path) -> Iterator[None]:
    """Imports come from here first; top-level modules of a peer are forgotten afterwards."""
    before = set(sys.modules)
    missing = {n: MagicMock() for n in UNUSED if not _installed(n.partition(".")[0])}
    sys.path.insert(0, str(path))
    still = (
        (patch.object(Tensor, "cuda", lambda self: self), patch.object(nn.Module, "cuda", same))
        if not torch.cuda.is_available()
        else (nullcontext(), nullcontext())
    )
    try:
        with patch.dict(sys.modules, missing), still[0], still[1]:
            yield
            for name in set(sys.modules) - before:
                origin = getattr(sys.modules[name], "__file__", None)
                if origin and Path(origin).is_relative_to(path):
                    _kept.append(sys.modules[name])
                    del sys.modules[name]
    finally:
        sys.path.remove(str(path))


_kept: list[Any] = []
"""Modules of peers: their names may be taken again, they themselves are in use."""


def same(module: nn.Module) -> nn.Module:
    """A module that stays on the CPU."""
    return module


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def pair(
    forward: Callable[[Tensor], Tensor],
    weights: list[Tensor],
    alphas: list[Tensor],
    sizes: Sizes,
    *,
    alpha_first: bool,
    clip: float = 0.0,
    clear: Callable[[], Any] | None = None,
) -> Step:
    """A step of a loop that calls `backward` for both, as all of these peers do."""
    sgd = torch.optim.SGD(weights, lr=0.025, momentum=0.9, weight_decay=3e-4)
    adam = torch.optim.Adam(alphas, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)
    loss, batches = nn.CrossEntropyLoss(), [sizes.batch_of(i) for i in range(2)]

    def one(optimiser: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]) -> None:
        (clear or optimiser.zero_grad)()
        loss(forward(batch[0]), batch[1]).backward()
        if clip and optimiser is sgd:
            nn.utils.clip_grad_norm_(weights, clip)
        optimiser.step()

    order = [(adam, batches[1]), (sgd, batches[0])]

    def step() -> None:
        for optimiser, batch in order if alpha_first else order[::-1]:
            one(optimiser, batch)

    return step


def autodl(name: str) -> Callable[[Sizes, int], Step]:
    """AutoDL-Projects: exps/NATS-algos/search-cell.py."""

    def make(sizes: Sizes, depth: int) -> Step:
        models = importlib.import_module("xautodl.models")
        operations = importlib.import_module("xautodl.models.cell_operations")
        options = operations.SearchSpaceNames["nas-bench-201"]
        net = models.get_cell_based_tiny_net(
            {
                "name": name,
                "C": sizes.channels,
                "N": depth,
                "max_nodes": 4,
                "num_classes": 10,
                "space": options,
                "affine": False,
                "track_running_stats": False,
            }
        )
        return pair(
            lambda x: net(x)[1],
            list(net.get_weights()),
            list(net.get_alphas()),
            sizes,
            alpha_first=False,
            clear=net.zero_grad,
        )

    return make


def quark0(sizes: Sizes, depth: int) -> Step:
    """The authors' DARTS: cnn/train_search.py, first order; alpha by its own Architect."""
    search = importlib.import_module("model_search")
    architect = importlib.import_module("architect")
    loss = nn.CrossEntropyLoss()
    net = search.Network(sizes.channels, 10, depth, loss)
    sgd = torch.optim.SGD(net.parameters(), 0.025, momentum=0.9, weight_decay=3e-4)
    rates = {"arch_learning_rate": 3e-4, "arch_weight_decay": 1e-3}
    alpha = architect.Architect(net, SimpleNamespace(momentum=0.9, weight_decay=3e-4, **rates))
    train, valid = sizes.batch_of(0), sizes.batch_of(1)

    def step() -> None:
        alpha.step(*train, *valid, 0.025, sgd, unrolled=False)
        sgd.zero_grad()
        loss(net(train[0]), train[1]).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        sgd.step()

    return step


def confopt(space: str) -> Callable[[Sizes, int], Step]:
    """ConfigurableOptimizer: confopt/train/configurable_trainer.py with its DARTS sampler."""

    def make(sizes: Sizes, depth: int) -> Step:
        found = importlib.import_module("confopt.searchspace")
        sampler = importlib.import_module("confopt.oneshot.archsampler").DARTSSampler
        if space == "nasbench201":
            net = found.NASBench201SearchSpace(C=sizes.channels, N=depth)
        else:
            net = found.DARTSSearchSpace(C=sizes.channels, layers=depth)
        alphas = net.arch_parameters
        net.set_sample_function(sampler(alphas, sample_frequency="step").sample)
        return pair(
            lambda x: net(x)[1],  # features and scores
            list(net.model_weight_parameters()),
            list(alphas),
            sizes,
            alpha_first=True,
            clip=5.0,
        )

    return make


DARTS_V1 = autodl("DARTS-V1")
PEERS = {
    "autodl": ("D-X-Y/AutoDL-Projects", "."),
    "darts": ("quark0/darts", "cnn"),
    "confopt": ("automl/ConfigurableOptimizer", "src"),
}
"""Name -> repository on GitHub, folder of it that imports begin in."""
ROWS = (
    Row("autodl", "nasbench201", 1, "darts", DARTS_V1),
    Row("autodl", "nasbench201", 5, "darts", DARTS_V1),
    Row("autodl", "nasbench201", 1, "gdas", autodl("GDAS")),
    Row("autodl", "nasbench201", 1, "darts", DARTS_V1, PARTIAL, less=True),
    Row("autodl", "nasbench201", 1, "gdas", DARTS_V1, less=True),
    Row("confopt", "nasbench201", 1, "darts", confopt("nasbench201")),
    Row("darts", "darts", 8, "darts", quark0),
    Row("darts", "darts", 8, "darts", quark0, PARTIAL, less=True),
    Row("confopt", "darts", 8, "darts", confopt("darts")),
)


# -- ours ------------------------------------------------------------------------------------------


def ours(row: Row, sizes: Sizes, depth: int) -> Step:
    """A step of our method, as a search takes it."""
    g = torch.Generator().manual_seed(0)
    shape = (8 * sizes.batch, 3, sizes.side, sizes.side)
    pixels = torch.randint(0, 256, shape, generator=g).to(torch.uint8)
    images = Images(pixels, torch.arange(len(pixels)) % 10, tuple("abcdefghij"))
    half = len(pixels) // 2
    task = ImageTask.of(images, train_images=half, valid_images=half)
    options = row.options
    spec = NetworkSpec(
        channels=sizes.channels, depth=depth, partial_channels=options.partial_channels
    )
    problem = RegularisedProblem(
        spaces.make(row.space), task, spec, batch_size=sizes.batch, regularisation=options
    )
    problem.progress = 0.5
    info = find(row.method)
    method, done = info.build(info.config()), itertools.count()
    state = method.init(problem)
    phase = next(iter(phases_of(method, problem, 50))).name

    def step() -> None:
        method.step(state, problem, Clock(0, 50, next(done), 1000, phase))

    return step


def measured(row: Row, path: Path, sizes: Sizes, rounds: int) -> dict[str, float]:
    """CPU seconds of both and the ratio, medians over turns; the first turn does not count."""
    depth = row.depth if sizes == Sizes() else min(row.depth, 3)
    mine = ours(row, sizes, depth)
    with checkout(path / PEERS[row.peer][1]):
        torch.manual_seed(0)
        theirs = row.make(sizes, depth)
        taken: list[tuple[float, float]] = []
        for _ in range(rounds + 1):
            spent = []
            for step in (theirs, mine):
                begin = time.process_time()
                step()
                spent.append(time.process_time() - begin)
            taken.append((spent[0], spent[1]))
    ratios = [peer / own for peer, own in taken[1:]]
    return {
        "peer, CPU seconds": round(statistics.median(p for p, _ in taken[1:]), 3),
        "ours, CPU seconds": round(statistics.median(o for _, o in taken[1:]), 3),
        "ratio": round(statistics.median(ratios), 2),
        "least": round(min(ratios), 2),
        "greatest": round(max(ratios), 2),
        "turns": rounds,
    }


def commit(path: Path) -> str:
    """The commit that a checkout stands at."""
    command = ["git", "-C", str(path), "rev-parse", "--short=10", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def report(found: Mapping[Row, Mapping[str, float]], commits: Mapping[str, str]) -> None:
    names = {peer: f"{PEERS[peer][0]} at {commits[peer]}" for peer in commits}
    alike = {row: f["ratio"] for row, f in found.items() if not row.less}
    said = {
        name: ", ".join(f"{row.words} {r:.2f}" for row, r in alike.items() if row.peer == peer)
        for peer, name in names.items()
    }
    less = [f"{row.peer}, {row.words} {f['ratio']:.2f}" for row, f in found.items() if row.less]
    faster = [row for row, ratio in alike.items() if ratio > 1]
    record.write(
        "peer-speed",
        claim="A search step takes less CPU time than that of the peers' own code, same method, "
        "space and size, in float32 on one core, at the sizes measured.",
        system="supernets, methods",
        command="python benchmarks/peer_speed.py --checkout "
        + " ".join(f"{peer}=PATH" for peer in commits),
        seeds=[0],
        split="random images; time does not depend on them",
        figures={
            "unit": "CPU time of the peer's step divided by that of ours, median of turns; a step "
            "is one on alpha and one on the weights",
            "sizes": f"C={CHANNELS}, batch {BATCH}, {SIDE}x{SIDE}",
            **{
                name: {row.words: dict(f) for row, f in found.items() if row.peer == peer}
                for peer, name in names.items()
            },
        },
        published={
            "figure": "none",
            "source": "; ".join(f"github.com/{name}" for name in names.values()),
        },
        cost={
            "cpu_seconds": round(
                sum(
                    (f["turns"] + 1) * (f["peer, CPU seconds"] + f["ours, CPU seconds"])
                    for f in found.values()
                )
            ),
            "threads": 1,
        },
        headline="peer's time / ours: " + "; ".join(f"{n}: {words}" for n, words in said.items()),
        verdict="shown" if len(faster) == len(alike) else "partly" if faster else "not shown",
        why="same method, space and size, one core, float32, with optimisers; the peer's batches "
        "lie ready, ours are drawn and augmented; on a machine shared with other work, which the "
        "turns share. Less work, no comparison of code: " + "; ".join(less),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--checkout", nargs="+", metavar="PEER=PATH", required=True, help=", ".join(PEERS)
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns that count")
    parser.add_argument("--out", type=Path, default=Path("runs/peer-speed.jsonl"))
    parser.add_argument("--report", action="store_true", help="of what is there; runs nothing")
    parser.add_argument("--small", action="store_true", help="that it works, no result file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    paths = {}
    for text in options.checkout:
        peer, _, path = text.partition("=")
        if peer not in PEERS or not Path(path).is_dir():
            parser.error(f"--checkout {text}; accepted: a folder for one of {', '.join(PEERS)}")
        paths[peer] = Path(path).resolve()
    sizes = Sizes(**SMALL) if options.small else Sizes()
    rounds = 1 if options.small else options.rounds
    commits = {peer: commit(path) for peer, path in paths.items()}
    kept = {} if options.small else {(r["row"], r["commit"]): r for r in record.rows(options.out)}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found: dict[Row, dict[str, float]] = {}
    for row in ROWS:
        if row.peer not in paths:
            continue
        key = f"{row.peer}, {row.words}", commits[row.peer]
        if key in kept:
            found[row] = kept[key]["measured"]
        if key in kept or options.report:
            continue
        found[row] = measured(row, paths[row.peer], sizes, rounds)
        print(f"{key[0]}: {found[row]}", flush=True)
        if not options.small:
            line = {"row": key[0], "commit": key[1], "measured": found[row]}
            record.keep(options.out, line)
    if not options.small:
        report(found, commits)


if __name__ == "__main__":
    main()
