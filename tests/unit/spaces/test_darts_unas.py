"""The factorised pairs of UNAS: structure, notation, and the supernet that multiplies them."""

from __future__ import annotations

import copy
from itertools import product

import numpy as np
import pytest
import torch

from morphogen import cost, spaces
from morphogen.core import ArchitectureError, CapabilityError
from morphogen.spaces.darts_cells import CELLS, EDGES, NODES
from morphogen.spaces.darts_unas import OPERATIONS, PUBLISHED, PairedDARTS
from morphogen.supernets import Gates, NetworkSpec, build, network
from morphogen.supernets.operations import Pool

SPACE = spaces.make("darts-unas")
TINY = NetworkSpec(channels=2, depth=3, classes=3, in_channels=1)


def test_a_cell_has_84_logits_and_nodes_that_do_not_depend_on_one_another() -> None:
    """unas 3.1: with seven operations 84 logits in a cell, 168 in all."""
    masks = SPACE.masks
    assert {group: mask.shape for group, mask in masks.items()} == {
        **{f"{cell}_sources": (8, 5) for cell in CELLS},
        **{f"{cell}_operations": (8, 7) for cell in CELLS},
    }
    assert sum(int(mask.sum()) for mask in masks.values()) == 168
    assert SPACE.size() == (7**8 * (2 * 3 * 4 * 5) ** 2) ** 2


@pytest.mark.parametrize(
    ("name", "spec", "image", "params", "macs"),
    [
        ("UNAS_CIFAR10", NetworkSpec(channels=36, depth=20), (3, 32, 32), 3_330_766, None),
        (
            "UNAS_CIFAR100",
            NetworkSpec(channels=36, depth=20, classes=100),
            (3, 32, 32),
            4_067_200,
            None,
        ),
        (
            "UNAS_IMAGENET",
            NetworkSpec(channels=48, depth=14, classes=1000, stem="imagenet"),
            (3, 224, 224),
            5_478_880,
            595.2,
        ),
    ],
)
def test_published_cells_have_the_sizes_of_the_authors_networks(name, spec, image, params, macs):
    """unas 4.1, without the auxiliary head."""
    arch = SPACE.parse(name)
    assert SPACE.parse(SPACE.format(arch)) == arch
    found = cost.of(SPACE, arch, spec, image)
    assert found.params == params
    assert macs is None or found.macs / 1e6 == pytest.approx(macs, abs=0.05)


def test_pairs_are_read_in_their_order_and_may_coincide() -> None:
    text = "normal: skip_connect~1 skip_connect~1 | " + " | ".join(
        ["sep_conv_3x3~0 max_pool_3x3~1"] * 3
    )
    arch = SPACE.parse(f"{text} ; reduce:{text.removeprefix('normal:')}")
    assert SPACE.kept(arch, "normal", 2) == [("skip_connect", 1), ("skip_connect", 1)]
    assert SPACE.kept(arch, "reduce", 5) == [("sep_conv_3x3", 0), ("max_pool_3x3", 1)]
    genotype = "Genotype(normal=[('sep_conv_7x7', 1), ('skip_connect', 0)] + []"
    with pytest.raises(ArchitectureError):
        SPACE.parse(genotype)
    with pytest.raises(ArchitectureError, match="has 1 pairs; accepted: 2"):
        SPACE.parse(PUBLISHED["UNAS_CIFAR10"].replace("skip_connect~0 |", "|", 1))
    swapped = PUBLISHED["UNAS_CIFAR10"].replace(
        "sep_conv_5x5~0 skip_connect~0", "skip_connect~0 sep_conv_5x5~0"
    )
    assert SPACE.parse(swapped) != SPACE.parse("UNAS_CIFAR10")


def test_twins_are_the_two_pairs_of_each_node() -> None:
    twins = SPACE.twins()
    assert len(twins) == 8
    assert twins[0] == (
        ("normal_2_source1", "normal_2_operation1"),
        ("normal_2_source2", "normal_2_operation2"),
    )
    rng = np.random.default_rng(0)
    for arch in (SPACE.sample(rng) for _ in range(200)):
        equal = sum(
            all(arch[a] == arch[b] for a, b in zip(one, two, strict=True)) for one, two in twins
        )
        pairs = [SPACE.kept(arch, cell, target) for cell in CELLS for target in NODES]
        assert equal == sum(one == two for one, two in pairs)
    assert spaces.make("darts").twins() == ()


def test_each_choice_is_derived_by_itself() -> None:
    rng = np.random.default_rng(1)
    scores = {group: rng.random(mask.shape) for group, mask in SPACE.masks.items()}
    arch = SPACE.derive(scores)
    for group, choices in SPACE.groups.items():
        for row, choice in enumerate(choices):
            best = scores[group][row, : len(choice.options)].argmax()
            assert arch.one(choice.name) == choice.options[best]


# -- the supernet ----------------------------------------------------------------------------------


def soft(space: PairedDARTS, *, examples: int = 0) -> Gates:
    g = torch.Generator().manual_seed(2)
    weights = {}
    for group, mask in space.masks.items():
        shape = (examples, *mask.shape) if examples else mask.shape
        scores = torch.randn(shape, generator=g).masked_fill(~torch.from_numpy(mask), -torch.inf)
        weights[group] = torch.softmax(scores, -1)
    return Gates.dense(space, weights)


def test_gates_of_edges_are_sums_of_products() -> None:
    net, gates = build(SPACE, TINY), soft(SPACE)
    edges = net.edge_gates(gates)
    for cell in CELLS:
        sources, operations = (
            gates.weights[f"{cell}_{part}"] for part in ("sources", "operations")
        )
        for row, (source, target) in enumerate(EDGES):
            first = 2 * (target - 2)
            wanted = sum(sources[i, source] * operations[i] for i in (first, first + 1))
            torch.testing.assert_close(edges.weights[cell][row], wanted)
        assert float(edges.weights[cell].sum()) == pytest.approx(8)  # two inputs of each node


def test_a_path_runs_two_operations_a_node_and_a_repeated_pair_counts_twice() -> None:
    net = build(SPACE, TINY).eval()
    text = "normal: sep_conv_3x3~1 sep_conv_3x3~1 | " + " | ".join(
        ["skip_connect~0 max_pool_3x3~1"] * 3
    )
    arch = SPACE.parse(f"{text} ; reduce:{text.removeprefix('normal:')}")
    edges = net.edge_gates(Gates.of(SPACE, arch))
    column = SPACE.edges.choice("normal_2_1").index("sep_conv_3x3")
    assert edges.weights["normal"][1, column] == 2
    assert edges.live["normal"][:2] == ((), (column,))
    assert sum(map(len, edges.live["normal"])) == 7
    calls = []
    for choice in SPACE.edges.choices:
        for option in choice.options:
            for module in net.edges.options(choice.name, option):
                module.register_forward_hook(lambda *_: calls.append(1))
    net.edges.execution = "plain"
    net(torch.randn(2, 1, 8, 8), Gates.of(SPACE, arch))
    assert len(calls) == 3 * 7


def test_ways_to_run_it_agree_and_pools_have_no_norm() -> None:
    torch.manual_seed(0)
    net, x = build(SPACE, TINY), torch.randn(4, 1, 8, 8)
    assert {m.norm for m in net.modules() if isinstance(m, Pool)} == {None}
    gates, outputs = soft(SPACE), []
    for execution in ("plain", "fused"):
        run = copy.deepcopy(net)
        run.edges.execution = execution
        for train in (True, False):
            outputs.append(run.train(train)(x, gates))
    for one, other in zip(outputs[:2], outputs[2:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    own = soft(SPACE, examples=4)
    each = net.eval()(x, own)
    for i in range(4):
        alone = Gates.dense(SPACE, {g: w[i] for g, w in own.weights.items()})
        torch.testing.assert_close(net(x, alone)[i], each[i], rtol=1e-4, atol=1e-5)


def test_a_path_of_the_supernet_is_the_network() -> None:
    arch = SPACE.parse("UNAS_CIFAR10")
    torch.manual_seed(0)
    net = build(SPACE, TINY)
    alone = network(SPACE, arch, TINY)
    alone.load_state_dict(net.edges.state_dict(), strict=False)
    for cell, mixed in zip(alone.cells, net.edges.cells, strict=True):
        cell.inputs.load_state_dict(mixed.inputs.state_dict(), strict=False)
        kept = [(o, s, t) for t in NODES for o, s in SPACE.kept(arch, mixed.kind, t)]
        for module, (operation, source, target) in zip(cell.operations, kept, strict=True):
            edge = mixed.edges[f"{mixed.kind}_{target}_{source}"][operation]
            module.load_state_dict(edge.state_dict(), strict=False)
    x = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(net(x, Gates.of(SPACE, arch)), alone(x), rtol=1e-4, atol=1e-5)


def test_a_restricted_space_keeps_columns_and_sources() -> None:
    gone = ("skip_connect", "sep_conv_7x7")
    part = SPACE.without(gone).restrict(
        {"normal_3_source1": ["2"], "normal_3_operation2": ["max_pool_3x3"]}
    )
    assert part.operations == tuple(
        o for o in OPERATIONS if o not in ("skip_connect", "sep_conv_7x7")
    )
    net, gates = build(part, TINY), soft(part)
    edges = net.edge_gates(gates).weights["normal"]
    row = EDGES.index((2, 3))
    pool = part.edges.choice("normal_3_2").index("max_pool_3x3")
    first, second = gates.weights["normal_operations"][2:4]
    twice = first[part.choice("normal_3_operation1").index("max_pool_3x3")]
    sources = gates.weights["normal_sources"][3]
    assert edges[row, pool] == pytest.approx(float(twice + sources[2] * second[0]), rel=1e-6)
    assert net(torch.randn(2, 1, 8, 8), gates).shape == (2, 3)


# -- costs of paths --------------------------------------------------------------------------------


def test_costs_of_options_are_refused_and_those_of_paths_are_those_of_networks() -> None:
    with pytest.raises(CapabilityError, match="'darts-unas' an option has no cost of its own"):
        cost.of_options(SPACE, TINY, (1, 8, 8))
    paths = cost.Paths(SPACE, TINY, (1, 8, 8))
    rng = np.random.default_rng(3)
    for arch in (SPACE.sample(rng) for _ in range(4)):
        pairs = [SPACE.kept(arch, cell, target) for cell, target in product(CELLS, NODES)]
        macs = cost.of(SPACE, arch, TINY, (1, 8, 8)).macs
        found = paths(Gates.of(SPACE, arch))
        # A repeated pair is run once in the supernet, and twice as a network.
        assert found.macs <= macs if any(a == b for a, b in pairs) else found.macs == macs
        assert found.nominal > 1000 * found.macs / 1e10
    layers = spaces.make("nasbench201")
    options = cost.of_options(layers, TINY, (1, 8, 8))
    counted = cost.Paths(layers, TINY, (1, 8, 8))
    for arch in (layers.sample(rng) for _ in range(3)):
        gates = Gates.of(layers, arch)
        assert counted(gates).macs == options.rest["macs"] + float(options.expected(gates, "macs"))
