"""Predictors: from the encoding of an architecture to its score, and how good they are."""

from morphogen.core.ranking import kendall, overlap_at, precision_at, regret, spearman
from morphogen.predictors.encodings import encode_all
from morphogen.predictors.ensemble import Ensemble
from morphogen.predictors.estimators import KINDS, Estimator, PredictorKind, PredictorSizes, make
from morphogen.predictors.metrics import coverage, miscalibration
from morphogen.predictors.targets import Standard, finite

__all__ = [
    "KINDS",
    "Ensemble",
    "Estimator",
    "PredictorKind",
    "PredictorSizes",
    "Standard",
    "coverage",
    "encode_all",
    "finite",
    "kendall",
    "make",
    "miscalibration",
    "overlap_at",
    "precision_at",
    "regret",
    "spearman",
]
