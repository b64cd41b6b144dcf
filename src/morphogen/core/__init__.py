"""Words of the field as values: choices, architectures, errors, names, random streams."""

from morphogen.core.architecture import Architecture, Choice
from morphogen.core.errors import (
    ArchitectureError,
    CapabilityError,
    CheckpointError,
    ConfigError,
    DataError,
    MorphogenError,
    NumericalError,
    OutOfMemoryError,
    RunError,
    SpaceError,
    UnknownNameError,
)

__all__ = [
    "Architecture",
    "ArchitectureError",
    "CapabilityError",
    "CheckpointError",
    "Choice",
    "ConfigError",
    "DataError",
    "MorphogenError",
    "NumericalError",
    "OutOfMemoryError",
    "RunError",
    "SpaceError",
    "UnknownNameError",
]
