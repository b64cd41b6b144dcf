"""Kinds of data: which there are, which is the default, and inputs of a kind that is not ours."""

import numpy as np
import pytest
import torch

from morphogen.core import ConfigError, DataError
from morphogen.core.config import config
from morphogen.core.ranges import Range
from morphogen.exports.model import Model
from morphogen.runs.weights import Signature, Size
from morphogen.tasks import configs
from morphogen.tasks.configs import TaskConfig, default_kind, task_config, task_configs
from morphogen.tasks.kinds import USUAL_DATA, config_for
from morphogen.tasks.signals.inputs import SignalInputs


class VolumeInputs(SignalInputs):
    """Cubes [channels, depth, height, width], as numbers."""

    one, axes, array, sizes, unit = "volume", 4, "[n, channels, d, h, w]", Range(1, 8), "voxels"

    def prepared(self, item, signature):
        return torch.as_tensor(item, dtype=torch.float32)[None] / signature.std[0]


@pytest.fixture
def volumes(monkeypatch):
    """A signature of a network of volumes, a kind that is registered for one test."""
    monkeypatch.setattr(configs, "_CONFIGS", dict(task_configs()))

    @task_config("volumes")
    @config
    class VolumeConfig(TaskConfig):
        """Volumes."""

        @classmethod
        def inputs(cls):
            return VolumeInputs()

    def signature(kind="volumes", size=3):
        return Signature(
            space={"name": "volumes"},
            architecture="",
            spec=Size(channels=4, depth=1, classes=2, in_channels=1),
            classes=("low", "high"),
            kind=kind,
            size=size,
            mean=(0.0,),
            std=(2.0,),
            origin={},
        )

    return signature


def test_the_default_takes_what_no_kind_takes_and_comes_first():
    assert next(iter(task_configs().values())) is default_kind() is config_for("no such data")
    assert default_kind().usual_data == USUAL_DATA == "fashion-mnist"


def test_a_kind_of_another_package_is_predicted_by_its_own_inputs(volumes):
    held = volumes()
    assert held.input_shape == (1, 3, 3, 3)
    assert held.example_input(2).shape == (2, 1, 3, 3, 3)
    net = Model(lambda x: torch.stack([1 - x[:, 0, 0, 0, 0], x[:, 0, 0, 0, 0]], 1), held, "here")
    x = np.stack([np.zeros((1, 3, 3, 3)), np.full((1, 3, 3, 3), 4.0)])
    assert [p.label for p in net.predict(x)] == ["low", "high"]
    assert net.preprocess(x).max() == 2  # divided by the deviation
    with pytest.raises(DataError, match=r"accepted: a list of volumes, such as \[volume\]"):
        net.predict(x[0])


def test_a_description_of_an_unknown_kind_or_of_another_size_is_refused(volumes):
    with pytest.raises(ConfigError, match="size is 9; accepted: voxels, at most 8"):
        volumes(size=9)
    text = volumes().to_json().replace('"kind": "volumes"', '"kind": "smells"')
    with pytest.raises(
        DataError,
        match=r"'smells'.*known: images, policies, segmentation, sequences, signals, volumes",
    ):
        Signature.from_json(text, "a file")
