"""ShuffleNet's networks against published counts; the supernet against the networks.

Multiply-adds and parameters are those that follow from the authors' code by hand; the totals of
the three networks of 20 equal layers, of the extremes and of the mean, and those of the network
that the authors published (323M, 3.5M), are sums of them.
"""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import tiny
from morphogen import cost, spaces
from morphogen.bilevel.optimisers import SGD, Adam
from morphogen.bilevel.state import BilevelState, weight_step
from morphogen.spaces.layered import Layer
from morphogen.spaces.shufflenet import OPERATIONS
from morphogen.supernets import Gates, NetworkSpec, build, network
from morphogen.supernets.shufflenet import Block, fixed_norm

SPACE, SMALL = spaces.make("shufflenet"), spaces.make("shufflenet-small")
CIFAR = spaces.make("shufflenet-cifar")
IMAGENET = NetworkSpec(channels=16, classes=1000)
PUBLISHED = "21012020202300003233"
TINY = NetworkSpec(channels=4, classes=3, in_channels=1)

STEM, HEAD = 5_419_008, 33_136_640

# Layers, sizes, side of the input: multiply-adds and weights of convolutions of the four options.
TABLE = [
    (1, Layer(16, 64, 2), 112, (13_396_992, 15_805_440, 19_418_112, 13_146_112),
     (2_736, 3_504, 4_656, 4_192)),
    (3, Layer(64, 64, 1), 56, (7_325_696, 8_931_328, 11_339_776, 12_343_296),
     (2_336, 2_848, 3_616, 3_936)),
    (1, Layer(64, 160, 2), 56, (26_304_768, 28_111_104, 30_820_608, 20_296_192),
     (18_192, 20_496, 23_952, 25_888)),
    (3, Layer(160, 160, 1), 28, (10_599_680, 11_603_200, 13_108_480, 16_746_240),
     (13_520, 14_800, 16_720, 21_360)),
    (1, Layer(160, 320, 2), 28, (30_670_080, 31_673_600, 33_178_880, 21_199_360),
     (79_680, 84_800, 92_480, 108_160)),
    (7, Layer(320, 320, 1), 14, (10_317_440, 10_819_200, 11_571_840, 15_899_520),
     (52_640, 55_200, 59_040, 81_120)),
    (1, Layer(320, 640, 2), 14, (30_387_840, 30_889_600, 31_642_240, 20_634_880),
     (312_960, 323_200, 338_560, 421_120)),
    (3, Layer(640, 640, 1), 7, (10_176_320, 10_427_200, 10_803_520, 15_476_160),
     (207_680, 212_800, 220_480, 315_840)),
]  # fmt: skip


def test_every_option_of_every_layer_costs_what_it_should() -> None:
    layers = [size for repeats, size, *_ in TABLE for _ in range(repeats)]
    assert list(SPACE.layers(16)) == layers
    for _, layer, side, macs, weights in TABLE:
        for operation, wanted, parameters in zip(OPERATIONS, macs, weights, strict=True):
            with torch.device("meta"):
                block = Block(operation, layer, fixed_norm).eval()
                x = torch.zeros(2, layer.c_in, side, side)
            found = cost.count(block, (layer.c_in, side, side))
            assert (found.macs, found.params) == (wanted, parameters), (layer, operation)
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                out = block(x)
            assert counter.get_total_flops() == 2 * 2 * wanted
            assert out.shape == (2, layer.c_out, side // layer.stride, side // layer.stride)


def test_totals_of_the_space() -> None:
    layers = [macs for repeats, _, _, macs, _ in TABLE for _ in range(repeats)]
    ends = STEM + HEAD
    assert ends + sum(map(min, layers)) == 270_359_360
    assert ends + sum(map(max, layers)) == 398_609_216
    assert ends + sum(map(sum, layers)) / 4 == 327_174_272
    equal = [ends + sum(macs[i] for macs in layers) for i in range(4)]
    assert equal == [295_842_496, 313_654_976, 340_373_696, 358_825_920]


@pytest.mark.parametrize(
    ("text", "macs"),
    [
        (PUBLISHED, 322_918_720),
        ("00311100202110202132", 318_729_024),
        ("3" * 20, 358_825_920),
    ],
)
def test_multiply_adds_of_networks(text: str, macs: int) -> None:
    arch = SPACE.parse(text)
    assert cost.of(SPACE, arch, image=(3, 224, 224)).macs == macs
    with torch.device("meta"):
        net, x = network(SPACE, arch, IMAGENET).eval(), torch.zeros(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(x)
    assert counter.get_total_flops() == 2 * macs


def test_parameters() -> None:
    assert cost.of(SPACE, SPACE.parse(PUBLISHED), image=(3, 224, 224)).params == 3_558_464
    with torch.device("meta"):
        supernet = build(SPACE, IMAGENET)
    assert sum(p.numel() for p in supernet.parameters()) == 8_388_176


@pytest.mark.parametrize(
    ("digit", "macs"),
    [("0", 157_700_096), ("1", 164_155_392), ("2", 173_838_336), ("3", 205_355_008)],
)
def test_multiply_adds_for_cifar(digit: str, macs: int) -> None:
    assert cost.of(CIFAR, CIFAR.parse(digit * 20)).macs == macs


def test_the_published_size_is_the_spaces_own() -> None:
    assert cost.published(SPACE).channels == cost.published(CIFAR).channels == 16
    assert cost.published(SMALL).channels == 8
    assert [x.c_out for x in SMALL.layers(8)[::2]] == [16, 40, 80, 80, 160]


def test_even_channels_pass_and_odd_ones_are_worked_on() -> None:
    block = Block("shuffle_3x3", Layer(8, 8, 1), fixed_norm)
    seen: list[torch.Tensor] = []
    block.main.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    x = torch.arange(8.0).reshape(1, 8, 1, 1).expand(2, 8, 4, 4)
    out = block(x)
    assert out[0, :4, 0, 0].tolist() == [0, 2, 4, 6]
    assert seen[0][0, :, 0, 0].tolist() == [1, 3, 5, 7]


def test_weights_begin_as_the_authors_begin() -> None:
    torch.manual_seed(0)
    net = network(SPACE, SPACE.parse(PUBLISHED), NetworkSpec())
    assert net.ends.stem[0].weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert net.ends.classifier.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert net.ends.classifier.bias is None
    wide = net.layers[17].main
    assert wide[0].weight.std().item() == pytest.approx(1 / 320, rel=0.02)
    assert wide[3].weight.std().item() == pytest.approx(1.0, rel=0.1)  # depthwise: of one channel
    for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        assert (norm.weight == 1).all()
        assert (norm.bias == torch.tensor(1e-4)).all()
    supernet = build(SMALL, TINY)
    assert {m.affine for m in supernet.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {False}


# -- supernet and networks -------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "text"), [("shufflenet-small", "0123012301"),
                                            ("shufflenet-small", "3210321032"),
                                            ("shufflenet", PUBLISHED)])  # fmt: skip
def test_a_path_of_the_supernet_is_the_network(name: str, text: str) -> None:
    space = spaces.make(name)
    arch = space.parse(text)
    torch.manual_seed(0)
    # In double precision: the deepest layers norm five numbers, which enlarges every rounding.
    net, supernet = network(space, arch, TINY).double(), build(space, TINY).double()
    net.ends.dropout.p = supernet.ends.dropout.p = 0.0
    missing = set(net.ends.load_state_dict(supernet.ends.state_dict(), strict=False).missing_keys)
    for layer, options, choice in zip(net.layers, supernet.layers, space.choices, strict=True):
        chosen = options[arch.one(choice.name)].state_dict()
        missing |= set(layer.load_state_dict(chosen, strict=False).missing_keys)
    assert {m.rpartition(".")[2] for m in missing} == {"weight", "bias"}  # of norms
    for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.zeros_(norm.bias)
    x = torch.randn(5, 1, 32, 32, dtype=torch.float64)
    path = Gates.of(space, arch)
    soft = Gates(path.weights, path.live)  # the same path, and gates of one that are multiplied
    for _ in range(2):
        torch.testing.assert_close(supernet(x, path), net(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(supernet(x, soft), net(x), rtol=1e-5, atol=1e-5)
    net.eval(), supernet.eval()
    torch.testing.assert_close(supernet(x, path), net(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(supernet(x, soft), net(x), rtol=1e-5, atol=1e-5)


def test_soft_gates_are_a_weighted_sum_and_reach_every_option() -> None:
    torch.manual_seed(0)
    space = SMALL.restrict({f"layer_{i}": [OPERATIONS[0]] for i in range(1, 10)})
    supernet = build(space, TINY).eval()
    x = torch.randn(4, 1, 8, 8)
    weights = torch.ones(10, 4)
    weights[9] = torch.tensor([0.1, 0.2, 0.3, 0.4])
    weights.requires_grad_()
    features: list[torch.Tensor] = []
    supernet.ends.head.register_forward_hook(lambda _, inputs, __: features.append(inputs[0]))
    gates = Gates.dense(space, {"layers": weights})
    supernet(x, gates).sum().backward()
    assert (weights.grad != 0)[9].all()
    for i in range(4):
        supernet(x, Gates.of(space, space.parse("000000000" + str(i))))
    by_hand = sum(w * f for w, f in zip((0.1, 0.2, 0.3, 0.4), features[1:], strict=True))
    torch.testing.assert_close(features[0], by_hand)


def test_a_restricted_space_has_only_its_options() -> None:
    part = SMALL.restrict({"layer_2": ["shuffle_7x7"]})
    supernet = build(part, TINY)
    assert list(supernet.layers[1]) == ["shuffle_7x7"]
    arch = part.parse("0200000000")
    assert supernet(torch.randn(2, 1, 8, 8), Gates.of(part, arch)).shape == (2, 3)


def test_steps_on_other_paths_leave_an_option_as_it_is() -> None:
    problem = tiny.problem(SMALL)
    sgd = SGD(lr=0.05, momentum=0.9, weight_decay=0.1)
    state = BilevelState.start(problem, sgd, Adam())
    batch = problem.batch("train")
    taken: set[str] = set()
    for text in [*(str(i % 3) * 10 for i in range(10)), "0" * 9 + "1"]:
        arch = SMALL.parse(text)
        live = {f"layers.{i}.{arch.one(c.name)}." for i, c in enumerate(SMALL.choices)}
        taken |= live
        before = {k: v.clone() for k, v in state.net.state_dict().items()}
        weight_step(state, problem, batch, Gates.of(SMALL, arch), sgd, tiny.CLOCK)
        for name, value in state.net.state_dict().items():
            used = name.startswith("ends.") or any(name.startswith(part) for part in live)
            if not used:
                assert torch.equal(value, before[name]), (text, name)
            elif value.is_floating_point():
                assert not torch.equal(value, before[name]), (text, name)
    assert len(taken) == 30  # Xception's blocks never
