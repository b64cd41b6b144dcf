"""Weak predictors by name, in the manner of scikit-learn: `fit(x, y)`, `predict(x)`.

Sizes are those of WeakNAS (Wu et al., NeurIPS 2021, arXiv 2102.10490) and its authors' code, whose
gradient boosting is XGBoost's; here it is LightGBM with XGBoost's defaults where the two differ
(one row is enough for a leaf, L2 penalty 1), so the trees grow leaf by leaf and not level by level.
scikit-learn and LightGBM are imported when an estimator is made: they take seconds.
"""

from __future__ import annotations

import warnings
from typing import Annotated, Any, Literal, Protocol, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from morphogen.core import UnknownNameError
from morphogen.core.config import Count, Depth, Positive, Width, config

Inputs = NDArray[np.float32]
"""[rows, entries]"""

Values = NDArray[np.float64]

PredictorKind = Literal["mlp", "tree", "forest", "gbdt", "ridge"]
"""mlp: multi-layer perceptron; tree: one regression tree; forest: random forest; gbdt: gradient
boosted trees; ridge: linear regression with an L2 penalty."""

KINDS: tuple[str, ...] = get_args(PredictorKind)


@config
class MLPSizes:
    """Multi-layer perceptron: ReLU, Adam at 1e-3, squared loss, L2 penalty 1e-4, batch 200."""

    layers: Depth = 4
    """hidden layers (paper: 4)"""
    width: Width = 1000
    """units of a hidden layer (paper: 1000; 64 is 20 times faster on small tables)"""
    iterations: Count = 100
    """passes over the data at most (paper: 100); fewer if the loss stands still for 10"""


@config
class TreeSizes:
    """One regression tree."""

    depth: Depth = 20
    """greatest depth"""


@config
class ForestSizes:
    """Random forest."""

    trees: Count = 1000
    """trees (paper: 1000)"""
    depth: Depth = 10
    """greatest depth of a tree (paper: 10)"""


@config
class BoostingSizes:
    """Gradient boosting."""

    trees: Count = 1000
    """rounds, a tree each (paper: 1000)"""
    depth: Depth = 20
    """greatest depth of a tree (paper: 20)"""
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """shrinkage of each tree (paper: XGBoost's default, 0.3)"""


@config
class RidgeSizes:
    """Ridge regression."""

    penalty: Positive = 0.1
    """L2 penalty on the coefficients"""


@config
class PredictorSizes:
    """Sizes of each kind of predictor; only those of the chosen kind are used."""

    mlp: MLPSizes = MLPSizes()
    tree: TreeSizes = TreeSizes()
    forest: ForestSizes = ForestSizes()
    gbdt: BoostingSizes = BoostingSizes()
    ridge: RidgeSizes = RidgeSizes()


class Estimator(Protocol):
    """Fits scores to encodings, higher is better; the same seed gives the same predictions."""

    def fit(self, x: Inputs, y: Values) -> Self:
        """Fit from scratch to x [n, entries], y [n]; n is at least 1."""

    def predict(self, x: Inputs) -> Values:
        """Scores [rows] of x [rows, entries]."""


def make(kind: str, seed: int, sizes: PredictorSizes | None = None) -> Estimator:
    """A predictor that is not fitted yet.

    Args:
        kind: one of `KINDS`.
        seed: of its random choices, 0 to 2^32 - 1.
        sizes: by default those of the paper.

    Raises:
        UnknownNameError: there is no such kind.
    """
    sizes = sizes or PredictorSizes()
    if kind not in KINDS:
        raise UnknownNameError("predictor", kind, KINDS)
    if kind == "gbdt":
        return _Boosting(seed, sizes.gbdt)
    return _Sklearn(_sklearn(kind, seed, sizes))


def _sklearn(kind: str, seed: int, sizes: PredictorSizes) -> Any:
    if kind == "mlp":
        from sklearn.neural_network import MLPRegressor

        return MLPRegressor(
            hidden_layer_sizes=(sizes.mlp.width,) * sizes.mlp.layers,
            max_iter=sizes.mlp.iterations,
            random_state=seed,
        )
    if kind == "tree":
        from sklearn.tree import DecisionTreeRegressor

        return DecisionTreeRegressor(max_depth=sizes.tree.depth, random_state=seed)
    if kind == "forest":
        from sklearn.ensemble import RandomForestRegressor

        return RandomForestRegressor(
            n_estimators=sizes.forest.trees, max_depth=sizes.forest.depth, random_state=seed
        )
    from sklearn.linear_model import Ridge

    return Ridge(alpha=sizes.ridge.penalty)


class _Sklearn:
    """A scikit-learn regressor, in float32, without its remark that it could fit on."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def fit(self, x: Inputs, y: Values) -> Self:
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            # The paper's predictors are weak on purpose: they stop where they are told to.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model.fit(np.asarray(x, np.float32), np.asarray(y, np.float32))
        return self

    def predict(self, x: Inputs) -> Values:
        return np.asarray(self.model.predict(np.asarray(x, np.float32)), np.float64)


class _Boosting:
    """LightGBM on one thread, deterministic."""

    def __init__(self, seed: int, sizes: BoostingSizes) -> None:
        self.seed, self.sizes = seed, sizes
        self.model: Any = None

    def fit(self, x: Inputs, y: Values) -> Self:
        import lightgbm

        parameters = {
            "objective": "regression",
            "learning_rate": self.sizes.rate,
            "max_depth": self.sizes.depth,
            "num_leaves": max(2, min(len(y), 2 ** min(self.sizes.depth, 16))),
            "min_data_in_leaf": 1,
            "min_data_in_bin": 1,
            "lambda_l2": 1.0,
            "seed": self.seed % 2**31,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbose": -1,
        }
        data = lightgbm.Dataset(np.asarray(x, np.float32), np.asarray(y, np.float64))
        self.model = lightgbm.train(parameters, data, num_boost_round=self.sizes.trees)
        return self

    def predict(self, x: Inputs) -> Values:
        return np.asarray(self.model.predict(x, num_threads=1), np.float64)
