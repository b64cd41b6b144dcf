"""NAS-Bench-Macro: eight layers, three blocks; 3^8 = 6,561 architectures.

Su et al., "Prioritized Architecture Sampling with Monte-Carlo Tree Search", CVPR 2021, arXiv
2103.11922. The notation is one digit per layer, input to output: `0` identity, `1` MB3_K3, `2`
MB6_K5 (MobileNetV2 blocks of expansion 3 and kernel 3, of expansion 6 and kernel 5).
"""

from __future__ import annotations

from morphogen.core import Architecture, ArchitectureError, Choice
from morphogen.core.names import brief
from morphogen.spaces.base import Differentiable, SearchSpace
from morphogen.spaces.printed import digits_of
from morphogen.spaces.registry import register

OPERATIONS = ("identity", "MB3_K3", "MB6_K5")
"""In the benchmark's own order: the position is the digit of the notation."""

LAYERS = 8


def layer_name(layer: int) -> str:
    """Name of the choice of the `layer`-th layer, 1 to 8 from the input."""
    return f"layer_{layer}"


@register(
    "nasbench-macro",
    supernet="morphogen.supernets.nasbench_macro",
    drawing="layers",
    network={"channels": 32},
    search={
        "network.channels": 32,
        "task.image_size": 0,
        "split.train_images": 25000,
        "split.valid_images": 25000,
    },
    table="nasbench-macro",
    reference="2" * LAYERS,
    reference_name="MB6_K5 in every layer",
    reference_reason="the block of MobileNetV2's own expansion, 6, everywhere: the largest network "
    "of the space, which asks for no search",
)
class NASBenchMacro(SearchSpace, Differentiable):
    """The space of NAS-Bench-Macro: one of three blocks in each of eight layers.

    Layers 1, 3 and 6 halve the image and double the channels; there, identity is a strided 1x1
    convolution.
    """

    def __init__(self) -> None:
        super().__init__(
            "nasbench-macro",
            [Choice(layer_name(i), OPERATIONS, "layers") for i in range(1, LAYERS + 1)],
        )

    def remarks(self, arch: Architecture) -> tuple[str, ...]:
        """Says so when most layers are identities."""
        plain = sum(kept == ("identity",) for kept in self.check(arch).values())
        if 2 * plain <= LAYERS:
            return ()
        return (
            f"{plain} of the {LAYERS} layers are identities: little is left that learns, and the "
            "table has all such networks in its lower half",
        )

    def format(self, arch: Architecture) -> str:
        """The benchmark's notation: eight digits, e.g. `00120212`."""
        arch = self.check(arch)
        return "".join(str(OPERATIONS.index(arch.one(c.name))) for c in self.choices)

    def read(self, text: str) -> Architecture:
        """Read eight digits of 0, 1 and 2, or a list of them.

        Raises:
            ArchitectureError: says what else was found.
        """
        digits = digits_of(text)
        if len(digits) != LAYERS or set(digits) - set("012"):
            raise ArchitectureError(
                f"cannot read architecture {brief(text)}; accepted: {LAYERS} digits, one per "
                "layer: " + ", ".join(f"{i} = {name}" for i, name in enumerate(OPERATIONS))
            )
        return self.check(
            Architecture(
                {layer_name(i): OPERATIONS[int(digit)] for i, digit in enumerate(digits, start=1)}
            )
        )
