"""The grid of resolutions: which nodes there are, what is connected, what the scores say."""

import numpy as np
import pytest

from morphogen import spaces
from morphogen.core import SpaceError
from morphogen.spaces.short_connections import (
    HEAD,
    MOBILE,
    ShortConnections,
    operation_choice,
    path_choice,
    sources,
)


def test_nodes_and_paths_are_those_of_the_grid():
    space = ShortConnections(layers=4)
    of_layer = [[s for n, s in space.nodes if n == layer] for layer in (1, 2, 3, 4)]
    assert of_layer == [[4, 8], [4, 8, 16], [4, 8, 16, 32], [4, 8, 16, 32]]
    assert sources((1, 4)) == sources((1, 8)) == (4,)
    assert sources((2, 16)) == (8,)  # 16 is not reached by layer 1
    assert sources((4, 16)) == (8, 16, 32)
    assert sources((3, 32)) == (16,)
    assert space.choice("l4s16_from").options == ("8", "16", "32")
    assert path_choice((3, 32)) not in {c.name for c in space.choices}  # one path: no choice
    assert space.choice(HEAD).options == ("4", "8", "16", "32")


def test_the_size_counts_every_set_of_options_but_the_empty():
    """One layer of two nodes: 31 sets of operations for each, 3 of levels for the head."""
    space = ShortConnections(layers=1)
    assert space.size() == 31 * 31 * 3 == len(set(space.restrict({}).enumerate()))


def test_live_nodes_are_those_from_which_the_head_is_reached():
    """Against a search forward from each node, over random architectures."""
    space = ShortConnections(layers=5)
    rng = np.random.default_rng(0)
    for _ in range(50):
        arch = space.sample(rng)
        held = dict(arch.items())

        def leads_on(layer, level, held=held):
            if layer == 5:
                return str(level) in held[HEAD]
            after = [n for n in space.nodes if n[0] == layer + 1 and level in sources(n)]
            return any(
                leads_on(*n) for n in after if str(level) in held.get(path_choice(n), (str(level),))
            )

        assert space.live(arch) == {node for node in space.nodes if leads_on(*node)}
        dead = len(space.nodes) - len(space.live(arch))
        said = space.remarks(arch)
        assert len(said) == (dead > 0)
        assert not said or said[0].startswith(f"{dead} of the 17 nodes")


def test_the_best_option_of_each_choice_is_derived_and_equal_ones_together():
    space = spaces.make("short-connections")
    scores = {g: np.random.default_rng(0).random(m.shape) for g, m in space.masks.items()}
    arch = space.derive(scores)
    for choice, row in space.rows(scores):
        assert arch[choice.name] == (choice.options[int(np.argmax(row))],)
    scores[HEAD][0] = [0.3, 0.1, 0.3, 0.3]
    assert space.derive(scores)[HEAD] == ("4", "16", "32")


def test_the_baseline_keeps_every_path_and_one_operation():
    for name, layers in (("short-connections", 4), ("short-connections-12", 12)):
        space = spaces.make(name)
        arch = space.parse(spaces.info(name).reference)
        assert space.live(arch) == set(space.nodes)
        for node in space.nodes:
            assert arch[operation_choice(node)] == ("sep_conv_3x3",)
            assert space.kept_sources(arch, node) == sources(node)
        assert space.network_sizes() == {"depth": layers}


def test_other_operations_or_no_layer_are_refused():
    assert ShortConnections("mobile", operations=MOBILE).operations == MOBILE
    with pytest.raises(SpaceError, match="has the operations 'none'; accepted: skip_connect"):
        ShortConnections(operations=("none",))
    with pytest.raises(SpaceError, match="has 0 layers"):
        ShortConnections(layers=0)
