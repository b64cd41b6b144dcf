"""NAS-Bench-201: composition, published sizes, and the fused form against the plain one."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from morphogen.core import Architecture, UnknownNameError
from morphogen.spaces.nasbench201 import EDGES, NASBench201, edge_name
from morphogen.supernets import Gates, NetworkSpec, build, frozen_statistics, network
from morphogen.supernets.nasbench201 import MixedCell, NASBench201Supernet

SPACE = NASBench201()
SMALL = NetworkSpec(channels=8, depth=1)
OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def uniform(op):
    return Architecture({edge_name(*e): op for e in EDGES})


def batch(size=12, side=12, dtype=torch.float32, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 3, side, side, generator=g, dtype=dtype)
    return x, torch.randint(10, (size,), generator=g)


def pair(space=SPACE, spec=SMALL, dtype=torch.float32, training=True, seed=0):
    """The same supernet twice, fused and plain, with running statistics unlike the start's."""
    torch.manual_seed(seed)
    fused = build(space, spec).to(dtype).train(training)
    with torch.no_grad():
        for name, buffer in fused.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    plain = copy.deepcopy(fused)
    plain.execution = "plain"
    return fused, plain


def soft(space=SPACE, dtype=torch.float32, seed=1, live=None):
    shape = space.masks["cell"].shape
    g = torch.Generator().manual_seed(seed)
    weights = torch.rand(shape, generator=g, dtype=dtype).requires_grad_()
    gates = Gates.dense(space, {"cell": weights})
    return weights, gates if live is None else Gates({"cell": weights}, {"cell": live})


def close(found, wanted, tolerance):
    """Equal to `tolerance` of the largest entry of the whole list (None equals only None)."""
    assert [t is None for t in found] == [t is None for t in wanted]
    pairs = [(a.detach(), b.detach()) for a, b in zip(found, wanted, strict=True) if b is not None]
    scale = max(float(b.abs().max()) for _, b in pairs)
    for a, b in pairs:
        assert a.shape == b.shape
        assert float((a - b).abs().max()) <= tolerance * scale


def outcome(net, weights, gates, dtype):
    """Output, gradients, Hessian-vector product and buffers after one pass."""
    x, y = batch(dtype=dtype, seed=2)  # no input of a ReLU is within rounding of 0
    out = net(x, gates)
    inputs = [weights, *net.parameters()]
    loss = F.cross_entropy(out, y)
    plain = torch.autograd.grad(loss, inputs, allow_unused=True, retain_graph=True)
    grads = torch.autograd.grad(loss, inputs, allow_unused=True, create_graph=True)
    g = torch.Generator().manual_seed(5)
    product = sum(
        (t * torch.randn(t.shape, generator=g, dtype=dtype)).sum() for t in grads if t is not None
    )
    hvp = torch.autograd.grad(product, inputs, allow_unused=True)
    hvp = [torch.zeros_like(p) if h is None else h for p, h in zip(inputs, hvp, strict=True)]
    return [out], list(plain), list(grads), hvp, [b.to(dtype) for b in net.buffers()]


MASKED = ((1, 3), (0, 2), (4,), (0,), (2, 3, 4), (0, 1, 2, 3, 4))
RESTRICTED = SPACE.restrict(
    {
        "edge_0_1": ["nor_conv_3x3", "skip_connect"],
        "edge_1_2": ["avg_pool_3x3"],
        "edge_0_3": ["none", "nor_conv_1x1", "avg_pool_3x3"],
    }
)


@pytest.mark.parametrize(
    ("space", "live"),
    [(SPACE, None), (SPACE, MASKED), (RESTRICTED, None)],
    ids=["soft", "masked", "restricted"],
)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
def test_fused_equals_plain(space, live, training, dtype):
    fused, plain = pair(space, dtype=dtype, training=training)
    found = outcome(fused, *soft(space, dtype, live=live), dtype)
    wanted = outcome(plain, *soft(space, dtype, live=live), dtype)
    for a, b in zip(found, wanted, strict=True):
        close(a, b, 1e-5 if dtype == torch.float32 else 1e-12)


def test_fused_equals_plain_at_depth_5_and_width_16():
    fused, plain = pair(spec=NetworkSpec(), dtype=torch.float32)
    x, _ = batch(4, 16)
    with torch.no_grad():
        _, gates = soft()
        close([fused(x, gates)], [plain(x, gates)], 1e-5)
        close(list(fused.buffers()), list(plain.buffers()), 1e-5)


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_a_path_is_the_stand_alone_network_with_its_weights(index, training):
    rng = np.random.default_rng(index)
    arch = SPACE.sample(rng) if index else uniform("none")
    fused, plain = pair(training=training)
    alone = network(SPACE, arch, SMALL).train(training)
    weights = fused.state_dict()
    own, shared = {}, {}
    for name, value in alone.state_dict().items():
        parts = name.split(".")
        if ".operations." in name:  # cells.0.operations.EDGE.conv.weight
            parts[2:4] = ["edges", parts[3], arch.one(parts[3])]
        shared[name] = ".".join(parts)
        found = weights.get(shared[name])
        if found is None:  # the norms of a stand-alone cell are affine and start as 1 and 0
            assert name.endswith(("norm.weight", "norm.bias"))
            found = value
        own[name] = found.clone()
    alone.load_state_dict(own)
    x, y = batch(seed=2)  # no input of a ReLU within rounding of 0, where gradients jump
    gates = Gates.of(SPACE, arch)
    out = alone(x)
    close([fused(x, gates)], [out], 1e-5)
    close([plain(x, gates)], [out], 1e-5)

    def gradients(net, out):
        found = torch.autograd.grad(
            F.cross_entropy(out, y), list(net.parameters()), allow_unused=True
        )
        return dict(zip(dict(net.named_parameters()), found, strict=True))

    expected = gradients(alone, alone(x))
    for net in (fused, plain):
        found = gradients(net, net(x, gates))
        for name, g in found.items():
            parts = name.split(".")
            if "edges" in parts and arch.one(parts[3]) != parts[4]:
                assert g is None, name
        pairs = [(found[name], expected[of]) for of, name in shared.items() if name in found]
        assert len(pairs) > 10
        close(*zip(*pairs, strict=True), 1e-5)


def straight_from_the_card(net, x, weights, training):
    """The supernet in functional operations, from its state dict; written from the card alone."""
    p = {**dict(net.named_parameters()), **dict(net.named_buffers())}

    def norm(x, name):
        mean, var = p[f"{name}.running_mean"], p[f"{name}.running_var"]
        if training:
            var, mean = torch.var_mean(x, (0, 2, 3), unbiased=False)
        y = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
        if f"{name}.weight" in p:
            y = y * p[f"{name}.weight"][:, None, None] + p[f"{name}.bias"][:, None, None]
        return y

    def cell(x, name):
        nodes = [x]
        for target in (1, 2, 3):
            total = 0
            for source in range(target):
                edge = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)].index((source, target))
                h, key = nodes[source], f"{name}.edges.edge_{source}_{target}"
                total = total + weights[edge, 0] * 0 * h + weights[edge, 1] * h
                for i, op, pad in ((2, "nor_conv_1x1", 0), (3, "nor_conv_3x3", 1)):
                    conv = F.conv2d(F.relu(h), p[f"{key}.{op}.conv.weight"], padding=pad)
                    total = total + weights[edge, i] * norm(conv, f"{key}.{op}.norm")
                ones = F.avg_pool2d(torch.ones_like(h), 3, 1, 1)
                total = total + weights[edge, 4] * F.avg_pool2d(h, 3, 1, 1) / ones
            nodes.append(total)
        return nodes[3]

    def residual(x, name):
        y = F.conv2d(F.relu(x), p[f"{name}.conv_a.weight"], stride=2, padding=1)
        y = F.conv2d(F.relu(norm(y, f"{name}.norm_a")), p[f"{name}.conv_b.weight"], padding=1)
        short = F.conv2d(F.avg_pool2d(x, 2, 2), p[f"{name}.shortcut.weight"])
        return norm(y, f"{name}.norm_b") + short

    x = norm(F.conv2d(x, p["stem.0.weight"], padding=1), "stem.1")
    for i, form in enumerate([cell, residual, cell, residual, cell]):
        x = form(x, f"cells.{i}")
    x = F.relu(norm(x, "norm")).mean((2, 3))
    return x @ p["classifier.weight"].t() + p["classifier.bias"]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_plain_equals_an_implementation_straight_from_the_card(training):
    _, plain = pair(dtype=torch.float64, training=training)
    weights, gates = soft(dtype=torch.float64)
    x, y = batch(dtype=torch.float64)
    inputs = [weights, *plain.parameters()]
    wanted = straight_from_the_card(plain, x, weights, training)
    by_card = torch.autograd.grad(F.cross_entropy(wanted, y), inputs)
    found = plain(x, gates)
    close([found], [wanted], 1e-12)
    close(torch.autograd.grad(F.cross_entropy(found, y), inputs), by_card, 1e-12)


def test_running_statistics_follow_the_card():
    """Momentum 0.1, unbiased variance, one count per pass; frozen when asked."""
    fused, _ = pair()
    norm = fused.cells[0].edges["edge_0_1"]["nor_conv_1x1"].norm
    before = copy.deepcopy(norm.state_dict())
    x, _ = batch()
    _, gates = soft()
    with frozen_statistics(fused):
        fused(x, gates)
    assert all(torch.equal(before[k], v) for k, v in norm.state_dict().items())
    fused(x, gates)
    h = F.conv2d(
        F.relu(fused.stem(x)), fused.cells[0].edges["edge_0_1"]["nor_conv_1x1"].conv.weight
    )
    mean, var = h.mean((0, 2, 3)), h.var((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, 0.9 * before["running_mean"] + 0.1 * mean)
    torch.testing.assert_close(norm.running_var, 0.9 * before["running_var"] + 0.1 * var)
    assert norm.num_batches_tracked == before["num_batches_tracked"] + 1


# -- what runs ---------------------------------------------------------------------------------


def test_plain_runs_exactly_the_live_options():
    _, plain = pair()
    ran = []
    for name, module in plain.named_modules():
        if name.count(".") == 4 and ".edges." in name:
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    x, _ = batch()
    _, gates = soft(live=MASKED)
    plain(x, gates)
    wanted = [
        f"cells.{cell}.edges.{edge_name(*EDGES[row])}.{OPS[column]}"
        for cell in (0, 2, 4)
        for row, columns in enumerate(MASKED)
        for column in columns
        if OPS[column] != "none"
    ]
    assert sorted(ran) == sorted(wanted)


def conv_macs(net, *inputs):
    """Multiply-adds of convolutions and linear layers in one forward pass."""
    counted = []

    def hook(module, args, out):
        if isinstance(module, nn.Conv2d):
            k = module.weight[0].numel()
            counted.append(out[0].numel() * k)
        else:
            counted.append(module.weight.numel())

    handles = [
        m.register_forward_hook(hook) for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    net(*inputs)
    for handle in handles:
        handle.remove()
    return sum(counted)


@pytest.mark.parametrize(
    ("op", "params", "macs"),
    [
        ("nor_conv_3x3", 1_531_546, 220.12),
        ("nor_conv_1x1", 241_306, 31.38),
        ("skip_connect", 73_306, 7.783),
        ("avg_pool_3x3", 73_306, 7.783),
        ("none", 73_306, 7.783),
    ],
)
def test_published_sizes(op, params, macs):
    net = network(SPACE, uniform(op), NetworkSpec()).eval()
    assert sum(p.numel() for p in net.parameters()) == params
    with torch.no_grad():
        found = conv_macs(net, torch.zeros(1, 3, 32, 32)) / 1e6
    assert round(found, 3 if op in ("skip_connect", "avg_pool_3x3", "none") else 2) == macs


def test_published_size_for_imagenet16_120_and_cifar100():
    arch = uniform("nor_conv_3x3")
    net = network(SPACE, arch, NetworkSpec(classes=120)).eval()
    assert sum(p.numel() for p in net.parameters()) == 1_538_696
    with torch.no_grad():
        assert round(conv_macs(net, torch.zeros(1, 3, 16, 16)) / 1e6, 2) == 55.04
    hundred = network(SPACE, arch, NetworkSpec(classes=100))
    assert sum(p.numel() for p in hundred.parameters()) == 1_531_546 + 5_850


def test_published_size_of_the_supernet():
    net = build(SPACE, NetworkSpec(execution="plain")).eval()
    assert sum(p.numel() for p in net.parameters()) == 1_686_106
    gates = Gates.dense(SPACE, {"cell": torch.full((6, 5), 0.2)})
    with torch.no_grad():
        assert round(conv_macs(net, torch.zeros(1, 3, 32, 32), gates) / 1e6, 2) == 243.71


def test_fused_runs_no_convolution_that_is_not_live():
    """A path costs the multiply-adds of its stand-alone network (1x1 ones appear as products)."""
    fused, _ = pair()
    x, _ = batch(2)
    rng = np.random.default_rng(3)
    for arch in (uniform("none"), uniform("nor_conv_3x3"), SPACE.sample(rng)):
        alone = network(SPACE, arch, SMALL)
        count = {}
        for net, args in ((fused, (x, Gates.of(SPACE, arch))), (alone, (x,))):
            with FlopCounterMode(display=False) as counter:
                net(*args)
            flops = counter.get_flop_counts()["Global"]
            count[net] = sum(v for k, v in flops.items() if "conv" in str(k))
        pools = sum(v == ("avg_pool_3x3",) for v in arch.values())
        if not pools and "nor_conv_1x1" not in [arch.one(n) for n in arch]:
            assert count[fused] == count[alone]
        assert count[fused] <= 1.05 * count[alone] + 1e5 * pools


def test_an_alpha_step_computes_no_weight_gradient():
    """convolution_backward is asked for inputs only; a weight step for no gate gradient."""
    fused, _ = pair()
    x, y = batch()
    weights, gates = soft()
    asked = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten.convolution_backward.default:
                asked.append((args[1].shape[1] // max(args[2].shape[1], 1), args[-1]))
            return func(*args, **(kwargs or {}))

    loss = F.cross_entropy(fused(x, gates), y)
    with Watch():
        torch.autograd.grad(loss, [weights])
    assert asked
    assert not any(mask[1] for _, mask in asked)
    asked.clear()
    loss = F.cross_entropy(fused(x, gates.detach()), y)
    with Watch():
        torch.autograd.grad(loss, list(fused.parameters()))
    assert any(mask[1] for _, mask in asked)


# -- odd cases -----------------------------------------------------------------------------------


def test_a_disconnected_cell_gives_scores_without_gradient_to_the_stem():
    for net in pair():
        x, y = batch()
        arch = uniform("none")
        out = net(x, Gates.of(SPACE, arch))
        assert torch.isfinite(out).all()
        assert torch.allclose(out, out[:1].expand_as(out))
        (g,) = torch.autograd.grad(F.cross_entropy(out, y), [net.stem[0].weight], allow_unused=True)
        assert g is None or not g.any()


def test_a_node_without_inputs_is_zero_and_feeds_the_next_as_zero():
    """Node 1 gets nothing; convolutions of it are those of zeros, also in eval mode."""
    live = ((0,), (3,), (2, 3), (0,), (3, 4), (1, 3))
    for training in (True, False):
        fused, plain = pair(training=training)
        x, _ = batch()
        _, gates = soft(live=live)
        close([fused(x, gates)], [plain(x, gates)], 1e-5)
        close(list(fused.buffers()), list(plain.buffers()), 1e-5)


def test_a_weighted_path_on_which_a_node_feeds_nothing():
    """As GDAS draws them: gates with a gradient, and none on every edge out of nodes 1 and 2."""
    live = ((3,), (3,), (0,), (1,), (0,), (0,))
    found = []
    for net in pair():
        weights, gates = soft(live=live)
        out = net(batch()[0], gates)
        found.append([out, *torch.autograd.grad(out.square().sum(), [weights])])
    close(*found, 1e-5)


def test_a_restricted_space_builds_only_what_it_has():
    net = build(RESTRICTED, SMALL)
    assert isinstance(net, NASBench201Supernet)
    cell = net.cells[0]
    assert isinstance(cell, MixedCell)
    assert set(cell.edges["edge_0_1"]) == {"nor_conv_3x3", "skip_connect"}
    assert set(cell.edges["edge_1_2"]) == {"avg_pool_3x3"}
    assert set(cell.edges["edge_0_3"]) == {"nor_conv_1x1", "avg_pool_3x3"}
    names = set(build(SPACE, SMALL).state_dict())
    assert set(net.state_dict()) < names


def test_a_space_of_other_operations_has_the_same_networks():
    """In another order, and fewer: a path gives what it gives in the whole space's supernet."""
    space = NASBench201("mine", ("avg_pool_3x3", "nor_conv_3x3", "none"))
    (whole, _), own = pair(training=False), build(space, SMALL).eval()
    held = whole.state_dict()
    own.load_state_dict({name: held[name] for name in own.state_dict()})
    x, _ = batch()
    for text in (space.format(space.sample(np.random.default_rng(i))) for i in range(3)):
        one, other = Gates.of(space, space.parse(text)), Gates.of(SPACE, SPACE.parse(text))
        assert torch.equal(own(x, one), whole(x, other))
        assert space.remarks(space.parse(text)) == SPACE.remarks(SPACE.parse(text))
    with pytest.raises(UnknownNameError, match="operation of NAS-Bench-201's supernet 'conv_7x7'"):
        build(NASBench201(operations=("none", "conv_7x7")), SMALL)


def test_weights_load_from_one_form_into_the_other():
    fused = build(SPACE, SMALL)
    plain = build(SPACE, NetworkSpec(channels=8, depth=1, execution="plain"))
    plain.load_state_dict(fused.state_dict())
    x, _ = batch()
    _, gates = soft()
    close([fused(x, gates)], [plain(x, gates)], 1e-5)


def test_bfloat16_autocast_is_near_float32_and_statistics_stay_float32():
    fused, plain = pair()
    x, y = batch(32)
    weights, gates = soft()
    with torch.autocast("cpu", torch.bfloat16):
        out = fused(x, gates)
        loss = F.cross_entropy(out, y)
    found = torch.autograd.grad(loss, [weights, *fused.parameters()])
    wanted_out = plain(x, gates)
    wanted = torch.autograd.grad(F.cross_entropy(wanted_out, y), [weights, *plain.parameters()])
    out, wanted_out = out.detach().float(), wanted_out.detach()
    assert float((out - wanted_out).norm() / wanted_out.norm()) < 0.03
    flat = [torch.cat([t.flatten().float() for t in ts]) for ts in (found, wanted)]
    assert float(F.cosine_similarity(*flat, dim=0)) > 0.98
    assert all(b.dtype == torch.float32 for b in fused.buffers() if b.is_floating_point())
    close([b.float() for b in fused.buffers()], [b.float() for b in plain.buffers()], 0.02)


def test_same_seed_same_result_bit_for_bit():
    results = []
    for _ in range(2):
        net, _ = pair(seed=3)
        x, y = batch()
        weights, gates = soft()
        loss = F.cross_entropy(net(x, gates), y)
        results.append(torch.autograd.grad(loss, [weights, *net.parameters()]))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
