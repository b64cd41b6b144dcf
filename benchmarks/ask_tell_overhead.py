"""How fast is a search when scores cost nothing, and does it stay so to a million evaluations?

    python benchmarks/ask_tell_overhead.py

Two parts, both in processor time, since other work may share the machine. Real table look-ups: a
search of 200 architectures by NAS-Bench-201's table. Growth: a million evaluations in a made-up
space of 20 choices with 8 options each (10^18 architectures, as many as DARTS' cells have), scored
by random numbers, so that all the time is the method's and the engine's and no population ever
converges (one that has proposes what is known already); the seconds of every tenth of the
evaluations show whether they grow.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import record

from morphogen.core import Architecture, Choice
from morphogen.core.rng import numpy_stream
from morphogen.engine.judge.trials import Trial, run_trial
from morphogen.engine.search.rounds import ask_and_tell
from morphogen.methods import find
from morphogen.runs.store import Evaluation, Store
from morphogen.spaces import SearchSpace

LOOK_UPS = 200
"""Few, since aging evolution soon proposes in NAS-Bench-201 what it has proposed before."""

PARTS = 10
"""Parts of equal size in which the time is taken."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--evaluations", type=int, default=1_000_000)
    options = parser.parse_args()
    began = time.perf_counter()
    figures: dict[str, Any] = {"table": {}, "growth": {}}
    for method in ("random", "aging-evolution"):
        trial = Trial(method, find(method).config(), "nasbench201", "", 0, LOOK_UPS)
        run_trial(replace(trial, budget=1))  # the table is read once
        cpu = time.process_time()
        trace = run_trial(trial)
        seconds = time.process_time() - cpu
        figures["table"][method] = {
            "look_ups": len(trace.rows),
            "seconds": round(seconds, 2),
            "per_second": round(len(trace.rows) / seconds),
        }
        print(method, figures["table"][method], flush=True)
    n = options.evaluations
    cases = {
        "aging-evolution, population 100": ("aging-evolution", {"population": 100}, False),
        "aging-evolution, population 10,000": ("aging-evolution", {"population": 10_000}, False),
        "random, recorded in the store": ("random", {}, True),
    }
    for name, (method, config, recorded) in cases.items():
        figures["growth"][name] = growth(method, config, n, recorded=recorded)
        print(name, figures["growth"][name], flush=True)
    worst = max(f["last_over_first"] for f in figures["growth"].values())
    slowest = min(f["per_second"] for f in figures["growth"].values())
    flat = worst < 2
    record.write(
        "ask-tell-overhead",
        claim=(
            "The overhead of ask and tell, and of the record, stays near linear to a million "
            "evaluations, whatever the population."
        ),
        system="engine",
        command="python benchmarks/ask_tell_overhead.py"
        + (f" --evaluations {n}" if n != 1_000_000 else ""),
        seeds=[0],
        split="NAS-Bench-201's CIFAR-10 validation figures for the look-ups; the growth is "
        "measured with a made-up score in a made-up space",
        figures=figures,
        published={"figure": "none", "source": "a requirement of the house"},
        cost={
            "wall_seconds": round(time.perf_counter() - began),
            "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        },
        headline=f"{n:,} evaluations at {slowest:,} a processor second or more; the last tenth "
        f"took at most {worst:.2f} times the first; table look-ups: "
        + ", ".join(f"{m} {f['per_second']:,} a second" for m, f in figures["table"].items()),
        verdict="shown" if flat else "not shown",
        why=f"linear growth is a ratio of 1 between the last and the first tenth; measured: "
        f"{worst:.2f} at most, in processor time, while other work shared the machine"
        + ("" if flat else ", which is not near linear"),
    )


def growth(method: str, config: dict[str, Any], n: int, *, recorded: bool) -> dict[str, Any]:
    """Seconds of processor time for each part of `n` evaluations."""
    space = SearchSpace("made-up", [Choice(f"c{i}", tuple("abcdefgh")) for i in range(20)])
    info = find(method)
    noise = np.random.default_rng(0)
    marks: list[float] = [time.process_time()]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "evaluations.sqlite") if recorded else None
        count = 0

        def answer(archs: Sequence[Architecture], _: Any) -> np.ndarray:
            nonlocal count
            scores = np.empty(len(archs))
            for i, arch in enumerate(archs):
                scores[i] = noise.normal()
                count += 1
                if store is not None:
                    keep(store, space, count, arch, scores[i])
                if count % (n // PARTS) == 0:
                    marks.append(time.process_time())
            return scores

        ask_and_tell(
            info.build(info.config(**config)), space, numpy_stream(0, "search"), answer, budget=n
        )
        if store is not None:
            store.commit()
    seconds = np.diff(marks)
    return {
        "evaluations": count,
        "seconds_per_part": [round(float(s), 2) for s in seconds],
        "per_second": round(count / float(seconds.sum())),
        "last_over_first": round(float(seconds[-1] / seconds[0]), 3),
    }


def keep(store: Store, space: SearchSpace, number: int, arch: Architecture, score: float) -> None:
    """As the engine does for every architecture."""
    text, values = space.format(arch), {"accuracy": float(score)}
    store.find(number, text)
    store.add(Evaluation(number, text, values, float(score), "", 1, 0.0, 0.0, "local"))


if __name__ == "__main__":
    main()
