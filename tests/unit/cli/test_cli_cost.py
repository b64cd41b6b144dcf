"""`morphogen cost` as a user sees it."""

from __future__ import annotations

import json

import pytest

from morphogen.cli import main

SKIP = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|none~1|none~2|"


def test_json_has_published_counts_and_measured_times(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["cost", "nasbench201", SKIP, SKIP, "--json", "--latency", "--rounds", "2"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["spec"]["channels"] == 16
    first, second = found["architectures"]
    assert (first["params"], first["flops"]) == (73_306, 2 * 7_783_040)
    assert {**first, "latency_ms": 0} == {**second, "latency_ms": 0}
    assert first["latency_ms"]["rounds"] == 2
    assert first["latency_ms"]["median"] > 0


def test_text_states_its_conventions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "darts", "DARTS_V2", "--image", "1x16x16", "--classes", "7"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "1 MAC and 2 FLOPs" in text
    assert "channels 36, depth 20, 7 classes, for one image of 1x16x16" in text


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["nasbench201"], ["ARCH... missing"]),
        (["nasbench201", "x"], ["'x'", "accepted"]),
        (["nasbench202", "x"], ["nasbench201"]),
        (["nasbench1shot1-s2", "x"], ["accepted"]),
        (["darts", "DARTS_V2", "--image", "32"], ["--image is '32'", "3x32x32"]),
        (["darts", "DARTS_V2", "--image", "3x6x6"], ["multiples of 4", "accepted"]),
        (["darts", "DARTS_V2", "--channels", "3"], ["channels 3", "even"]),
        (["darts", "DARTS_V2", "--depth", "-1"], ["--depth is '-1'", "whole number"]),
        (["darts", "DARTS_V2", "--latency", "--batch", "0"], ["--batch is '0'"]),
        (["darts", "DARTS_V2", "--latncy"], ["--latency"]),
    ],
)
def test_mistakes_are_sentences(
    words: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    for part in parts:
        assert part in err


def test_signals_have_channels_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    cell = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|"
    assert main(["cost", "signal201", cell, "--image", "6x100", "--json"]) == 0
    held = json.loads(capsys.readouterr().out)
    assert held["image"] == [6, 100]
    # By hand: the stem, two convolutions in each of five cells a stage, the residual blocks.
    c, t = 16, 100
    macs = 6 * c * 3 * t
    for stage in range(3):
        wide, long = c * 2**stage, -(-t // 2**stage)
        macs += 5 * 2 * wide * wide * 3 * long
        if stage:
            macs += (
                (wide // 2) * wide * 3 * long + wide * wide * 3 * long + (wide // 2) * wide * long
            )
    assert held["architectures"][0]["macs"] == macs + 64 * 10
    assert main(["cost", "signal201", cell, "--image", "3x32x32"]) == 2
    assert "channels x points of time" in capsys.readouterr().err
