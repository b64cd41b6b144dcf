"""AnyNet: sizes of residual networks as a space."""

import numpy as np
import pytest

from morphogen import spaces
from morphogen.spaces.anynet import DEPTHS, RESNET, RESNET_9, WIDTHS, width

SPACE = spaces.make("anynet")


def test_depth_and_width_of_each_stage_are_free():
    assert SPACE.size() == 4 * 2 * (len(DEPTHS) * len(WIDTHS)) ** 3 * 3 * 2
    assert [choice.name for choice in SPACE.choices] == [
        "stem", "downsample", "depth_1", "width_1", "depth_2", "width_2", "depth_3", "width_3",
        "block", "squeeze",
    ]  # fmt: skip


def test_the_reference_is_resnet_9():
    found = spaces.reference_of(SPACE)
    assert found is not None
    assert (found.name, SPACE.format(found.architecture)) == ("ResNet-9", RESNET_9)


@pytest.mark.parametrize(
    ("chosen", "channels", "wanted"),
    [
        (("1", "1", "1"), 16, [16, 32, 64]),
        (("1/2", "3/4", "3/2"), 16, [8, 24, 96]),
        (("2", "1/2", "3/4"), 8, [16, 8, 24]),
        (("1/2", "1/2", "1/2"), 1, [2, 2, 2]),
    ],
)
def test_widths_are_even_multiples(chosen, channels, wanted):
    text = RESNET
    for stage, option in enumerate(chosen, start=1):
        text = text.replace(f"width_{stage}=1;", f"width_{stage}={option};")
    arch = SPACE.parse(text)
    assert [width(arch, stage, channels) for stage in (1, 2, 3)] == wanted


def test_a_part_of_it_is_drawn_from():
    part = SPACE.restrict({"stem": ["patches_2x2"], "block": ["basic", "inverted"]})
    rng = np.random.default_rng(0)
    drawn = [part.sample(rng) for _ in range(20)]
    assert {arch.one("stem") for arch in drawn} == {"patches_2x2"}
    assert {arch.one("block") for arch in drawn} == {"basic", "inverted"}
