"""Regularisers of DARTS, one by one, beside plain DARTS and random search, on real CIFAR-10.

    python benchmarks/darts_options.py --data cifar10:PATH   runs what is missing under --runs
    python benchmarks/darts_options.py --report              results/darts-options.json
    python benchmarks/darts_options.py --data cifar10:PATH --small   minutes, no result file

In NAS-Bench-201, whose table judges. Searched for long, DARTS fills its cell with skip connections
("Understanding and Robustifying DARTS", arXiv 1909.09656): its architecture of every epoch, its
skips and the dominant eigenvalue of the validation loss's Hessian in alpha are recorded, and what
each regulariser changes of that. `stop by eigenvalue` measures every epoch and ends the search;
the others measure every third and end nothing. Partial channels are halves, since cells have 8;
the adversary climbs 3 steps, which are already three times the time of plain DARTS. Random search
trains as many networks as cost about the same. Several seeds, or variants, can be run in as many
processes (`--seeds 0`, `--variants beta`), each with `--runs` of the same folder.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import record
import variants

from morphogen.bilevel.optimisers import Adam
from morphogen.bilevel.regularisation import Regularisation
from morphogen.methods.darts import DARTSConfig
from morphogen.methods.random import RandomSearchConfig

EPOCHS, STEPS = 30, 100
DARTS = DARTSConfig(alpha=Adam(lr=0.01))
WATCHED = Regularisation(
    stop_by_eigenvalue=True, eigenvalue_every=3, eigenvalue_factor=1e6, eigenvalue_examples=256
)
"""Measures, and ends nothing."""
OPTIONS = {
    "DARTS": WATCHED,
    "partial channels": replace(WATCHED, partial_channels=2),
    "random perturbation": replace(WATCHED, perturb="random"),
    "adversarial perturbation": replace(WATCHED, perturb="adversarial", perturb_steps=3),
    "stop by eigenvalue": Regularisation(
        stop_by_eigenvalue=True, eigenvalue_every=1, eigenvalue_start=3
    ),
    "beta decay": replace(WATCHED, skip_penalty="beta"),
    "auxiliary skip": replace(WATCHED, skip_penalty="auxiliary"),
}
RANDOM = "random search"
VARIANTS = (*OPTIONS, RANDOM)


def one(variant: str, seed: int, options: argparse.Namespace) -> variants.Row:
    """One search and what its result is worth."""
    made = variants.settings(options, seed, train=12500, valid=12500, steps=STEPS)
    config: Any = DARTS
    if variant == RANDOM:
        config = RandomSearchConfig()
        made = variants.random_search(made, networks=8, epochs=12, small=options.small)
    else:
        made = replace(made, regularisation=OPTIONS[variant])
    _, found = variants.searched(config, made, variant, options)
    return variants.judged(variant, seed, found)


def report(rows: list[variants.Row]) -> None:
    """Write results/darts-options.json."""
    figures = variants.summary(rows, VARIANTS)
    table = {v: variants.mean(figures, v, "table") for v in figures}
    skips = {v: variants.mean(figures, v, "skips") for v in figures}
    regularised = [v for v in figures if v not in ("DARTS", RANDOM)]
    curve = figures["DARTS"]["table by epoch"]
    tests = {
        "searched for long, DARTS' cell gets worse than it was": curve[-1] < max(curve),
        "and has skip connections on half of its edges": skips["DARTS"] >= 3,
        **{f"{v}: better than DARTS": table[v] > table["DARTS"] for v in regularised},
        **{f"{v}: no more skips than DARTS": skips[v] <= skips["DARTS"] for v in regularised},
    }
    if RANDOM in table:
        tests |= {f"{v}: better than random search": table[v] > table[RANDOM] for v in regularised}
    held = sum(tests.values())
    record.write(
        "darts-options",
        claim=(
            "DARTS searched for long drifts to skip connections; partial channels, perturbation, "
            "stopping by the eigenvalue and penalties of skips each end with a better cell."
        ),
        system="darts, random; regularisation",
        command="python benchmarks/darts_options.py --data cifar10:PATH",
        seeds=sorted({r["seed"] for r in rows}),
        split=f"12,500 train and 12,500 search-validation {variants.SPLIT}",
        figures={"what must hold": tests, **figures},
        published={
            "figure": "DARTS 54.30 % on CIFAR-10's test images, the cell of six skips, full size",
            "source": "NAS-Bench-201, arXiv 2001.00326",
        },
        cost={"cpu_seconds": round(sum(r["cpu_seconds"] for r in rows))},
        headline="; ".join(f"{v}: {table[v]:.2f} %, {skips[v]:.1f} skips" for v in figures),
        verdict="shown" if held == len(tests) else "partly" if held > 2 else "not shown",
        why="; ".join(f"{claim}: {'yes' if ok else 'no'}" for claim, ok in tests.items())
        + ". A reduced budget: 3,000 steps of alpha at a rate of 0.01.",
    )


def main() -> None:
    options = variants.asked(__doc__, "darts-options", epochs=EPOCHS)
    rows = variants.collect(options, VARIANTS, one)
    if rows and not options.small:
        report(rows)


if __name__ == "__main__":
    main()
