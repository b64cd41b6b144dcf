"""Search spaces: the contract they keep, the registry, and how they are written and read."""

from morphogen.spaces.base import (
    Capability,
    DecisionPlan,
    Differentiable,
    Discrete,
    EdgeSelection,
    Encodable,
    OptionScores,
    Restrictable,
    SearchSpace,
    Weighing,
    capabilities,
    is_skip,
)
from morphogen.spaces.constrained import Constrained
from morphogen.spaces.drawing import different, fresh
from morphogen.spaces.mapping import needs_code, read
from morphogen.spaces.mask import SubspaceMask
from morphogen.spaces.module import ModuleSpace
from morphogen.spaces.references import Reference, reference_of, reference_within
from morphogen.spaces.registry import (
    SpaceInfo,
    about,
    broken,
    info,
    make,
    of_space,
    register,
    registered,
)

__all__ = [
    "Capability",
    "Constrained",
    "DecisionPlan",
    "Differentiable",
    "Discrete",
    "EdgeSelection",
    "Encodable",
    "ModuleSpace",
    "OptionScores",
    "Reference",
    "Restrictable",
    "SearchSpace",
    "SpaceInfo",
    "SubspaceMask",
    "Weighing",
    "about",
    "broken",
    "capabilities",
    "different",
    "fresh",
    "info",
    "is_skip",
    "make",
    "needs_code",
    "of_space",
    "read",
    "reference_of",
    "reference_within",
    "register",
    "registered",
]
