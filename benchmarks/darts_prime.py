"""DARTS-PRIME switch by switch, beside DARTS and random search, on real CIFAR-10.

    python benchmarks/darts_prime.py --data cifar10:PATH   runs what is missing under --runs
    python benchmarks/darts_prime.py --report              results/darts-prime.json
    python benchmarks/darts_prime.py --data cifar10:PATH --small   in some minutes, no result file

The claims of the paper (arXiv 2106.11655): networks as accurate as those of DARTS and smaller, with
fewer alpha steps, at times that the trace of the Fisher information chooses. In NAS-Bench-201, the
table of which judges; every variant has as many weight steps. DARTS steps alpha in each iteration,
half of the images being for it; the others have a tenth of them for it, as published. An ablation
takes the schedule (fisher, or every tenth iteration), the pull (proximity, ADMM, none) and the
activation one at a time. Random search trains as many networks as cost about what DARTS does.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import record
import variants

from morphogen.bilevel.optimisers import Adam
from morphogen.methods.darts_prime import DARTSPrimeConfig
from morphogen.methods.random import RandomSearchConfig

EPOCHS, STEPS = 10, 160
PRIME = DARTSPrimeConfig(alpha=Adam(lr=0.01), threshold=100.0)
"""Ten times fewer alpha steps than DARTS, at the rate of DARTS' reduced runs."""
PLAIN = replace(PRIME, schedule="static", period=1, regulariser="none")
CONFIGS = {
    "DARTS": PLAIN,
    "DARTS-PRIME": PRIME,
    "without proximity": replace(PRIME, regulariser="none"),
    "every tenth iteration": replace(PRIME, schedule="static"),
    "every tenth iteration, without proximity": replace(
        PRIME, schedule="static", regulariser="none"
    ),
    "ADMM": replace(PRIME, regulariser="admm", rho=0.001),
    "clipped activation": replace(PRIME, activation="clipped"),
}
OURS = "DARTS-PRIME"
RANDOM = "random search"
VARIANTS = (*CONFIGS, RANDOM)


def one(variant: str, seed: int, options: argparse.Namespace) -> variants.Row:
    """One search and what its result is worth."""
    halves = variant in ("DARTS", RANDOM)
    train, valid = (12500, 12500) if halves else (22727, 2273)
    made = variants.settings(options, seed, train=train, valid=valid, steps=STEPS)
    config: Any = RandomSearchConfig()
    if variant == RANDOM:
        made = variants.random_search(made, networks=5, epochs=12, small=options.small)
    else:
        config = CONFIGS[variant]
    _, found = variants.searched(config, made, variant, options)
    row = variants.judged(variant, seed, found)
    if variant == RANDOM:
        return row
    last = found.history[-1]
    row |= {
        "entropy": last["entropy"],
        "alpha_steps": round(max(h["alpha_steps"] for h in found.history)),
        "gap": last["supernet_accuracy"] - last["recalibrated_accuracy"],
    }
    row["curves"]["alpha_steps"] = [h["alpha_steps"] for h in found.history]
    return row


def report(rows: list[variants.Row]) -> None:
    """Write results/darts-prime.json."""
    figures = variants.summary(rows, VARIANTS, ("entropy", "alpha_steps", "gap"))

    def of(variant: str, name: str) -> float:
        return variants.mean(figures, variant, name)

    static = "every tenth iteration"
    bare = f"{static}, without proximity"
    spread = max(r["table"] for r in rows if r["variant"] == "DARTS")
    spread -= min(r["table"] for r in rows if r["variant"] == "DARTS")
    tests = {
        "as accurate as DARTS, or within the spread of its seeds": of(OURS, "table")
        >= of("DARTS", "table") - spread,
        "smaller networks than DARTS": of(OURS, "macs") < of("DARTS", "macs"),
        "fewer alpha steps than DARTS by five times": 5 * of(OURS, "alpha_steps")
        <= of("DARTS", "alpha_steps"),
        "proximity lowers the entropy of the gates": of(OURS, "entropy")
        < of("without proximity", "entropy"),
        "the Fisher schedule is better than every tenth iteration": of(OURS, "table")
        > of(static, "table"),
        "both switches are better than neither": of(OURS, "table") > of(bare, "table"),
    }
    held = sum(tests.values())
    by = {(r["variant"], r["seed"]): r for r in rows}
    seeds = sorted({r["seed"] for r in rows})

    def below(one: str, other: str, name: str) -> str:
        pairs = [(by[one, s], by[other, s]) for s in seeds if {(one, s), (other, s)} <= by.keys()]
        return f"{sum(a[name] < b[name] for a, b in pairs)} of {len(pairs)} seeds"

    record.write(
        "darts-prime",
        claim=(
            "DARTS-PRIME finds smaller networks than DARTS at equal accuracy, with fewer and "
            "better-timed alpha steps."
        ),
        system="darts-prime, random",
        command="python benchmarks/darts_prime.py --data cifar10:PATH",
        seeds=seeds,
        split="12,500 train and 12,500 search-validation (DARTS), or 22,727 and 2,273, "
        + variants.SPLIT,
        figures={"what must hold": tests, **figures},
        published={
            "figure": "CIFAR-10, DARTS space, full size: 2.62 % error with 3.7 M parameters; DARTS "
            "(second order) 2.76 % with 3.3 M",
            "source": "arXiv 2106.11655",
        },
        cost={"cpu_seconds": round(sum(r["cpu_seconds"] for r in rows))},
        headline="; ".join(
            f"{v}: table {of(v, 'table'):.2f} %, {of(v, 'macs') / 1e6:.0f} M multiply-adds"
            + (f", {of(v, 'alpha_steps'):.0f} alpha steps" if v in CONFIGS else "")
            for v in figures
        ),
        verdict="shown" if held == len(tests) else "partly" if held > 2 else "not shown",
        why="; ".join(f"{claim}: {'yes' if ok else 'no'}" for claim, ok in tests.items())
        + f". Smaller than DARTS' in {below(OURS, 'DARTS', 'macs')}; less accurate than without the"
        f" Fisher schedule in {below(OURS, static, 'table')}, than without either switch in "
        f"{below(OURS, bare, 'table')}. A reduced budget, after which the gates are near uniform; "
        f"DARTS' seeds lie {spread:.1f} points apart.",
    )


def main() -> None:
    options = variants.asked(__doc__, "darts-prime", epochs=EPOCHS)
    rows = variants.collect(options, VARIANTS, one)
    if rows and not options.small:
        report(rows)


if __name__ == "__main__":
    main()
