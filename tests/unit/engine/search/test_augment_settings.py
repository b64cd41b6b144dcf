"""What `flip` and `crop` do to the pixels that train weights, in searches and trainings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from morphogen import spaces
from morphogen.engine.record.watch import Silent
from morphogen.engine.search.job import task_of
from morphogen.engine.train.training import Training
from morphogen.engine.train.trainjob import TrainJob, training_task
from tiny import SETTINGS, changed, images

COUNT = 1100


def task_of_search(**flags):
    return task_of(images(COUNT), changed(SETTINGS, train_images=512, **flags))


def task_of_training(**flags):
    space = spaces.make("nasbench201")
    training = changed(Training(held_out=0.5, task={"image_size": 8}), **flags)
    arch = space.sample(np.random.default_rng(0))
    return training_task(TrainJob(space, arch, images(COUNT), training, Path(), Silent))


TASKS = pytest.mark.parametrize("task_with", [task_of_search, task_of_training])


def seen(task):
    """The pixels of 512 training images as the network gets them, back on the scale of 0 to 255."""
    x, _, _ = task.stream("train", 512, torch.Generator().manual_seed(0)).next()
    raw = (np.asarray(x) * task.std[0] + task.mean[0]) * 255
    return np.rint(raw).astype(int)[:, 0]


def count(pixels, known):
    """How many of these images are, pixel by pixel, among the known ones."""
    return sum(image.tobytes() in known for image in pixels)


def originals(task):
    pixels = np.asarray(task.train.pixels).astype(int)[:, 0]
    return {p.tobytes() for p in pixels}, {p[:, ::-1].tobytes() for p in pixels}


@TASKS
def test_off_leaves_every_image_as_it_is(task_with):
    task = task_with(flip=False, crop=False)
    assert count(seen(task), originals(task)[0]) == 512


@TASKS
def test_flip_mirrors_about_half_of_them(task_with):
    task = task_with(crop=False)
    plain, mirrored = originals(task)
    pixels = seen(task)
    assert count(pixels, plain) + count(pixels, mirrored) == 512
    assert 200 < count(pixels, mirrored) < 312  # 5 standard deviations about 256


@TASKS
def test_crop_moves_by_one_pixel_of_eight(task_with):
    task = task_with(flip=False)
    whole = count(seen(task), originals(task)[0])
    assert 20 < whole < 100  # a ninth of them is not moved: 57, 6 standard deviations
    padded = {
        np.pad(np.frombuffer(p, dtype=int).reshape(8, 8), 1)[i : i + 8, j : j + 8].tobytes()
        for p in originals(task)[0]
        for i in range(3)
        for j in range(3)
    }
    assert count(seen(task), padded) == 512
