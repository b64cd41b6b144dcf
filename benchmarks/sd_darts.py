"""SD-DARTS, a reconstruction: are its supernets flatter than those of DARTS, on real CIFAR-10?

    python benchmarks/sd_darts.py --data cifar10:PATH   runs what is missing under --runs
    python benchmarks/sd_darts.py --report              results/sd-darts.json, of what is there
    python benchmarks/sd_darts.py --data cifar10:PATH --small   in some minutes, no result file

The claim of the paper's abstract (arXiv 2302.05629): distilling a supernet from its earlier states
lowers its sharpness and narrows the gap to its discretisation, several teachers better than one. In
NAS-Bench-201; DARTS is the same method without the divergence. At the end of each search are
measured, with the supernet in evaluation mode: the dominant eigenvalue of the validation loss's
Hessian in alpha, and the rise of the loss by a step of length 0.05 along its gradient in the
weights, on images of either part. `steps` keeps a state every step, the others one an epoch.
The accuracy of the table is reported beside random search of about the same cost.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import record
import variants

from morphogen import spaces
from morphogen.bilevel.curvature import dominant_eigenvalue, sharpness
from morphogen.bilevel.gates import softmax_gates
from morphogen.bilevel.optimisers import Adam
from morphogen.methods.random import RandomSearchConfig
from morphogen.methods.sd_darts import SDDARTSConfig
from morphogen.runs import checkpoint
from morphogen.supernets import NetworkSpec, evaluating
from morphogen.tasks.classification import ImageTask
from morphogen.tasks.problem import Problem, trainable

EPOCHS, IMAGES = 20, 5000
BASE = SDDARTSConfig(alpha=Adam(lr=3e-3), strength=3.0, sharpness_examples=1024)
CONFIGS = {
    "DARTS": replace(BASE, strength=0.0),
    "three teachers, steps": replace(BASE, gap=1, tau=1.0),
    "one teacher, epochs": replace(BASE, teachers=1),
    "three teachers, epochs": BASE,
    "three teachers, epochs, lambda 1": replace(BASE, strength=1.0),
}
OURS = "three teachers, epochs"
RANDOM = "random search"
VARIANTS = (*CONFIGS, RANDOM)
MEASURED = ("eigenvalue", "held_out_sharpness", "train_sharpness", "held_out_gradient")
DIAGNOSED = ("supernet_accuracy", "discrete_accuracy", "recalibrated_accuracy")


def one(variant: str, seed: int, options: argparse.Namespace) -> variants.Row:
    """One search, and how flat it ends."""
    made = variants.settings(options, seed, train=IMAGES, valid=IMAGES, steps=IMAGES // 64)
    config: Any = RandomSearchConfig()
    if variant == RANDOM:
        made = variants.random_search(made, networks=6, epochs=15, small=options.small)
    else:
        config = CONFIGS[variant]
    path, found = variants.searched(config, made, variant, options)
    row = variants.judged(variant, seed, found)
    if variant == RANDOM:
        return row
    row |= {name: found.history[-1][name] for name in DIAGNOSED}
    task = ImageTask.of(
        options.data,
        train_images=made.split.train_images,
        valid_images=made.split.valid_images,
        size=16,
        seed=seed,
    )
    space = spaces.make(variants.SPACE)
    problem = Problem(space, task, NetworkSpec(channels=8, depth=1), batch_size=64, seed=seed)
    net = problem.supernet()
    state = checkpoint.read(path / "checkpoint.pt")["state"]
    net.load_state_dict(state["net"])
    gates = softmax_gates(space, state["alphas"])
    for part, name in (("valid", "held_out"), ("train", "train")):
        value, norm = sharpness(problem, net, gates, examples=2048, radius=0.05, part=part)
        row |= {f"{name}_sharpness": value, f"{name}_gradient": norm}
    rows = problem.chosen("valid", 1024, "data/eigenvalue")
    batch = task.examples("valid", device=problem.devices.device).batch(rows)
    with evaluating(net):
        loss = problem.bilevel_loss(net, lambda alphas: softmax_gates(space, alphas), batch)
        weights = list(trainable(net).values())
        row["eigenvalue"] = dominant_eigenvalue(loss, weights, state["alphas"])
    row["gap"] = row["supernet_accuracy"] - row["recalibrated_accuracy"]
    return row


def report(rows: list[variants.Row]) -> None:
    """Write results/sd-darts.json."""
    figures = variants.summary(rows, VARIANTS, (*MEASURED, *DIAGNOSED, "gap"))
    ours, plain = figures[OURS], figures["DARTS"]

    def lower(name: str) -> bool:
        return float(ours[name]["mean"]) < float(plain[name]["mean"])

    accuracy = ours["supernet_accuracy"]["mean"] - plain["supernet_accuracy"]["mean"]
    tests = {
        "a lower dominant eigenvalue in alpha": lower("eigenvalue"),
        "lower sharpness in the weights on held-out images": lower("held_out_sharpness"),
        "the supernet within 2 points of DARTS'": accuracy > -2,
    }
    held = sum(tests.values())
    by = {(r["variant"], r["seed"]): r for r in rows}
    both = [s for s in sorted({r["seed"] for r in rows}) if (OURS, s) in by and ("DARTS", s) in by]
    below = sum(by[OURS, s]["eigenvalue"] < by["DARTS", s]["eigenvalue"] for s in both)
    record.write(
        "sd-darts",
        claim=(
            "Distilled from its earlier states, a supernet is flatter than that of DARTS, in alpha "
            "and on held-out images, at about the same accuracy."
        ),
        system="sd-darts (a reconstruction), random",
        command="python benchmarks/sd_darts.py --data cifar10:PATH",
        seeds=sorted({r["seed"] for r in rows}),
        split=f"{IMAGES:,} train and {IMAGES:,} search-validation {variants.SPLIT}",
        figures={"what must hold": tests, **figures},
        published={
            "figure": "none known; the abstract says that sharpness and gap fall, and that several "
            "teachers are better than one",
            "source": "arXiv 2302.05629",
        },
        cost={"cpu_seconds": round(sum(r["cpu_seconds"] for r in rows))},
        headline="; ".join(
            f"{v}: eigenvalue {mine['eigenvalue']['mean']:.3g}, held-out sharpness "
            f"{mine['held_out_sharpness']['mean']:.3g}, table {mine['table']['mean']:.2f} %"
            for v, mine in figures.items()
            if v in CONFIGS
        ),
        verdict="shown" if held == len(tests) else "partly" if held > 1 else "not shown",
        why="; ".join(f"{claim}: {'yes' if ok else 'no'}" for claim, ok in tests.items())
        + f". The eigenvalue is below that of DARTS in {below} of {len(both)} seeds, with "
        f"{variants.mean(figures, 'DARTS', 'supernet_accuracy'):.1f} against "
        f"{variants.mean(figures, OURS, 'supernet_accuracy'):.1f} % of the supernet on held-out "
        "images. The gap to the discretised network and the number of teachers are reported and "
        "decide nothing: alpha is near uniform at this length.",
    )


def main() -> None:
    options = variants.asked(__doc__, "sd-darts", epochs=EPOCHS)
    rows = variants.collect(options, VARIANTS, one)
    if rows and not options.small:
        report(rows)


if __name__ == "__main__":
    main()
