"""The Transformer as a fair baseline: BLEU on Multi30k, phoneme error rate on CMUdict.

    python benchmarks/transformer.py multi30k --data PATH      runs what is missing
    python benchmarks/transformer.py multi30k --report         results/transformer-multi30k.json
    python benchmarks/sequence_sets.py DIRECTORY               makes the pairs of the next
    python benchmarks/transformer.py cmudict --data DIRECTORY/cmudict
    python benchmarks/transformer.py cmudict --report          results/transformer-cmudict.json
    ... --small                                                that it works, in some minutes

multi30k: German to English, PATH a folder with train, val and test.parquet of columns `de` and
`en`, 29,000, 1,014 and 1,000 pairs (2016, Flickr): the direction and the size (3 + 3 layers,
width 256, 8 heads) of which about 30 BLEU are known. cmudict: letters to phonemes without stress,
of words that no other part has. The epoch is chosen by the token accuracy on the validation pairs,
the test pairs are opened once. Computed in bfloat16 where convolutions and matrix products are
(`bf16-mixed`), in one thread. Runs can be cut off at any time; the same command goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import record

import morphogen
from morphogen import Training
from morphogen.runs.directory import RunDirectory

SPACE = "transformer"


@dataclass(frozen=True)
class Experiment:
    """A set of data, and the protocol."""

    task: Mapping[str, Any]
    architecture: str
    channels: int
    depth: int
    dropout: float
    epochs: int
    batch: int
    """Pairs of mean length; their tokens are what a batch has at most."""
    figure: str
    """By which the baseline is judged."""
    least: float | None
    most: float | None
    """Between which it is fair."""
    split: str
    published: Mapping[str, str]


EXPERIMENTS = {
    "multi30k": Experiment(
        task={"name": "sequences", "source": "de", "target": "en", "vocabulary": 4000},
        architecture="norm=pre;heads=8;feed_forward=2x;activation=relu",
        channels=256,
        depth=3,
        dropout=0.2,
        epochs=20,
        batch=96,
        figure="BLEU",
        least=30.0,
        most=None,
        split="29,000 training pairs; 1,014 choose the epoch; measured once on the 1,000 of 2016",
        published={
            "figure": "30.8 BLEU (tokenised, one run, 50 epochs) of a Transformer of this size, "
            "German to English, on 1,000 held-out pairs",
            "source": "reported in public for one run, in no paper",
        },
    ),
    "cmudict": Experiment(
        task={
            "name": "sequences",
            "source": "word",
            "target": "phonemes",
            "source_tokens": "characters",
            "target_tokens": "words",
        },
        architecture="norm=pre;heads=4;feed_forward=4x;activation=relu",
        channels=128,
        depth=3,
        dropout=0.1,
        epochs=15,
        batch=256,
        figure="token error rate",
        least=None,
        most=8.0,
        split="120,254 training pairs; 6,686 choose the epoch; measured once on 6,312 other words",
        published={
            "figure": "5.2 % phoneme error rate of a Transformer of 4 + 4 layers, on another split "
            "(recalled)",
            "source": "Yolchuyeva et al., Interspeech 2019, arXiv 2004.06338",
        },
    ),
}


def one(seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """A training, or what is left of it."""
    e = EXPERIMENTS[options.experiment]
    path = options.runs / f"{options.experiment}-seed{seed}"
    if (path / "config.yaml").exists():
        found = morphogen.resume(path)
    else:
        training = Training(
            epochs=options.epochs or (1 if options.small else e.epochs),
            batch_size=e.batch,
            seed=seed,
            optimiser="adam",
            lr=1e-3,
            warm_up=1000,
            weight_decay=0.0,
            clip=1.0,
            task=e.task,
            network={
                "channels": 32 if options.small else e.channels,
                "depth": 1 if options.small else e.depth,
                "dropout": e.dropout,
            },
            hardware={"threads": 1, "precision": "bf16-mixed"},
        )
        found = morphogen.train(
            e.architecture, space=SPACE, data=str(options.data), training=training, run=path
        )
    written = RunDirectory(path).result() or {}
    return {
        "variant": SPACE,
        "seed": seed,
        "epochs": len(found.history),
        "token_accuracy": found.test["mean"],
        **{one["name"]: one["reached"]["mean"] for one in written["figures"]},
        "how": [one["how"] for one in written["figures"]],
        "held_out": [row["held_out_token_accuracy"] for row in found.history],
        "params": found.cost["params"],
        "macs": found.cost["macs"],
        "cpu_seconds": found.cost["cpu_seconds"],
        "seconds": found.cost["seconds"],
    }


def report(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> None:
    """Write the result."""
    e = EXPERIMENTS[options.experiment]
    names = [n for n, v in rows[0].items() if isinstance(v, int | float) and n != "seed"]
    figures: dict[str, Any] = {n: record.interval([float(r[n]) for r in rows]) for n in names}
    mean = figures[e.figure]["mean"]
    fair = (e.least is None or mean >= e.least) and (e.most is None or mean <= e.most)
    record.write(
        f"transformer-{options.experiment}",
        claim=(
            "The Transformer with which networks of sequences are compared is a fair one: it "
            f"reaches {f'{e.least:g} or more' if e.least else f'{e.most:g} or less'} "
            f"({e.figure})."
        ),
        system="transformer, sequences",
        command=f"python benchmarks/transformer.py {options.experiment} --data PATH",
        seeds=sorted(r["seed"] for r in rows),
        split=e.split,
        figures={**figures, "how": rows[0]["how"], "held-out, first seed": rows[0]["held_out"]},
        published=dict(e.published),
        cost={"cpu_seconds": round(sum(r["cpu_seconds"] for r in rows))},
        headline=f"{e.figure} {mean:.2f}, {len(rows)} seeds, "
        f"{figures['cpu_seconds']['mean'] / 60:.0f} CPU minutes each",
        verdict="shown" if fair else "not shown",
        why=f"{e.figure} {mean:.2f}; {rows[0]['how'][0]}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--data", type=Path, help="a folder of parquet files")
    parser.add_argument("--runs", type=Path, default=Path("runs/transformer"))
    parser.add_argument("--epochs", type=int, default=0, help="instead of the protocol's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--small", action="store_true", help="that it works, in some minutes")
    parser.add_argument("--report", action="store_true", help="of what is there; runs nothing")
    options = parser.parse_args()
    kept = options.runs / f"{options.experiment}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    if not options.report:
        if options.data is None:
            parser.error("--data is missing")
        for seed in options.seeds:
            if seed in {r["seed"] for r in record.rows(kept)}:
                continue
            row = one(seed, options)
            record.keep(kept, row)
            print(f"seed {seed}: {json.dumps({k: row[k] for k in ('token_accuracy', 'seconds')})}")
    rows = record.rows(kept)
    if options.small:
        print(json.dumps(rows, indent=1))
    elif rows:
        report(rows, options)


if __name__ == "__main__":
    main()
