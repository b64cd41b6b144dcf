"""Convolutions with a quick weight gradient, against torch's own."""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from morphogen.supernets import NetworkSpec, OneOf, build, convolution, network, space_of
from morphogen.supernets.convolution import Conv1d, Conv2d, depthwise, join_phases, split_phases


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def last(x):
    return x.contiguous(memory_format=torch.channels_last)


def pair(ours, theirs, channels, size, **options):
    """A depthwise module of ours and torch's, of the same weights, and same padding."""
    dilation = options.get("dilation", 1)
    sizes, dilations = ((v if isinstance(v, tuple) else (v,)) for v in (size, dilation))
    dilations = dilations * (len(sizes) // len(dilations))
    around = tuple(d * (k // 2) for k, d in zip(sizes, dilations, strict=True))
    options |= {"padding": around, "groups": channels, "bias": False, "dtype": torch.float64}
    plain = theirs(channels, channels, size, **options)
    quick = ours(channels, channels, size, **options)
    quick.load_state_dict(plain.state_dict())
    return quick, plain


def derivatives(module, x):
    """The value, its gradients, and the gradients of those."""
    a, w = x.clone().requires_grad_(), module.weight
    y = module(a)
    first = torch.autograd.grad((y**3).sum(), (a, w), create_graph=True)
    second = torch.autograd.grad(sum((g**2).sum() for g in first), (a, w))
    return [y, *first, *second]


def assert_equal(quick, plain, x):
    for q, p in zip(derivatives(quick, x), derivatives(plain, x), strict=True):
        assert torch.allclose(q, p, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 3, 5, 7, 9])
def test_images_equal_torch_to_the_second_derivative(size, stride, dilation):
    shapes = [(2, 3, 6, 8), (2, 2, 5, 7), (2, 2, 4, 4), (2, 2, 2, 2), (2, 3, 1, 1), (1, 1, 3, 2)]
    for shape in shapes:
        modules = pair(
            Conv2d, nn.Conv2d, shape[1], (size, size), stride=stride, dilation=(dilation, dilation)
        )
        x = torch.randn(shape, dtype=torch.float64)
        assert_equal(*modules, x)
        assert_equal(*modules, last(x))


@pytest.mark.parametrize("size", [(3, 5), (5, 3), (1, 7), (7, 1)])
@pytest.mark.parametrize(
    "steps", [((1, 2), (1, 1)), ((2, 1), (1, 1)), ((1, 1), (1, 2)), ((2, 2), (2, 1))]
)
def test_kernels_and_strides_that_are_not_square(size, steps):
    stride, dilation = steps
    modules = pair(Conv2d, nn.Conv2d, 3, size, stride=stride, dilation=dilation)
    assert_equal(*modules, torch.randn(2, 3, 7, 6, dtype=torch.float64))


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [3, 5, 7])
def test_signals_equal_torch_to_the_second_derivative(size, stride, dilation):
    modules = pair(Conv1d, nn.Conv1d, 4, size, stride=stride, dilation=dilation)
    for length in (12, 13, 2):
        assert_equal(*modules, torch.randn(3, 4, length, dtype=torch.float64))


@pytest.mark.parametrize(
    ("args", "options"),
    [
        ((4, 8, 5), {"padding": 2, "groups": 4}),  # two outputs for each channel
        ((4, 4, 5), {"padding": 2, "groups": 2}),
        ((4, 4, 5), {"groups": 4}),
        ((4, 4, 5), {"padding": 2, "groups": 4, "bias": True}),
        ((4, 4, 4), {"padding": 2, "groups": 4}),
        ((4, 4, 5), {"padding": 2, "groups": 4, "padding_mode": "reflect"}),
        ((4, 4, 5), {"padding": "same", "groups": 4}),
        ((4, 4, 5), {"padding": 2, "groups": 4, "dilation": 2}),
    ],
)
def test_other_convolutions_are_torchs(args, options):
    options = {"bias": False, **options, "dtype": torch.float64}
    plain, quick = nn.Conv2d(*args, **options), Conv2d(*args, **options)
    quick.load_state_dict(plain.state_dict())
    assert_equal(quick, plain, torch.randn(2, 4, 9, 8, dtype=torch.float64))


class Asks(nn.Module):
    """A user's module, with a convolution that sees every second pixel of few channels."""

    def __init__(self, conv):
        super().__init__()
        self.conv = conv
        self.head = OneOf({"one": nn.Linear(8, 3), "two": nn.Linear(8, 3)}, name="head")

    def forward(self, x):
        return self.head(self.conv(input=x).mean((2, 3)))


def own(conv):
    """`conv`, in a stand-alone network of a user's module."""
    space = space_of(Asks(conv))
    return network(space, space.enumerate()[0], NetworkSpec()).conv


def own_shared(conv):
    """`conv`, in a supernet of a user's module."""
    return build(space_of(Asks(conv)), NetworkSpec()).module.conv


KINDS = {
    "ours": lambda *args, **options: Conv2d(*args, **options),
    "own": lambda *args, **options: own(nn.Conv2d(*args, **options)),
    "own, shared": lambda *args, **options: own_shared(nn.Conv2d(*args, **options)),
    "own, lazy": lambda c_in, *args, **options: own(nn.LazyConv2d(*args, **options)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stride", [2, 3, (1, 2)])
@pytest.mark.parametrize("channels", [2, 7, 15, 16])
def test_of_one_pixel_with_a_stride(channels, stride, kind):
    """Where oneDNN's weight gradient writes past its memory, with fewer channels than it blocks.

    Against a product of the pixels seen, in float64; what lies behind is written to, too.
    """
    down, along = stride if isinstance(stride, tuple) else (stride, stride)
    conv = KINDS[kind](channels, 8, 1, stride=stride, bias=False)
    for _ in range(5):
        x = last(torch.randn(8, channels, 12, 12)).requires_grad_()
        y = conv(input=x) if kind != "ours" else conv(x)
        grad = torch.randn_like(y)
        of_x, of_weight = torch.autograd.grad(y, (x, conv.weight), grad)
        seen, weight = x.detach().double()[:, :, ::down, ::along], conv.weight.double()[:, :, 0, 0]
        back = torch.zeros(x.shape, dtype=torch.float64)
        back[:, :, ::down, ::along] = torch.einsum("nohw,oi->nihw", grad.double(), weight)
        wanted = torch.einsum("nohw,nihw->oi", grad.double(), seen)
        assert torch.allclose(y.double(), torch.einsum("nihw,oi->nohw", seen, weight), atol=1e-5)
        assert torch.allclose(of_x.double(), back, atol=1e-5)
        assert torch.allclose(of_weight[:, :, 0, 0].double(), wanted, rtol=1e-5, atol=1e-3)
        _ = [torch.zeros(16 * n) for n in range(1, 40)]


def test_pixels_are_left_out_only_where_none_is_seen():
    """And not where nothing goes wrong: of more channels, without gradients, with padding."""
    x = torch.randn(2, 4, 8, 9)
    seen = convolution.without_unseen
    assert seen(Conv2d(4, 8, 1, stride=2), x).shape == (2, 4, 7, 9)
    assert seen(Conv2d(4, 8, 1, stride=(1, 3)), x).shape == (2, 4, 8, 7)
    for conv in (
        Conv2d(4, 8, 1),
        Conv2d(4, 8, 3, stride=2),
        Conv2d(4, 8, 1, stride=2, padding=1),
        Conv2d(4, 8, 1, stride=2, groups=2),
    ):
        assert seen(conv, x) is x
    wide = torch.randn(2, 16, 8, 9)
    assert seen(Conv2d(16, 8, 1, stride=2), wide) is wide
    with torch.no_grad():
        assert seen(Conv2d(4, 8, 1, stride=2), x) is x


class Padded(nn.Conv2d):
    """A user's convolution that sees other pixels than torch's."""

    def forward(self, x):
        return super().forward(F.pad(x, (1, 0, 1, 0)))


def test_a_convolution_of_a_users_class_gets_the_whole_image():
    conv = own(Padded(4, 8, 1, stride=2))
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(conv(x), F.conv2d(F.pad(x, (1, 0, 1, 0)), conv.weight, conv.bias, 2))
    assert conv(x).shape == (2, 8, 5, 5)


def test_an_image_without_batch():
    quick, plain = pair(Conv2d, nn.Conv2d, 3, (5, 5))
    x = torch.randn(3, 6, 6, dtype=torch.float64)
    assert torch.equal(quick(x), plain(x))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(2, 3, 6, 8), (2, 2, 5, 7), (2, 2, 4, 4), (2, 4, 1, 12)])
def test_the_function_equals_torch(shape, stride):
    high = min(5, 1 if shape[2] == 1 else 5)
    x = last(torch.randn(shape, dtype=torch.float64)).requires_grad_()
    w = torch.randn(shape[1], 1, high, 5, dtype=torch.float64, requires_grad=True)
    steps = (min(stride, high), stride), (high // 2, 2)
    found, wanted = depthwise(x, w, stride), F.conv2d(x, w, None, *steps, 1, shape[1])
    up = torch.randn_like(wanted)
    assert torch.allclose(found, wanted)
    for a, b in zip(
        torch.autograd.grad(found, (x, w), up), torch.autograd.grad(wanted, (x, w), up), strict=True
    ):
        assert torch.allclose(a, b)


def test_only_the_gradients_asked_for_are_computed(monkeypatch):
    asked = []
    original = convolution._backward
    monkeypatch.setattr(convolution, "_backward", lambda *a: asked.append(a[-1]) or original(*a))
    x = last(torch.randn(1, 2, 6, 6)).requires_grad_()
    w = torch.randn(2, 1, 5, 5, requires_grad=True)
    torch.autograd.grad(depthwise(x, w).sum(), x)
    assert asked == [0]
    asked.clear()
    torch.autograd.grad(depthwise(x.detach(), w).sum(), w)
    assert asked == [1, 1]


def test_what_is_not_finite_stays_in_its_place():
    x = torch.randn(1, 2, 8, 8)
    x[0, 0, 7, 7] = torch.inf
    w = torch.randn(2, 1, 7, 7, requires_grad=True)
    (found,) = torch.autograd.grad(depthwise(x, w).sum(), w)
    assert not found[0].isfinite().all()
    assert found[1].isfinite().all()


@pytest.mark.parametrize("stride", [1, 2])
def test_under_autocast(stride):
    x = last(torch.randn(2, 4, 8, 8)).requires_grad_()
    w = torch.randn(4, 1, 5, 5, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = depthwise(x, w, stride)
    assert y.dtype == (torch.bfloat16 if stride == 1 else torch.float32)
    gx, gw = torch.autograd.grad(y.float().sum(), (x, w))
    assert gx.dtype == gw.dtype == torch.float32
    wx, ww = torch.autograd.grad(F.conv2d(x, w, None, stride, 2, 1, 4).sum(), (x, w))
    assert torch.allclose(gx, wx, atol=0.1, rtol=0.05)
    assert torch.allclose(gw, ww, atol=0.5, rtol=0.05)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("dilation", [1, 2])
def test_function_transforms_see_a_convolution(dilation):
    """Gradients of every example, forward derivatives, and a module that was traced."""
    quick, plain = pair(Conv2d, nn.Conv2d, 3, (5, 5), dilation=(dilation, dilation))
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)

    def each(module):
        def loss(weight, one):
            y = torch.func.functional_call(module, {"weight": weight}, one[None])
            return (y**2).sum()

        return torch.func.vmap(torch.func.grad(loss), (None, 0))(module.weight, x)

    assert torch.allclose(each(quick), each(plain))
    for module in (quick, plain):
        module.forward_value = torch.func.jvp(module, (x,), (torch.ones_like(x),))[1]
    assert torch.allclose(quick.forward_value, plain.forward_value)
    traced = torch.jit.trace(quick, x)
    exported = torch.export.export(quick, (x,)).module()
    assert torch.allclose(traced(x), plain(x))
    assert torch.allclose(exported(x), plain(x))


def test_phases_there_and_back():
    x = torch.randn(3, 4, 6, 10)
    split = split_phases(x)
    assert split.shape == (12, 4, 3, 5)
    assert split.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(join_phases(split), x)


@pytest.mark.parametrize("size", [3, 5])
def test_a_dilated_convolution_on_phases(size):
    x = torch.randn(2, 3, 8, 12)
    weight = torch.randn(3, 1, size, size)
    wanted = F.conv2d(x, weight, None, 1, size - 1, 2, 3)
    assert torch.allclose(join_phases(depthwise(split_phases(x), weight)), wanted, atol=1e-5)
    strided = F.conv2d(x, weight, None, 2, size - 1, 2, 3)
    assert torch.allclose(depthwise(x[:, :, ::2, ::2], weight), strided, atol=1e-5)


@pytest.mark.parametrize(("size", "dilation"), [(5, 1), (7, 1), (3, 2), (5, 2)])
def test_a_pass_and_its_gradients_are_quicker(size, dilation):
    """Than torch's own, by two or more on an idle machine: the best of many, in turn.

    With AVX2 torch's wide kernels are as quick; theirs must cost about the same.
    """
    modules = pair(Conv2d, nn.Conv2d, 48, (size, size), dilation=(dilation, dilation))
    x = last(torch.randn(32, 48, 16, 16)).requires_grad_()
    best = [float("inf")] * 2
    for _ in range(15):
        for i, module in enumerate(modules):
            module.float()
            start = time.process_time()
            y = module(x)
            torch.autograd.grad(y, (x, module.weight), torch.ones_like(y))
            best[i] = min(best[i], time.process_time() - start)
    quick, plain = best
    slow_there = dilation > 1 or torch.backends.cpu.get_cpu_capability() == "AVX512"
    assert quick < plain * (1.0 if slow_there else 1.5)
