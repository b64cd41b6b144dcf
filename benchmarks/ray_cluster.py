"""The same search in one process and on a Ray cluster of which a node is killed midway.

    python benchmarks/ray_cluster.py

Two nodes on this machine, each a raylet of its own; real short trainings on embedded
Fashion-MNIST. The node that is killed takes its workers along in the middle of their trainings.
"""

from __future__ import annotations

import sqlite3
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import ray
import record
from ray.cluster_utils import Cluster

from morphogen.core.config import altered
from morphogen.engine.record.watch import Silent
from morphogen.engine.search.search import search
from morphogen.engine.search.settings import Settings

SETTINGS = Settings(
    evaluation={"budget": 16, "epochs": 3},
    workers={"round_size": 8},
    split={"train_images": 640, "valid_images": 640},
    task={"image_size": 8},
    network={"channels": 4},
    hardware={"threads": 1},
)
MEMORY = 100_000_000
"""Bytes of each node's object store."""


class Saboteur(Silent):
    """Kills the second node half a second after both nodes have given results.

    So late, since then both workers are in the middle of their next trainings.
    """

    def __init__(self, cluster: Cluster, node: Any, run: Path) -> None:
        self.run, self.killed_at = run, 0
        self.timer = threading.Timer(0.5, lambda: cluster.remove_node(node, allow_graceful=False))

    def __call__(self) -> Saboteur:
        """The engine asks for its watcher so."""
        return self

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An evaluation is on record."""
        print(row["epoch"], row["candidate"], row.get("score"), flush=True)
        workers = {record[4] for record in read(self.run).values()}
        if not self.killed_at and len(workers) == 2:
            self.killed_at = row["epoch"]
            self.timer.start()


def main() -> None:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        alone = search("random", settings=SETTINGS, run=Path(folder) / "alone")
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 1,
                "object_store_memory": MEMORY,
                "include_dashboard": False,
            },
        )
        node = cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
        cluster.wait_for_nodes()
        saboteur = Saboteur(cluster, node, Path(folder) / "ray")
        settings = altered(
            SETTINGS,
            {
                "workers.executor": "ray",
                "workers.count": 2,
                "workers.ray_address": cluster.address,
            },
        )
        together = search("random", settings=settings, run=Path(folder) / "ray", watcher=saboteur)
        ray.shutdown()
        cluster.shutdown()
        one, two = read(alone.run), read(together.run)
    same = {n: row[:3] for n, row in one.items()} == {n: row[:3] for n, row in two.items()}
    workers = {row[4] for row in two.values()}
    again = sum(row[3] > 1 for row in two.values())
    figures = {
        "evaluations_in_process": len(one),
        "evaluations_on_the_cluster": len(two),
        "different_architectures": len({row[0] for row in two.values()}),
        "equal_architectures_and_scores": same,
        "node_killed_after_evaluations": saboteur.killed_at,
        "workers_that_answered": len(workers),
        "evaluations_that_took_a_second_attempt": again,
    }
    print(figures)
    good = same and len(two) == SETTINGS.evaluation.budget and saboteur.killed_at > 0
    record.write(
        "ray-cluster",
        claim=(
            "A search on a Ray cluster of two nodes, one of them killed midway, records the same "
            "architectures with the same scores as in one process: none lost, none counted twice."
        ),
        system="engine",
        command="python benchmarks/ray_cluster.py",
        seeds=[0],
        split="search-validation part of embedded Fashion-MNIST; test data were not opened",
        figures=figures,
        published={"figure": "none", "source": "a requirement of the house"},
        cost={"wall_seconds": round(time.perf_counter() - began)},
        headline=f"{len(two)} of {SETTINGS.evaluation.budget} recorded, each once, "
        f"{'all' if same else 'not all'} equal to the search in one process; {again} needed a "
        "second attempt",
        verdict="shown" if good else "not shown",
        why="architectures, order and scores were "
        + ("equal to the last bit" if same else "NOT all equal")
        + "; both nodes are on one machine, so the network between machines was not tested",
    )


def read(run: Path) -> dict[int, tuple[Any, ...]]:
    """Number -> architecture, status, score, attempts, worker."""
    with closing(sqlite3.connect(run / "evaluations.sqlite")) as database:
        rows = database.execute(
            "SELECT number, architecture, status, score, attempts, worker FROM evaluations"
        )
        return {number: tuple(rest) for number, *rest in rows}


if __name__ == "__main__":
    main()
