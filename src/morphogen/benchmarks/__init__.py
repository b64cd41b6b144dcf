"""Tables of measured architectures, shipped with the package. No torch."""

from morphogen.benchmarks.lookup import of
from morphogen.benchmarks.shipped import NAMES, describe, load
from morphogen.benchmarks.table import Benchmark, Metric, Record

__all__ = ["NAMES", "Benchmark", "Metric", "Record", "describe", "load", "of"]
