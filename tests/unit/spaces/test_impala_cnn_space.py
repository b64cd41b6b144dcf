"""The IMPALA-CNN as a space of depths."""

import pytest

from morphogen import spaces
from morphogen.core import SpaceError
from morphogen.spaces.impala_cnn import ImpalaCNN


def test_what_is_chosen_is_the_number_of_blocks():
    space = spaces.make("impala-cnn")
    assert [space.format(arch) for arch in space.enumerate()] == [
        "blocks=1",
        "blocks=2",
        "blocks=3",
    ]
    assert space.size() == 3
    assert space.network_sizes() == {"depth": 3}
    assert spaces.make("impala-cnn-minatar").network_sizes() == {"depth": 2}
    (two,) = (a for a in space.enumerate() if space.format(a) == "blocks=2")
    assert {space.format(a) for a in space.neighbours(two)} == {"blocks=1", "blocks=3"}


def test_another_size_is_another_space_and_is_read_back():
    deep = ImpalaCNN("deep", stages=[1] * 5, most=4)
    assert deep != ImpalaCNN("deep", stages=[1] * 4, most=4)
    again = spaces.read(deep.to_mapping())
    assert again == deep
    assert (again.stages, again.most, again.side) == ((1, 1, 1, 1, 1), 4, 64)
    assert again.restrict({"blocks": ["2", "4"]}).size() == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stages": ()}, "stages is 0; accepted: 1 to 16"),
        ({"stages": (1, 65)}, "an entry of stages is 65; accepted: 1 to 64"),
        ({"most": 0}, "most is 0; accepted: 1 to 16"),
        ({"side": 0}, "side is 0; accepted: 1 to 1024"),
    ],
)
def test_what_it_cannot_be_is_refused(options, said):
    with pytest.raises(SpaceError, match=said):
        ImpalaCNN(**options)
