"""Predictions of networks of signals: files, arrays, preparation, refusals."""

import numpy as np
import pytest
import torch

from morphogen.core import DataError
from morphogen.exports.inputs import inputs_of
from morphogen.exports.model import Model
from morphogen.exports.predicting import predict
from morphogen.runs.weights import Signature, Size


def model(channels=2, time=5):
    """The mean of the first channel against that of the last."""
    signature = Signature(
        space={"name": "signal201"},
        architecture="",
        spec=Size(channels=4, depth=1, classes=2, in_channels=channels),
        classes=("low", "high"),
        kind="signals",
        channels=channels,
        size=time,
        mean=(10.0,) * channels,
        std=(2.0,) * channels,
        origin={},
    )
    return Model(lambda x: torch.stack([-x[:, 0].mean(1), x[:, 0].mean(1)], 1), signature, "here")


def test_files_and_arrays_say_the_same(tmp_path):
    x = np.random.default_rng(0).normal(10, 2, (7, 2, 5))
    np.savez(tmp_path / "a.npz", signals=x, other=np.zeros(3))
    np.save(tmp_path / "a.npy", x)
    wanted = ["high" if row[0].mean() > 10 else "low" for row in x]
    for given in (x, list(x), tmp_path / "a.npz", [str(tmp_path / "a.npy")]):
        assert [p.label for p in predict(model(), given)] == wanted
    assert [p.label for p in predict(model(), x[0])] == wanted[:1]


def test_values_are_prepared_by_the_figures_of_the_training():
    x = np.full((1, 2, 5), 14.0)
    assert torch.equal(model().preprocess(x), torch.full((1, 2, 5), 2.0))


def test_one_that_cannot_be_read_does_not_hide_the_others(tmp_path):
    x = np.random.default_rng(0).normal(10, 2, (3, 2, 5))
    x[1, 0, 0] = np.nan
    answers = list(model().answers(x))
    assert isinstance(answers[1], DataError)
    assert "NaN" in str(answers[1])
    assert all(not isinstance(answers[i], DataError) for i in (0, 2))
    with pytest.raises(
        DataError, match=r"a signal is \[2, 4\]; accepted by this network: \[2, 5\]"
    ):
        predict(model(), x[:, :, :4])
    failed = []
    held = model()
    assert not list(inputs_of(held.signature).expanded("no.npz", held.signature, [], failed))
    assert "no.npz" in str(failed[0][1])


def test_an_array_of_one_channel_is_several_signals(tmp_path):
    x = np.random.default_rng(0).normal(10, 2, (3, 5))
    np.save(tmp_path / "a.npy", x)
    assert len(predict(model(channels=1), x)) == 3
    assert len(predict(model(channels=1), tmp_path / "a.npy")) == 3
