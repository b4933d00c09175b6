"""Moments of rows the short way and the long one, their derivatives, and branches of whole batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softtypes.surrogates import platform
from softtypes.surrogates.standardize import moments, tally

N = 40


@pytest.fixture(params=["short", "long"])
def way(request, monkeypatch):
    monkeypatch.setattr(platform, "BRANCHING", 0 if request.param == "short" else 2**60)


def found(x, where=None):
    """Mean and variance as float64, and how many entries count."""
    out = tally(x, where)
    factor, mean, variance, softened = (np.asarray(part, np.float64) for part in moments(x, out))
    return mean, variance / factor**2, np.asarray(out.count), softened


def ordinary() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(6, N)).astype(np.float32)


BAD = {
    "NaN": np.r_[np.nan, np.arange(N - 1)],
    "infinities": np.r_[np.inf, -np.inf, np.arange(N - 2)],
    "constant": np.full(N, 0.1),
    "zero": np.zeros(N),
    "huge": np.linspace(-1e30, 1e30, N),
    "tiny": np.linspace(-1e-30, 1e-30, N),
    "one unit in a million": np.r_[1e6 + 5, np.full(N - 1, 1e6)],
    "beyond the squares": np.linspace(1e25, 1.0001e25, N),
}


@pytest.mark.parametrize("bad", BAD)
def test_both_ways_and_any_neighbour_give_the_same_bits(bad, monkeypatch):
    """The short way is for batches of ordinary rows: which way it goes must not show."""
    mixed = np.concatenate([ordinary(), BAD[bad][None].astype(np.float32)])
    results = []
    for entries in (0, 2**60):
        monkeypatch.setattr(platform, "BRANCHING", entries)
        same = found(jnp.asarray(np.concatenate([ordinary(), ordinary()[:1]])))
        other = found(jnp.asarray(mixed))
        for one, two in zip(same, other, strict=True):
            np.testing.assert_array_equal(one[:6], two[:6])
        results.append(other)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("bad", BAD)
def test_the_moments_are_those_of_what_is_finite(bad, way):
    row = BAD[bad].astype(np.float32)
    mean, variance, count, softened = found(jnp.asarray(row))
    finite = row[np.isfinite(row)].astype(np.float64)
    assert count == finite.size
    np.testing.assert_allclose(mean, finite.mean(), rtol=1e-6, atol=1e-6 * np.abs(finite).max())
    np.testing.assert_allclose(variance, 0 if bad == "constant" else finite.var(), rtol=1e-4)
    if bad not in ("huge", "tiny", "beyond the squares"):
        np.testing.assert_allclose(softened, variance + 1e-4, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e10])
def test_their_derivatives_are_those_of_mean_and_variance(scale, way, x64):
    x = scale * jnp.asarray(ordinary(), jnp.float64)[0]
    where = jnp.arange(N) % 3 > 0

    def ours(x, where=None):
        factor, mean, variance, _ = moments(x, tally(x, where))
        return jnp.concatenate([mean, variance / factor**2])

    def plain(x):
        return jnp.stack([x.mean(), x.var()])

    for derivative in (jax.jacfwd, jax.jacrev, jax.hessian):
        expected = derivative(plain)(x)
        np.testing.assert_allclose(derivative(ours)(x), expected, rtol=1e-10, atol=1e-12 * jnp.abs(expected).max())
    masked = jax.jacrev(lambda x: ours(x, where))(x)
    np.testing.assert_allclose(masked[:, where], jax.jacrev(plain)(x[where]), rtol=1e-10)
    assert (masked[:, ~where] == 0).all()


def test_a_branch_is_one_for_all_of_a_batch():
    pick = lambda x, y: platform.branch(x > 0, lambda x, y: x + y, lambda x, y: x - y, x, y)
    rows, one = jnp.arange(1.0, 7).reshape(2, 3), jnp.float32(10)
    inner = jax.vmap(pick, (0, None))
    for batched in (jax.vmap(inner, (0, None)), jax.jit(jax.vmap(inner, (0, None)))):
        np.testing.assert_array_equal(batched(rows, one), rows + 10)
        np.testing.assert_array_equal(batched(rows - 1, one), rows - 11)
    program = jax.jit(jax.vmap(inner, (0, None))).lower(rows, one).as_text()
    assert program.count("stablehlo.case") == 1
    assert "stablehlo.select" not in program
