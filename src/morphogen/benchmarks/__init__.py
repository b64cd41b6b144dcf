"""Tables of measured architectures, shipped with the package. No torch."""

from morphogen.benchmarks.shipped import NAMES, describe, load, of
from morphogen.benchmarks.table import Benchmark, Metric, Record

__all__ = ["NAMES", "Benchmark", "Metric", "Record", "describe", "load", "of"]
