"""Rows that the tests of NeuralSort look at, and how close two answers to them are."""

import jax
import numpy as np
import pytest


@pytest.fixture
def double_precision():
    with jax.enable_x64(True):
        yield


def rows(n: int) -> np.ndarray:
    """Generic, rounded so that many tie, constant, and with infinities and NaN."""
    x = np.random.default_rng(0).normal(size=(4, n))
    x[1] = x[1].round(1)
    x[2] = 3
    x[3, [4, 9, 30]] = np.inf, -np.inf, np.nan
    return x


def close(ours, exact, tolerance, name=""):
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(exact), strict=True):
        scale = np.abs(np.asarray(other)).max(initial=1e-3, where=np.isfinite(other))
        np.testing.assert_allclose(one, other, atol=tolerance * scale, err_msg=name)
