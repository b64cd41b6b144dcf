"""Operations on uint8 images that augmentation policies draw from, each on a batch.

`OPERATIONS[name](x, strength, beside)` takes images `[k, c, h, w]`, one strength for each and the
colour beside an image, and gives new images. They compute what Pillow computes, whose operations
the policies were made of (`ImageOps`, `ImageEnhance`, `Image.transform` with the nearest pixel): to
the bit, but for pixels on the edge between two in geometric ones.

Images of three channels are taken as red, green and blue; of other numbers grey is the mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

Operation = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of images uint8 `[k, c, h, w]`, strengths float `[k]` and the colour beside the image, uint8
`[c]`, which geometric operations show."""


def _blended(base: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    """`base` at factor 0, the image at 1, and beyond."""
    far = base + factor[:, None, None, None] * (x.float() - base)
    return far.clamp_(0, 255).to(torch.uint8)


def _grey(x: Tensor) -> Tensor:
    """Luminance (ITU-R 601), int32 `[k, 1, h, w]`."""
    if x.shape[1] != 3:
        return (x.float().mean(dim=1, keepdim=True) + 0.5).int()
    red, green, blue = torch.split(x.int(), 1, dim=1)
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


def brightness(x: Tensor, strength: Tensor, beside: Tensor) -> Tensor:
    """Black at 0, the image at 1."""
    return _blended(torch.zeros((), device=x.device), x, strength)


def color(x: Tensor, strength: Tensor, beside: Tensor) -> Tensor:
    """Grey at 0, the image at 1."""
    return _blended(_grey(x).float(), x, strength)


def contrast(x: Tensor, strength: Tensor, beside: Tensor) -> Tensor:
    """At 0 the image's mean grey, at 1 the image."""
    grey = _grey(x)
    pixels = grey[0].numel()
    twice = 2 * grey.sum(dim=(1, 2, 3), keepdim=True)  # whole numbers: rounded half up
    return _blended(((twice + pixels) // (2 * pixels)).float(), x, strength)


def sharpness(x: Tensor, strength: Tensor, beside: Tensor) -> Tensor:
    """Smoothed at 0, the image at 1; the outermost pixels stay."""
    whole = x.float()
    smooth = whole.clone()
    if min(x.shape[-2:]) > 2:
        box = avg_pool2d(whole, 3, stride=1, divisor_override=1)
        middle = whole[..., 1:-1, 1:-1]
        smooth[..., 1:-1, 1:-1] = ((box + 4 * middle) / 13 + 0.5).floor()
    return _blended(smooth, x, strength)


def posterize(x: Tensor, strength: Tensor, beside: Tensor) -> Tensor:
    """So many bits of each value are kept."""
    kept = 256 - (2 ** (8 - strength)).to(torch.int32)
    return x & kept.to(torch.uint8)[:, None, None, None]


def solarize(x: Tensor, strength: Tensor, beside: Tensor) -> Tensor:
    """Values from the strength on are inverted."""
    return torch.where(x < strength[:, None, None, None], x, 255 - x)


def invert(x: Tensor, strength: Tensor, beside: Tensor) -> Tensor:
    """The negative."""
    return 255 - x


def identity(x: Tensor, strength: Tensor, beside: Tensor) -> Tensor:
    """The image."""
    return x


def auto_contrast(x: Tensor, strength: Tensor, beside: Tensor) -> Tensor:
    """Of each channel the darkest value becomes 0 and the lightest 255."""
    # On the CPU: Pillow's numbers are of 64 bits, which not every device has.
    low, high = (v.cpu().double()[..., None] for v in (x.amin(dim=(2, 3)), x.amax(dim=(2, 3))))
    scale = 255 / (high - low)
    values = torch.arange(256, dtype=torch.float64)
    table = (values * scale - low * scale).clamp(0, 255)
    return _mapped(x, torch.where(high > low, table, values).to(x.device, torch.uint8))


def equalize(x: Tensor, strength: Tensor, beside: Tensor) -> Tensor:
    """Of each channel all values become about equally frequent."""
    k, c, h, w = x.shape
    counts = torch.zeros(k, c, 256, dtype=torch.int64, device=x.device)
    pixels = x.reshape(k, c, h * w).long()
    counts.scatter_add_(2, pixels, torch.ones_like(pixels))
    lightest = counts.gather(2, pixels.amax(dim=2, keepdim=True))
    step = (h * w - lightest) // 255
    below = counts.cumsum(dim=2) - counts
    table = ((step // 2 + below) // step.clamp(min=1)).clamp(max=255)
    values = torch.arange(256, device=x.device)
    return _mapped(x, torch.where(step > 0, table, values).to(torch.uint8))


def _mapped(x: Tensor, table: Tensor) -> Tensor:
    """Each value of each channel looked up, in a table uint8 `[k, c, 256]`."""
    k, c, h, w = x.shape
    return table.gather(2, x.reshape(k, c, h * w).long()).view(k, c, h, w)


def shear_x(x: Tensor, strength: Tensor, beside: Tensor) -> Tensor:
    """Each row is moved left by so many times its distance from the top."""
    return _warped(x, beside, b=strength)


def shear_y(x: Tensor, strength: Tensor, beside: Tensor) -> Tensor:
    """Each column is moved up by so many times its distance from the left."""
    return _warped(x, beside, d=strength)


def translate_x(x: Tensor, strength: Tensor, beside: Tensor) -> Tensor:
    """Moved left by a share of the width, in whole pixels."""
    return _warped(x, beside, c=(strength * x.shape[-1]).trunc())


def translate_y(x: Tensor, strength: Tensor, beside: Tensor) -> Tensor:
    """Moved up by a share of the height, in whole pixels."""
    return _warped(x, beside, f=(strength * x.shape[-2]).trunc())


def rotate(x: Tensor, strength: Tensor, beside: Tensor) -> Tensor:
    """Turned about its centre by so many degrees, against the clock."""
    angle = -strength.cpu().double() * math.pi / 180
    cos, sin = angle.cos(), angle.sin()
    mid_x, mid_y = x.shape[-1] / 2, x.shape[-2] / 2
    return _warped(
        x, beside,
        a=cos, b=sin, c=mid_x - cos * mid_x - sin * mid_y,
        d=-sin, e=cos, f=mid_y + sin * mid_x - cos * mid_y,
    )  # fmt: skip


def _warped(x: Tensor, beside: Tensor, **matrix: Tensor) -> Tensor:
    """Images made of pixels of these, column x and row y of `(a x + b y + c, d x + e y + f)`.

    Coordinates are of the middles of pixels; the nearest pixel is taken, and outside `beside`.
    """
    k, channels, h, w = x.shape
    # On the CPU, as in `auto_contrast`.
    rows = torch.arange(h, dtype=torch.float64)[None, :, None] + 0.5
    columns = torch.arange(w, dtype=torch.float64)[None, None, :] + 0.5
    usual = torch.tensor([1.0, 0, 0, 0, 1, 0]).expand(k, 6)
    a, b, c, d, e, f = (
        matrix.get(name, usual[:, place]).cpu().double()[:, None, None]
        for place, name in enumerate("abcdef")
    )
    from_column = (a * columns + b * rows + c).floor().long().expand(k, h, w)
    from_row = (d * columns + e * rows + f).floor().long().expand(k, h, w)
    inside = (from_column >= 0) & (from_column < w) & (from_row >= 0) & (from_row < h)
    place = (from_row * w + from_column).where(inside, 0).to(x.device)
    image = torch.arange(k, device=x.device)[:, None, None]
    found = x.permute(0, 2, 3, 1).reshape(k, h * w, channels)[image, place]
    inside = inside[..., None].to(x.device)
    return torch.where(inside, found, beside).permute(0, 3, 1, 2)


OPERATIONS: Mapping[str, Operation] = {
    "identity": identity,
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
    "rotate": rotate,
    "brightness": brightness,
    "color": color,
    "contrast": contrast,
    "sharpness": sharpness,
    "posterize": posterize,
    "solarize": solarize,
    "auto_contrast": auto_contrast,
    "equalize": equalize,
    "invert": invert,
}
"""By name; strengths are in units of their own, see each."""
