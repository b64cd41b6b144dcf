"""Every proxy against brute force: loops, finite differences, explicit matrices, closed forms."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen import proxies
from morphogen.proxies.activations import Agreement
from morphogen.spaces import make
from morphogen.supernets import Gated, Gates, NetworkSpec, build


class Small(nn.Module):
    """Two convolutions with batch norms, a shortcut, global pooling, a linear layer; float64."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv1 = nn.Conv2d(2, 3, 3, padding=1, bias=True)
        self.norm1 = nn.BatchNorm2d(3)
        self.conv2 = nn.Conv2d(3, 3, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(3)
        self.classifier = nn.Linear(3, 4)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(x)))
        x = x + self.norm2(self.conv2(x)).relu()
        scores: Tensor = self.classifier(x.mean((2, 3)))
        return scores


LAYERS = ("conv1.weight", "conv2.weight", "classifier.weight")


@pytest.fixture
def net() -> Small:
    return Small()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(5)
    return torch.randn(6, 2, 4, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 1, 0])


def loss_at(net: nn.Module, x: Tensor, y: Tensor) -> float:
    net.train()
    with torch.no_grad():
        return float(F.cross_entropy(net(x), y))


def central(f: Callable[[], float], entry: Tensor, step: float = 1e-5) -> float:
    """df / d(entry), the entry being changed in place and put back."""
    before = float(entry)
    with torch.no_grad():
        entry.fill_(before + step)
        up = f()
        entry.fill_(before - step)
        down = f()
        entry.fill_(before)
    return (up - down) / (2 * step)


def differences(net: nn.Module, x: Tensor, y: Tensor) -> dict[str, np.ndarray]:
    """dL/dW by finite differences, weight after weight."""
    state = dict(net.named_parameters())
    found = {}
    for name in LAYERS:
        flat = state[name].data.view(-1)
        column = [central(lambda: loss_at(net, x, y), flat[i]) for i in range(len(flat))]
        found[name] = np.array(column)
    return found


def numbers(net: nn.Module, name: str) -> np.ndarray:
    return dict(net.named_parameters())[name].detach().numpy().ravel()


def test_gradient_proxies_equal_finite_differences(
    net: Small, batch: tuple[Tensor, Tensor]
) -> None:
    g = differences(net, *batch)
    w = {name: numbers(net, name) for name in LAYERS}
    norm = sum(np.sqrt((g[n] ** 2).sum()) for n in LAYERS)
    assert proxies.grad_norm(net, *batch) == pytest.approx(norm, rel=1e-6)
    assert norm != pytest.approx(np.sqrt(sum((g[n] ** 2).sum() for n in LAYERS)), rel=1e-2)
    snip = sum(abs(a * b) for n in LAYERS for a, b in zip(w[n], g[n], strict=True))
    assert proxies.snip(net, *batch) == pytest.approx(snip, rel=1e-6)
    plain = sum(a * b for n in LAYERS for a, b in zip(w[n], g[n], strict=True))
    assert proxies.plain(net, *batch) == pytest.approx(plain, abs=1e-8)


def test_snip_is_the_gradient_by_a_mask_of_ones(net: Small, batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    state = {name: p.detach() for name, p in net.named_parameters()}
    masks = {name: torch.ones_like(state[name], requires_grad=True) for name in LAYERS}
    masked = state | {name: state[name] * masks[name] for name in LAYERS}
    loss = F.cross_entropy(torch.func.functional_call(net.train(), masked, (x,)), y)
    by_mask = torch.autograd.grad(loss, list(masks.values()))
    expected = sum(float(g.abs().sum()) for g in by_mask)
    assert proxies.snip(net, x, y) == pytest.approx(expected, rel=1e-12)


def normed(eps: float) -> nn.Sequential:
    torch.manual_seed(1)
    conv = nn.Conv2d(2, 3, 3, bias=False)
    return nn.Sequential(
        conv,
        nn.BatchNorm2d(3, eps=eps),
        nn.Tanh(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(3, 4),
    ).double()


def test_a_normed_convolution_adds_nothing_to_plain(batch: tuple[Tensor, Tensor]) -> None:
    net = normed(1e-12)
    whole = proxies.plain(net, *batch)
    x, y = batch
    head = net[5]
    features = net[:5].train()(x).detach()
    weight = head.weight.detach().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(F.linear(features, weight, head.bias), y), [weight])
    assert whole == pytest.approx(float((weight.detach() * g).sum()), abs=1e-9)
    assert proxies.snip(net, *batch) > abs(whole) * 1.01


def test_grasp_equals_the_explicit_hessian(net: Small, batch: tuple[Tensor, Tensor]) -> None:
    x, y = batch
    state = {name: p.detach() for name, p in net.named_parameters()}
    shapes = [state[name].shape for name in LAYERS]
    sizes = [s.numel() for s in shapes]
    flat = torch.cat([state[name].flatten() for name in LAYERS])

    def loss(w: Tensor) -> Tensor:
        pieces = [p.view(s) for p, s in zip(w.split(sizes), shapes, strict=True)]
        tensors = state | dict(zip(LAYERS, pieces, strict=True))
        return F.cross_entropy(torch.func.functional_call(net.train(), tensors, (x,)), y)

    hessian = torch.autograd.functional.hessian(loss, flat)
    (g,) = torch.autograd.grad(loss(flat.requires_grad_()), [flat])
    expected = -float(flat.detach() @ (hessian @ g))
    assert proxies.grasp(net, x, y) == pytest.approx(expected, rel=1e-8)
    # The Hessian itself, by differences of differences, on the linear layer's first weights.
    entries = state["classifier.weight"].view(-1)
    first = len(flat) - len(entries)
    for i, j in ((0, 0), (0, 5), (3, 7)):
        second = central(
            lambda i=i: central(lambda: loss_at(net, x, y), entries[i], 1e-4), entries[j], 1e-4
        )
        assert float(hessian[first + i, first + j]) == pytest.approx(second, abs=1e-6)


def test_grasp_of_a_scale_invariant_layer_is_its_squared_gradient(
    batch: tuple[Tensor, Tensor],
) -> None:
    # L(cW) = L(W) gives W.g = 0 and W'H = -g', so that -W'Hg = |g|^2. Only the convolution's part:
    # the classifier is a linear layer without a weight of its own here.
    torch.manual_seed(2)
    conv, norm = nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4, eps=1e-12)
    net = nn.Sequential(conv, norm, nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    assert proxies.grasp(net, *batch) == pytest.approx(
        proxies.grad_norm(net, *batch) ** 2, rel=1e-6
    )


def test_fisher_equals_loops_over_finite_differences(
    net: Small, batch: tuple[Tensor, Tensor]
) -> None:
    """The gradient by a layer's output is the change of the loss with that output."""
    x, y = batch
    total = 0.0
    for layer, fan_in in ((net.conv1, 2 * 9), (net.conv2, 3), (net.classifier, 3)):
        kept: list[Tensor] = []
        layer.register_forward_hook(lambda m, i, out, kept=kept: kept.append(out.detach()))
        loss_at(net, x, y)
        a = kept[0]
        layer._forward_hooks.clear()
        nudge = torch.zeros_like(a)
        handle = layer.register_forward_hook(lambda m, i, out, nudge=nudge: out + nudge)
        flat = nudge.view(-1)
        g = torch.tensor([central(lambda: loss_at(net, x, y), flat[i]) for i in range(len(flat))])
        handle.remove()
        g = g.view_as(a)
        for c in range(a.shape[1]):
            squares = []
            for n in range(len(x)):
                squares.append(float((a[n, c] * g[n, c]).sum()) ** 2)
            total += fan_in * 0.5 * sum(squares) / len(squares)
    assert proxies.fisher(net, x, y) == pytest.approx(total, rel=1e-5)


def test_fisher_of_a_linear_layer() -> None:
    torch.manual_seed(3)
    net, x, y = nn.Linear(4, 3).double(), torch.randn(5, 4).double(), torch.tensor([0, 1, 2, 1, 1])
    a = net(x).detach().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(a, y), [a])
    expected = 4 * float((0.5 * ((a.detach() * g) ** 2).mean(0)).sum())
    assert proxies.fisher(net, x, y) == pytest.approx(expected, rel=1e-12)


def test_fisher_reads_a_layers_output_before_it_is_overwritten_in_place(
    batch: tuple[Tensor, Tensor],
) -> None:
    def make(inplace: bool) -> nn.Module:
        torch.manual_seed(4)
        conv, head = nn.Conv2d(2, 3, 3), nn.Linear(3, 4)
        pool = nn.AdaptiveAvgPool2d(1)
        return nn.Sequential(conv, nn.ReLU(inplace), pool, nn.Flatten(), head).double()

    assert proxies.fisher(make(True), *batch) == proxies.fisher(make(False), *batch)


def jacobian_rows(net: nn.Module, x: Tensor) -> np.ndarray:
    """d(sum of all class scores) / d(pixel), by finite differences, a row for each image."""
    net.train()
    x = x.clone()

    def total() -> float:
        with torch.no_grad():
            return float(net(x).sum())

    flat = x.view(-1)
    column = [central(total, flat[i]) for i in range(len(flat))]
    return np.array(column).reshape(len(x), -1)


def test_jacob_cov_equals_finite_differences(net: Small, batch: tuple[Tensor, Tensor]) -> None:
    rows = jacobian_rows(net, batch[0])
    b = len(rows)
    correlation = np.zeros((b, b))
    for i in range(b):
        for j in range(b):
            p, q = rows[i] - rows[i].mean(), rows[j] - rows[j].mean()
            correlation[i, j] = (p @ q) / math.sqrt((p @ p) * (q @ q))
    v = np.linalg.eigvals(correlation).real
    expected = -sum(math.log(u + 1e-5) + 1 / (u + 1e-5) for u in v)
    assert proxies.jacob_cov(net, batch[0]) == pytest.approx(expected, rel=1e-5)


class Rows(nn.Module):
    """Class scores whose Jacobian has given rows: image n is weighed by row n."""

    def __init__(self, rows: Tensor, classes: int = 3) -> None:
        super().__init__()
        self.rows, self.classes = rows, classes

    def forward(self, x: Tensor) -> Tensor:
        value = (x.flatten(1) * self.rows).sum(1, keepdim=True)
        return value.expand(-1, self.classes) / self.classes


def orthogonal(b: int, d: int) -> Tensor:
    """Rows that do not correlate: centred and orthogonal."""
    basis = np.linalg.qr(np.c_[np.ones(d), np.random.default_rng(0).normal(size=(d, b))])[0]
    return torch.from_numpy(basis[:, 1:].T.copy())


def test_jacob_cov_in_its_limits() -> None:
    x = torch.randn(8, 1, 4, 4, dtype=torch.float64)
    best = proxies.jacob_cov(Rows(orthogonal(8, 16)), x)
    assert best == pytest.approx(-8 * (math.log(1 + 1e-5) + 1 / (1 + 1e-5)), abs=1e-8)
    alike = torch.randn(1, 16, dtype=torch.float64).expand(8, -1)
    assert proxies.jacob_cov(Rows(alike), x) == pytest.approx(-699921.61, rel=1e-6)
    rows = torch.randn(8, 16, dtype=torch.float64)
    scaled = rows * torch.linspace(0.5, 3, 8)[:, None]
    assert proxies.jacob_cov(Rows(rows), x) == pytest.approx(
        proxies.jacob_cov(Rows(scaled), x), rel=1e-9
    )
    constant = torch.ones(8, 16, dtype=torch.float64)
    assert math.isnan(proxies.jacob_cov(Rows(constant), x))
    assert proxies.score("jacob_cov", Rows(constant), x) == proxies.WORST


@pytest.mark.parametrize("classes", [4, 101])
def test_epe_nas_equals_loops(classes: int) -> None:
    torch.manual_seed(6)
    rows, x = torch.randn(7, 16, dtype=torch.float64), torch.randn(7, 1, 4, 4, dtype=torch.float64)
    y = torch.tensor([0, 0, 0, 2, 2, 3, 0])
    e = []
    for c in (0, 2, 3):
        own = [rows[i].numpy() for i in range(7) if y[i] == c]
        value = 0.0
        for p in own:
            for q in own:
                p0, q0 = p - p.mean(), q - q.mean()
                r = (p0 @ q0) / math.sqrt((p0 @ p0) * (q0 @ q0))
                value += math.log(abs(r) + 1e-5)
        e.append(value / len(own) if classes > 100 else value)
    if classes > 100:
        expected = sum(abs(p - q) for p in e for q in e) / 3
    else:
        expected = sum(abs(v) for v in e)
    assert proxies.epe_nas(Rows(rows, classes), x, y) == pytest.approx(expected, rel=1e-9)


def test_epe_nas_of_equal_rows() -> None:
    rows = torch.randn(1, 16, dtype=torch.float64).expand(6, -1)
    x, y = torch.randn(6, 1, 4, 4, dtype=torch.float64), torch.tensor([0, 0, 0, 1, 1, 2])
    assert proxies.epe_nas(Rows(rows), x, y) == pytest.approx((9 + 4 + 1) * math.log1p(1e-5))


def test_nwot_equals_explicit_codes_and_hamming_distances(
    net: Small, batch: tuple[Tensor, Tensor]
) -> None:
    x = batch[0]
    net.train()
    with torch.no_grad():
        first = net.norm1(net.conv1(x))
        second = net.norm2(net.conv2(F.relu(first)))
    codes = np.concatenate([(z > 0).flatten(1).numpy() for z in (first, second)], axis=1)
    b, units = codes.shape
    kernel = np.array([[units - sum(codes[i] != codes[j]) for j in range(b)] for i in range(b)])
    expected = math.log(np.linalg.det(kernel.astype(float)))
    assert proxies.nwot(net, x) == pytest.approx(expected, rel=1e-10)
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    assert proxies.nwot(net, x[order]) == pytest.approx(expected, rel=1e-9)
    assert proxies.nwot(net, torch.cat([x, x[:1]])) < -10  # two equal codes: singular

    net.eval()
    with torch.no_grad():
        first = net.norm1(net.conv1(x))
        second = net.norm2(net.conv2(F.relu(first)))
    codes = np.concatenate([(z > 0).flatten(1).numpy() for z in (first, second)], axis=1)
    kernel = np.array([[units - sum(codes[i] != codes[j]) for j in range(b)] for i in range(b)])
    expected = math.log(np.linalg.det(kernel.astype(float)))
    assert proxies.nwot(net.train(), x, mode="eval") == pytest.approx(expected, rel=1e-10)


def test_the_kernel_of_nwot_by_hand() -> None:
    """Ten units, three of them unlike: K = [[10, 7], [7, 10]], det = 51."""
    z = torch.ones(2, 10)
    z[1, :3] = -1
    agreement = Agreement()
    agreement.add(z)
    assert agreement.kernel().tolist() == [[10, 7], [7, 10]]
    assert agreement.score() == pytest.approx(math.log(51))
    assert agreement.score() == pytest.approx(3.931826, abs=1e-6)


def test_units_that_are_always_off_add_a_constant_to_the_kernel() -> None:
    """Codes 1100, 1010, 0000: log det 3.465736, with four units more that are off 4.382027."""
    agreement = Agreement()
    agreement.add(torch.tensor([[1.0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]))
    assert agreement.score() == pytest.approx(3.465736, abs=1e-6)
    agreement.add(torch.zeros(3, 4))
    assert agreement.score() == pytest.approx(4.382027, abs=1e-6)


class Branched(nn.Module):
    """One ReLU that reaches the class scores, and one that does not."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.used, self.unused = nn.Linear(8, 16), nn.Linear(8, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        F.relu(self.unused(x))
        return F.relu(self.used(x))


def test_nwot_leaves_out_what_is_not_reached_whatever_else_is_asked() -> None:
    net, x, y = Branched(), torch.randn(5, 2, 2, 2), torch.arange(5)
    only = Agreement()
    only.add(net.used(x.flatten(1)))
    reached = only.score()
    assert proxies.nwot(net, x) == pytest.approx(reached)
    for names in (["nwot"], ["nwot", "jacob_cov"], ["nwot", "snip"], ["nwot", "grasp"]):
        assert proxies.score_many(names, net, x, y)["nwot"] == proxies.nwot(net, x)
    only.add(net.unused(x.flatten(1)))
    assert proxies.nwot(net, x, reachable_only=False) == pytest.approx(only.score())


def test_nwot_leaves_out_what_does_not_depend_on_the_inputs() -> None:
    """A branch that starts from zeros has biases and weights, and is the same for all images."""

    class FromNothing(Branched):
        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(1)
            return F.relu_(self.used(x)) + F.relu(self.unused(torch.zeros_like(x)))

    net, x, y = FromNothing(), torch.randn(5, 2, 2, 2), torch.arange(5)
    only = Agreement()
    only.add(net.used(x.flatten(1)))
    assert proxies.nwot(net, x) == pytest.approx(only.score())
    assert proxies.score_many(["nwot", "snip"], net, x, y)["nwot"] == proxies.nwot(net, x)


def test_nwot_of_cells_is_that_of_their_live_edges() -> None:
    space, x = make("nasbench201"), torch.randn(4, 3, 8, 8)
    net = build(space, NetworkSpec(channels=4, depth=1, execution="plain"))

    def score(cell: str, **given: bool) -> float:
        return proxies.nwot(Gated(net, Gates.of(space, space.parse(cell))), x, **given)

    live = "|nor_conv_3x3~0|+|none~0|{}~1|+|skip_connect~0|none~1|none~2|"
    dead, without = live.format("nor_conv_1x1"), live.format("none")
    assert score(dead) == score(without)
    assert score(dead, reachable_only=False) > score(without, reachable_only=False)
    nothing = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    assert score(nothing) == -math.inf
    assert score("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|") == -math.inf


def test_linear_regions_are_different_codes() -> None:
    """Codes 101, 101, 011, 111: three."""
    codes = torch.tensor([[1.0, -1, 1], [1, -1, 1], [-1, 1, 1], [1, 1, 1]])
    net = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert proxies.linear_regions(net, codes.view(4, 3, 1, 1)) == 3


def test_linear_regions_of_a_network_equal_a_set_of_its_codes(
    net: Small, batch: tuple[Tensor, Tensor]
) -> None:
    x = torch.round(torch.randn(40, 2, 1, 1, dtype=torch.float64)).expand(-1, -1, 2, 2)
    net.train()
    with torch.no_grad():
        first = net.norm1(net.conv1(x))
        second = net.norm2(net.conv2(F.relu(first)))
    codes = torch.cat([(first > 0).flatten(1), (second > 0).flatten(1)], 1).tolist()
    different = len({tuple(code) for code in codes})
    assert 1 < different < 40
    assert proxies.linear_regions(net, x) == different


def test_synflow_of_a_chain_is_the_flow_times_its_layers() -> None:
    torch.manual_seed(8)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(5 * 4, 3, bias=False),
    ).double()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    one, two, three = (net[i].weight.detach().abs() for i in (0, 2, 5))
    flow = F.conv2d(F.conv2d(torch.ones(1, 3, 6, 6, dtype=torch.float64), one), two)
    expected = 3 * float((flow.flatten(1) @ three.T).sum())
    assert proxies.synflow(net, x) == pytest.approx(math.log(expected), abs=1e-10)
    assert proxies.synflow(net, 7 * x + 1) == proxies.synflow(net, x)
    with torch.no_grad():
        net[2].weight *= 5
    assert proxies.synflow(net, x) == pytest.approx(math.log(5 * expected), abs=1e-10)


def test_synflow_equals_finite_differences_without_norms(
    net: Small, batch: tuple[Tensor, Tensor]
) -> None:
    with torch.no_grad():
        net.norm1.weight.fill_(3)  # must not matter
    bare = Small()
    bare.load_state_dict(net.state_dict())
    bare.norm1 = bare.norm2 = nn.Identity()
    for p in bare.parameters():
        p.data.abs_()
    ones = torch.ones(1, 2, 4, 4, dtype=torch.float64)

    def flow() -> float:
        with torch.no_grad():
            return float(bare(ones).sum())

    total = 0.0
    for name in LAYERS:
        flat = dict(bare.named_parameters())[name].data.view(-1)
        total += sum(abs(float(w) * central(flow, w)) for w in flat)
    assert proxies.synflow(net.float(), batch[0].float()) == pytest.approx(
        math.log(total), rel=1e-6
    )


def test_ntk_of_a_linear_model_is_the_condition_of_its_inputs() -> None:
    torch.manual_seed(9)
    x = torch.randn(5, 8, dtype=torch.float64)
    net = nn.Linear(8, 3).double()
    assert proxies.ntk(net, x) == pytest.approx(-np.linalg.cond((x @ x.T).numpy()), rel=1e-8)


def test_ntk_equals_explicit_rows(net: Small, batch: tuple[Tensor, Tensor]) -> None:
    """Rows of dy_i/dW by finite differences, norms' weights included, biases not."""
    x = batch[0]
    net.train()
    rows = []
    for i in range(len(x)):

        def value(i: int = i) -> float:
            with torch.no_grad():
                return float(net(x)[i].sum())

        row = []
        for name, p in net.named_parameters():
            if "weight" in name:
                row += [central(value, w) for w in p.data.view(-1)]
        rows.append(row)
    g = np.array(rows)
    values = np.linalg.eigvalsh(g @ g.T)
    assert proxies.ntk(net, x) == pytest.approx(-values[-1] / values[0], rel=1e-4)


def test_zen_equals_the_steps_done_by_hand(net: Small, batch: tuple[Tensor, Tensor]) -> None:
    """Norms carry 0.9 of their running variance over; features are those before the mean."""
    net = net.float()
    x = batch[0].float()
    rng = torch.Generator().manual_seed(11)
    w1 = torch.randn(3, 2, 3, 3, generator=rng)
    w2 = torch.randn(3, 3, 1, 1, generator=rng)
    torch.randn(4, 3, generator=rng)  # of the classifier, which the features never see
    a = torch.randn(16, 2, 4, 4, generator=rng)
    b = a + 0.01 * torch.randn(16, 2, 4, 4, generator=rng)
    running = [np.ones(3), np.ones(3)]

    def normed(z: Tensor, k: int) -> Tensor:
        mean = z.mean((0, 2, 3), keepdim=True)
        variance = ((z - mean) ** 2).mean((0, 2, 3), keepdim=True)
        n = z.numel() / 3
        running[k] = 0.9 * running[k] + 0.1 * (variance.flatten().numpy() * n / (n - 1))
        return (z - mean) / (variance + 1e-5).sqrt()

    def features(z: Tensor) -> Tensor:
        z = normed(F.conv2d(z, w1, padding=1), 0).clamp(min=0)
        return z + normed(F.conv2d(z, w2), 1).clamp(min=0)

    difference = (features(a) - features(b)).abs().sum((1, 2, 3)).mean()
    expected = math.log(difference) + sum(0.5 * math.log(v.mean()) for v in running)
    found = proxies.zen(net, x, generator=torch.Generator().manual_seed(11))
    assert found == pytest.approx(expected, rel=1e-4)


def test_zen_averages_over_draws(net: Small, batch: tuple[Tensor, Tensor]) -> None:
    x = batch[0]
    rng = torch.Generator().manual_seed(12)
    singly = [proxies.zen(net, x, generator=rng) for _ in range(3)]
    together = proxies.zen(net, x, generator=torch.Generator().manual_seed(12), repeats=3)
    assert together == pytest.approx(sum(singly) / 3)
    assert len(set(singly)) == 3


def test_ranks_are_added_with_ties_shared() -> None:
    """Ranks 2.5, 1, 2.5, 4 and 3, 1.5, 4, 1.5."""
    columns = [[0.5, -math.inf, 0.5, 9], [7, 1, 8, 1]]
    assert proxies.rank_sum(columns).tolist() == [5.5, 2.5, 6.5, 5.5]


def test_sizes_are_counted_by_hand(net: Small, batch: tuple[Tensor, Tensor]) -> None:
    x = batch[0]
    norms = sum(np.sqrt((numbers(net, name) ** 2).sum()) for name in LAYERS)
    assert proxies.l2_norm(net) == pytest.approx(norms)
    parameters = 2 * 3 * 9 + 3 + 2 * 3 + 3 * 3 + 2 * 3 + 3 * 4 + 4
    assert proxies.params(net) == pytest.approx(parameters / 1e6)
    macs = 16 * (2 * 3 * 9) + 16 * 3 * 3 + 3 * 4
    assert proxies.flops(net, x) == pytest.approx(macs / 1e6)
    net.conv1.weight.requires_grad_(False)
    assert proxies.params(net) == pytest.approx((parameters - 54) / 1e6)
