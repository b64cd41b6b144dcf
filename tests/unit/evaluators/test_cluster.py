"""A real Ray cluster of two nodes on this machine: workers and a node die, no task is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import jobs
import ports
from morphogen.core import ConfigError
from morphogen.evaluators.executors import make_executor

pytestmark = [
    pytest.mark.slow,  # a cluster takes half a minute to come up, and one core of its own
    # Ray's own: files and sockets that it leaves to the garbage collector, and its announcements.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes of one processor each, and no more than this test needs of memory."""
    import ray
    from ray.cluster_utils import Cluster

    tests = str(Path(jobs.__file__).parent)
    monkeypatch.setenv("PYTHONPATH", tests + os.pathsep + os.environ.get("PYTHONPATH", ""))
    small = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=small)
    made.second = made.add_node(num_cpus=1, object_store_memory=80_000_000)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


def test_workers_and_a_node_die_and_every_task_is_reported_once(cluster, tmp_path):
    executor = make_executor(
        "ray", jobs.make, workers=2, retries=1, timeout=5.0, address=cluster.address
    )
    tasks = [("process", None)] * 6
    try:
        reports = list(executor.map(tasks))
        assert sorted(r.index for r in reports) == list(range(6))
        assert all(r.worker.startswith("ray ") for r in reports)

        tasks = [
            ("die once", str(tmp_path / "mark")),
            ("die", None),
            ("raise", 1),
            ("hang", None),
            ("environment", "OMP_NUM_THREADS"),
        ]
        found = sorted(executor.map(tasks), key=lambda r: r.index)
        assert [r.index for r in found] == list(range(5))
        assert (found[0].value, found[0].attempts) == ("survived", 2)
        assert "the Ray worker is lost" in found[1].error
        assert found[2].error == "ValueError: two lines of 1"
        assert found[3].error == "no result after 5 s"
        assert found[4].value == "1"

        ended = []
        for report in executor.map([("sleep", 0.3)] * 12):
            ended.append(report)
            if len(ended) == 3:
                cluster.remove_node(cluster.second, allow_graceful=False)
        assert sorted(r.index for r in ended) == list(range(12))
        assert not any(r.failed for r in ended)

        with pytest.raises(ConfigError, match=r"^field is 3; accepted: another$"):
            list(executor.map([("mistake", 3)]))
    finally:
        executor.close()


def test_a_cluster_of_its_own_can_be_reached_from_this_machine_alone(monkeypatch):
    tests = str(Path(jobs.__file__).parent)
    monkeypatch.setenv("PYTHONPATH", tests + os.pathsep + os.environ.get("PYTHONPATH", ""))
    before = ports.listening()
    executor = make_executor("ray", jobs.make, workers=1)
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ  # only while Ray starts
    try:
        (report,) = executor.map([("process", None)])
        assert report.worker.startswith("ray ")
        opened = ports.listening() - before
    finally:
        executor.close()
    assert len(opened) >= 3  # the daemon, the store, the worker
    assert [address for address in opened if not address.is_loopback] == []
