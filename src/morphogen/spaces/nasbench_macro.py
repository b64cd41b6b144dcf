"""NAS-Bench-Macro: eight layers, three blocks; 3^8 = 6,561 architectures.

Su et al., "Prioritized Architecture Sampling with Monte-Carlo Tree Search", CVPR 2021, arXiv
2103.11922. The notation is one digit per layer, input to output: `0` identity, `1` MB3_K3, `2`
MB6_K5 (MobileNetV2 blocks of expansion 3 and kernel 3, of expansion 6 and kernel 5).
"""

from __future__ import annotations

from morphogen.core import Architecture, Choice
from morphogen.spaces.layered import GROUP, Layered, layer_name
from morphogen.spaces.registry import register

OPERATIONS = ("identity", "MB3_K3", "MB6_K5")
"""In the benchmark's own order: the position is the digit of the notation."""

LAYERS = 8


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
class NASBenchMacro(Layered):
    """The space of NAS-Bench-Macro: one of three blocks in each of eight layers.

    Layers 1, 3 and 6 halve the image and double the channels; there, identity is a strided 1x1
    convolution.
    """

    operations = OPERATIONS

    def __init__(self) -> None:
        super().__init__(
            "nasbench-macro",
            [Choice(layer_name(i), OPERATIONS, GROUP) for i in range(1, LAYERS + 1)],
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
