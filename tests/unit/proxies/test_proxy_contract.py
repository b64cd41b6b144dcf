"""What holds for every proxy: purity, sharing, any module, activations however they are called."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen import proxies
from morphogen.core import ConfigError, UnknownNameError
from morphogen.proxies import PROXIES, activations
from morphogen.proxies.activations import Agreement
from morphogen.proxies.registry import ALONE, FROM_PASS
from morphogen.proxies.watch import Activations
from morphogen.spaces.nasbench201 import NASBench201
from morphogen.spaces.nasbench_macro import NASBenchMacro
from morphogen.supernets import Gated, Gates, NetworkSpec, build, network

CELL = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"


class Own(nn.Module):
    """A user's own: dropout, in-place ReLU, a frozen layer, ReLU6, two outputs in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(True))
        self.wide = nn.Conv2d(6, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(8, 5)
        self.other = nn.Linear(8, 5)
        self.wide.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        x = F.relu6(self.norm(self.wide(self.stem(x)))).mean((2, 3))
        x = self.drop(x)
        return (self.head(x), self.other(x)) if self.training else self.head(x)


def nets() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    space, spec = NASBench201(), NetworkSpec(channels=4, depth=1, in_channels=1, classes=5)
    arch = space.parse(CELL)
    plain = NetworkSpec(channels=4, depth=1, in_channels=1, classes=5, execution="plain")
    supernet = build(space, plain)
    weights = torch.softmax(torch.randn(6, 5, requires_grad=True), 1)
    macro = NASBenchMacro()
    return {
        "network": network(space, arch, spec),
        "path": Gated(supernet, Gates.of(space, arch)),
        "mixture": Gated(build(space, plain), Gates.dense(space, {"cell": weights})),
        "own": Own(),
        "macro": network(macro, macro.parse("12010201"), spec),
    }


NETS = ("network", "path", "mixture", "own", "macro")


@pytest.fixture(autouse=True)
def _few_images_of_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "NOISES", 40)


def batch(n: int = 6) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.randn(n, 1, 8, 8, generator=g), torch.randint(5, (n,), generator=g)


def snapshot(net: nn.Module) -> list[object]:
    return [
        *(p.detach().clone() for p in net.parameters()),
        *(b.detach().clone() for b in net.buffers()),
        *(p.grad.clone() if p.grad is not None else torch.empty(0) for p in net.parameters()),
        [m.training for m in net.modules()],
        [p.requires_grad for p in net.parameters()],
        [id(p) for p in net.parameters()] + [id(b) for b in net.buffers()],
        [len(m._forward_hooks) for m in net.modules()],
        torch.get_rng_state(),
    ]


SOME = [
    which if i < 2 else pytest.param(which, marks=pytest.mark.slow) for i, which in enumerate(NETS)
]
"""Two kinds of network always, the others in the slow tier."""


def alike(a: list[object], b: list[object]) -> bool:
    return all(
        torch.equal(x, y) if isinstance(x, Tensor) and isinstance(y, Tensor) else x == y
        for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("which", SOME)
def test_a_proxy_changes_nothing_and_is_repeatable(which: str) -> None:
    net, (x, y) = nets()[which], batch()
    for p in net.parameters():
        if p.requires_grad:
            p.grad = torch.ones_like(p)
    net.train()
    next(iter(net.children())).eval()
    for name in PROXIES:
        before, images = snapshot(net), x.clone()
        first = proxies.score(name, net, x, y, generator=torch.Generator().manual_seed(7))
        torch.manual_seed(99)  # what is in torch's generator does not matter
        after = torch.get_rng_state()
        with torch.no_grad():
            again = proxies.score(name, net, x, y, generator=torch.Generator().manual_seed(7))
        assert first == again, name
        assert torch.equal(torch.get_rng_state(), after), name
        assert torch.equal(x, images)
        assert alike(before[:-1], snapshot(net)[:-1]), name
        assert math.isfinite(first), name


@pytest.mark.parametrize("which", SOME)
def test_a_score_does_not_depend_on_which_others_are_asked_for(which: str) -> None:
    net, (x, y) = nets()[which], batch()
    together = proxies.score_many(list(PROXIES), net, x, y)
    assert list(together) == list(PROXIES)
    for name in PROXIES:
        alone = proxies.score(name, net, x, y)
        # Gradients that are differentiated again may be summed in another order.
        assert together[name] == pytest.approx(alone, rel=1e-3 if name == "plain" else 1e-5), name


def test_the_path_of_a_supernet_has_the_scores_of_its_network_with_the_same_weights() -> None:
    """Norms of the searched cells have no affine part in the supernet; fresh ones are the same."""
    space, spec = NASBench201(), NetworkSpec(channels=4, depth=1, in_channels=1, classes=5)
    arch, found = space.parse(CELL), nets()
    alone = network(space, arch, spec)
    path = found["path"]
    own = {k.removeprefix("supernet."): v for k, v in path.state_dict().items()}
    wanted = alone.state_dict()
    taken = {}
    for key in wanted:
        matches = [k for k in own if k == key or _places(k, arch) == key]
        if matches:
            taken[key] = own[matches[0]]
    alone.load_state_dict({**wanted, **taken})
    convolutions = [k for k in wanted if k.endswith("conv.weight")]
    assert convolutions
    assert all(k in taken for k in convolutions)
    (x, y), names = batch(), ["nwot", "jacob_cov", "snip", "grad_norm", "synflow"]
    one, two = (proxies.score_many(names, net, x, y) for net in (alone, path))
    for name in names:
        assert one[name] == pytest.approx(two[name], rel=1e-3), name


def _places(key: str, arch: object) -> str:
    """`cells.0.edges.1<-0.nor_conv_3x3.conv.weight` of the supernet as the network names it."""
    parts = key.split(".")
    for i, part in enumerate(parts):
        if part in ("nor_conv_3x3", "nor_conv_1x1"):
            chosen = arch[next(n for n in arch if n.endswith(parts[i - 1]))]  # type: ignore[index,attr-defined]
            if chosen == (part,):
                return ".".join([*parts[: i - 2], "operations", parts[i - 1], *parts[i + 1 :]])
    return ""


ACTIVATIONS = {
    "F.relu": F.relu,
    "F.relu in place": lambda z: F.relu(z, inplace=True),
    "F.relu_": F.relu_,
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "Tensor.relu": lambda z: z.relu(),
    "Tensor.relu_": lambda z: z.relu_(),
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(True),
    "F.relu6": F.relu6,
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6 in place": nn.ReLU6(True),
    "F.leaky_relu": F.leaky_relu,
    "nn.LeakyReLU in place": nn.LeakyReLU(0.1, True),
    "nn.PReLU": nn.PReLU(),
    "nn.RReLU": nn.RReLU(),
    "nn.ELU": nn.ELU(),
    "nn.GELU": nn.GELU(),
    "nn.SiLU": nn.SiLU(),
    "nn.Hardswish": nn.Hardswish(),
    "keyword": lambda z: F.relu(input=z),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_way_to_call_an_activation_counts_once(name: str) -> None:
    z = torch.randn(4, 10)
    before, seen = z.clone(), []
    with torch.no_grad(), Activations(lambda v: seen.append(v.clone())):
        ACTIVATIONS[name](z)  # type: ignore[operator]
    assert len(seen) == 1
    assert torch.equal(seen[0], before)


@pytest.mark.parametrize("call", [torch.tanh, nn.Hardtanh(), torch.sigmoid, nn.Identity()])
def test_what_is_no_rectifier_is_not_counted(call: object) -> None:
    seen: list[Tensor] = []
    with Activations(seen.append):
        call(torch.randn(4, 10))  # type: ignore[operator]
    assert seen == []


def test_every_image_has_the_same_number_of_units() -> None:
    net, (x, _) = nets()["network"], batch()
    agreement = Agreement()
    with torch.no_grad(), Activations(agreement.add):
        net(x)
    assert agreement.kernel().diagonal().tolist() == [agreement.units] * len(x)


def test_networks_that_a_proxy_cannot_read_are_refused() -> None:
    x, y = batch()
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
    with pytest.raises(ConfigError, match="no activation"):
        proxies.score("nwot", linear, x)
    with pytest.raises(ConfigError, match="averages over all pixels"):
        proxies.score("zen", linear, x)
    with pytest.raises(ConfigError, match=r"loss fails on the network's output .*: only batches"):
        proxies.score("snip", nn.Conv2d(1, 5, 3), x, y)
    with pytest.raises(ConfigError, match="accepted by proxies: a tensor of 6 rows"):
        proxies.score("snip", nn.Sequential(nn.Conv2d(1, 5, 3), nn.Flatten(0)), x, y)
    with pytest.raises(ConfigError, match="no convolution"):
        proxies.score("snip", nn.Sequential(nn.Flatten(), nn.LayerNorm(64)), x, y)
    with pytest.raises(ConfigError, match="accepted by snip: targets"):
        proxies.score("snip", linear, x)
    torch.nn.utils.parametrizations.weight_norm(linear[1])
    with pytest.raises(ConfigError, match="layer '1' has no weight of its own"):
        proxies.score("snip", linear, x, y)
    bare = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )
    with pytest.raises(ConfigError, match="norm '1' keeps no running statistics"):
        proxies.score("zen", bare, x)
    with pytest.raises(UnknownNameError, match="did you mean 'synflow'"):
        proxies.score("sinflow", linear, x)
    with pytest.raises(ConfigError, match="each once"):
        proxies.score_many(["nwot", "nwot"], linear, x)
    with pytest.raises(ConfigError, match="proxies are none"):
        proxies.score_many([], linear, x)


def test_a_supernet_that_runs_fused_is_refused() -> None:
    space = NASBench201()
    spec = NetworkSpec(channels=4, depth=1, in_channels=1)
    net = Gated(build(space, spec), Gates.of(space, space.parse(CELL)))
    with pytest.raises(ConfigError, match="execution of the supernet is 'fused'"):
        proxies.score("nwot", net, batch()[0])


def test_two_equal_images_have_the_worst_score_or_nearly() -> None:
    net = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    x = torch.tensor([[1.0, -1], [1, -1], [-1, 1]]).view(3, 2, 1, 1)
    assert proxies.score("nwot", net, x) == proxies.WORST


def test_every_proxy_is_there_and_documented() -> None:
    assert set(FROM_PASS) | set(ALONE) == set(PROXIES)
    assert not set(FROM_PASS) & set(ALONE)
    for name, proxy in PROXIES.items():
        assert proxy.name == name
        assert bool(proxy.needs) == (name in FROM_PASS)
        function = getattr(proxies, name.removesuffix("_eval"))
        assert inspect.isfunction(function)
        assert list(inspect.signature(function).parameters)[:3] == ["net", "x", "y"]
        said = inspect.getmodule(function).__doc__ + function.__doc__
        assert proxy.source.split("arXiv ")[-1] in said or name in ("params", "flops", "nwot_eval")


def test_the_list_of_proxies_needs_no_torch() -> None:
    code = "import sys, morphogen.proxies as p; p.PROXIES; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class Pair(nn.Module):
    """Two inputs, a number for each example."""

    def __init__(self) -> None:
        super().__init__()
        self.ids, self.rest = nn.Embedding(7, 32), nn.Linear(3, 32)
        self.head = nn.Linear(32, 1)

    def forward(self, tokens: Tensor, values: Tensor) -> Tensor:
        return self.head(torch.relu(self.ids(tokens).mean(1) + self.rest(values)))


@pytest.mark.parametrize("kind", [tuple, dict])
def test_proxies_of_several_inputs_or_a_sentence(kind: type) -> None:
    g = torch.Generator().manual_seed(2)
    tokens, values = torch.randint(7, (6, 5), generator=g), torch.randn(6, 3, generator=g)
    x = (tokens, values) if kind is tuple else {"tokens": tokens, "values": values}
    torch.manual_seed(0)
    y, net = torch.randn(6, 1, generator=g), Pair()
    apply = ["nwot", "nwot_eval", "snip", "grad_norm", "plain", "fisher", "grasp", "ntk"]
    apply += ["l2_norm", "params", "flops"]
    found = proxies.score_many(apply, net, x, y, loss=nn.functional.mse_loss)
    assert all(map(math.isfinite, found.values())), found
    loss = nn.functional.mse_loss(net(tokens, values), y)
    layers = [net.rest.weight, net.head.weight]
    gradients = torch.autograd.grad(loss, layers)
    snip = sum(float((w * g).detach().abs().sum()) for w, g in zip(layers, gradients, strict=True))
    assert found["snip"] == pytest.approx(snip, rel=1e-5)
    assert found["flops"] == pytest.approx((3 * 32 + 32) / 1e6)
    for name in set(PROXIES) - set(apply):
        with pytest.raises(ConfigError, match=f"proxy is '{name}', which reads .* accepted for th"):
            proxies.score(name, net, x, y)
