"""A run goes on with what it began with: data by their contents, threads, module; or says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import tiny
from morphogen.core import RunError
from morphogen.engine.judge.scorers import supernet_scorer
from morphogen.engine.resume import resume
from morphogen.engine.search.search import search
from morphogen.engine.train.retrain import train
from morphogen.engine.train.training import Training
from morphogen.runs.provenance import on_threads
from morphogen.supernets.own import space_of
from morphogen.tasks.classification import Images, ImageTask


def cut(path: Path, method: str = "darts", **changed: object) -> Path:
    """A search stopped after its first epoch, or its first architecture."""
    with pytest.raises(KeyboardInterrupt):
        search(
            tiny.config(method),
            space=tiny.own(),
            data=tiny.images(),
            settings=tiny.changed(tiny.SETTINGS, **changed),  # type: ignore[arg-type]
            run=path,
            watcher=tiny.Stop(epochs=1),
        )
    return path


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    return cut(tmp_path_factory.mktemp("provenance") / "run", image_size=0)


def pixel(images: Images) -> Images:
    pixels = images.pixels.clone()
    pixels[7, 0, 0, 0] ^= 1  # one bit of one pixel
    return replace(images, pixels=pixels)


def label(images: Images) -> Images:
    labels = images.labels.clone()
    labels[[0, 1]] = labels[[1, 0]]
    return replace(images, labels=labels)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda i: i.take(torch.arange(201) % 200), "200 images then, 201 now"),
        (
            lambda i: replace(i, pixels=i.pixels[..., :7, :7]),
            r"images \[1, 8, 8\] then, \[1, 7, 7\] now",
        ),
        (lambda i: replace(i, classes=tuple("abcde")), "4 classes then, 5 now"),
        (lambda i: replace(i, classes=tuple("abce")), "other names of classes"),
        (label, "other labels"),
        (pixel, "other pixels"),
    ],
)
def test_data_that_changed_are_refused_and_what_changed_is_named(change, said, begun):
    before = {p.name: p.read_bytes() for p in begun.iterdir()}
    data = change(tiny.images())
    with pytest.raises(RunError, match=f"are not those with which .* began: {said}; accepted: "):
        resume(begun, space=tiny.own(), data=data)
    assert {p.name: p.read_bytes() for p in begun.iterdir()} == before


def test_the_same_data_from_elsewhere_are_the_same(begun, tmp_path):
    one, two = (ImageTask.of(tiny.images(), train_images=100).contents() for _ in range(2))
    assert one == two
    other = ImageTask.of(tiny.images(), train_images=100, seed=1).contents()
    assert {k for k in one if one[k] != other[k]} == {"split"}


def test_the_threads_it_began_with_are_taken_again(tmp_path):
    with on_threads(1):
        cut(tmp_path / "run", threads=0)
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["threads"] == 1

    class Counting(tiny.Told):
        def stepped(self, clock):
            self.notices.append(str(torch.get_num_threads()))

    told = Counting()
    with on_threads(2):
        resume(tmp_path / "run", space=tiny.own(), data=tiny.images(), watcher=told)
        assert torch.get_num_threads() == 2  # as they were, afterwards
    assert set(told.notices) == {"1"}


def test_a_module_of_another_structure_is_refused(begun):
    module = tiny.own()
    next(module.parameters()).requires_grad_(False)
    for other in (module, tiny.OwnNetwork(1, tiny.CLASSES, channels=6)):
        with pytest.raises(RunError, match="the module is not the one with which"):
            resume(begun, space=other, data=tiny.images())


@pytest.mark.parametrize(("method", "count"), [("darts", 0), ("random", 1)])
def test_other_weights_are_mentioned_where_they_count(method, count, tmp_path):
    """A checkpoint holds the weights of a supernet; short trainings start from the module's own."""
    run = cut(tmp_path / "run", method)
    told = tiny.Told()
    module = tiny.own()
    torch.nn.init.zeros_(next(module.parameters()))
    resume(run, space=module, data=tiny.images(), watcher=told)
    assert sum("the weights of your module" in sentence for sentence in told.notices) == count


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("versions", "torch", "1.0"),
        ("versions", "morphogen", "0.0"),
        ("numerics", "processor", "x"),
    ],
)
def test_other_software_and_processors_are_mentioned(section, name, value, tmp_path):
    file = cut(tmp_path / "run") / "config.yaml"
    values = yaml.safe_load(file.read_text())
    values[section][name] = value
    file.write_text(yaml.safe_dump(values))
    told = tiny.Told()
    resume(tmp_path / "run", space=tiny.own(), data=tiny.images(), watcher=told)
    (notice,) = told.notices
    assert notice.startswith(f"the run began with {name} {value} and goes on with {name} ")


@pytest.mark.parametrize("name", ["contents", "threads", "numerics"])
def test_a_run_of_an_older_version_is_not_continued(name, tmp_path):
    file = cut(tmp_path / "run") / "config.yaml"
    values = yaml.safe_load(file.read_text())
    del values[name]
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(RunError, match=f"has no {name}: a version of morphogen before this one"):
        resume(tmp_path / "run", space=tiny.own(), data=tiny.images())


def test_a_training_goes_on_with_its_data_only(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(
            space_of(tiny.own()).sample(np.random.default_rng(0)),
            space=tiny.own(),
            data=tiny.images(),
            training=Training(epochs=2, batch_size=16, task={"image_size": 0}),
            run=tmp_path / "run",
            watcher=tiny.Stop(epochs=1),
        )
    with pytest.raises(RunError, match="other pixels; accepted: the data as they were"):
        resume(tmp_path / "run", space=tiny.own(), data=pixel(tiny.images()))
    assert resume(tmp_path / "run", space=tiny.own(), data=tiny.images()).history


def test_a_supernet_is_not_taken_to_know_data_that_changed(tmp_path, monkeypatch):
    """The file has the name of the data that trained it, and other pixels by now."""
    monkeypatch.chdir(tmp_path)

    def save(images: Images) -> None:
        np.savez("d.npz", x=images.pixels[:, 0].numpy(), y=images.labels.numpy())

    save(tiny.images())
    settings = replace(tiny.SETTINGS, epochs=1)
    first = search(tiny.config("darts"), data="d.npz", settings=settings, run="first").run
    again = {"data": "d.npz", "settings": settings, "start": first}
    search(tiny.config("darts"), run="same", **again)
    save(pixel(tiny.images()))
    with pytest.raises(RunError, match="not those that the supernet of first was trained on: oth"):
        search(tiny.config("darts"), run="other", **again)
    assert not Path("other").exists()
    with pytest.raises(RunError, match="not those with which first began: other pixels"):
        supernet_scorer("first")


def test_weights_that_a_run_begins_with_are_those_it_began_with(tmp_path):
    first = cut(tmp_path / "first")
    resume(first, space=tiny.own(), data=tiny.images())
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        search(
            tiny.config("darts"),
            space=tiny.own(),
            data=tiny.images(),
            settings=tiny.SETTINGS,
            run=run,
            start=first,
            watcher=tiny.Stop(epochs=1),
        )
    file = run / "start.safetensors"
    raw = file.read_bytes()
    file.write_bytes(raw[:-4] + b"\0\0\0\0")
    with pytest.raises(RunError, match=r"start\.safetensors has changed since .* began"):
        resume(run, space=tiny.own(), data=tiny.images())
    file.write_bytes(raw[:40])
    with pytest.raises(RunError, match=r"start\.safetensors"):
        resume(run, space=tiny.own(), data=tiny.images())
