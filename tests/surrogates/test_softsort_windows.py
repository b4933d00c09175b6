"""SoftSort's sparse modes by moments of windows: those of the matrix, in value and derivatives and both precisions."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft
from softtypes.surrogates import simplex, softsort, windows
from softtypes.surrogates.sparse_means import sparse_means

slow = pytest.mark.slow


@pytest.fixture
def double_precision():
    with jax.enable_x64(True):
        yield


def points():
    """Three rows of 37: generic, with many ties, constant; some masses are 0. No window ends at a point."""
    rng = np.random.default_rng(0)
    keys = np.sort(rng.normal(size=(3, 37)), -1)
    keys[1], keys[2] = keys[1].round(1), 1
    values, masses = rng.normal(size=(3, 37)), (rng.random((3, 37)) < 0.9).astype(float)
    return tuple(map(jnp.asarray, (keys, [[0.31], [0.477], [0.1]], values, masses)))


def by_matrix(power, keys, unit, values, masses):
    places = np.arange(keys.shape[-1])
    gaps = keys[..., :, None] - keys[..., None, :]
    distances = jnp.where((places[:, None] > places[None])[None], gaps, -gaps)
    weights = simplex.sparse(jnp.where(masses[..., None, :] > 0, -distances, -jnp.inf), unit[..., None], power)
    return (weights * values[..., None, :]).sum(-1)


def derivatives(means, power, order):
    """Of the means against a fixed direction, at `points`: the value, the gradient, the change of the gradient."""
    keys, unit, values, masses = points()
    probe = jnp.cos(jnp.arange(float(keys.size))).reshape(keys.shape)
    # where nothing is near that counts the value is free
    total = lambda *three: (means(power, *three, masses) * probe * masses).sum()
    gradient = jax.grad(total, (0, 1, 2))
    runs = [lambda *three: means(power, *three, masses) * masses, gradient]
    if order == 2:
        runs.append(lambda *three: jax.jvp(gradient, three, (probe, unit, keys))[1])
    return jax.jit(lambda *three: [run(*three) for run in runs])(keys, unit, values)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(("power", "order"), [(1, 1), *(pytest.param(power, 2, marks=slow) for power in (1, 2, 3))])
def test_means_and_their_derivatives_are_the_matrixs(power, order):
    ours, exact = (jax.tree.leaves(derivatives(means, power, order)) for means in (sparse_means, by_matrix))
    for one, other in zip(ours, exact, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11 * np.abs(other).max())


@pytest.mark.usefixtures("double_precision")
def test_moments_of_every_window():
    n, batch = 13, 2
    x, v, m = np.random.default_rng(1).normal(size=(3, batch, n))
    x.sort()
    low, high = np.array([(a, b) for b in range(n + 1) for a in range(b + 1)], "int32").T
    ends = np.repeat(np.stack([low, high])[..., None], batch * n, -1)  # each window for each point of either row

    @jax.jit
    def run(x, v, m):
        rows = windows.rows(x, jnp.array([[8.0], [4.0]]))
        return windows.moments(rows, windows.table(rows, v, m, degree=2), jnp.asarray(ends))

    origins, sums = run(*map(jnp.asarray, (x, v, m)))
    sums = np.reshape(sums, (2, 3, *origins.shape))
    for row, unit in enumerate((8, 4)):
        found = origins[..., n * row], sums[..., n * row]
        np.testing.assert_array_equal(origins[..., n * row : n * (row + 1)], found[0][..., None].repeat(n, -1))
        for a, b, origin, parts in zip(low, high, found[0].T, np.moveaxis(found[1], -1, 0), strict=True):
            middle = origin[0] + 1 if a < b and parts[..., 0].any() else a
            for end, part in enumerate((slice(a, middle), slice(middle, b))):
                o = min(origin[end], n - 1)
                far = np.abs(x[row, part] - x[row, o])[:, None] / unit
                powers = m[row, part, None] * far ** np.arange(3)
                exact = powers.sum(0), (powers * (v[row, part] - v[row, o])[:, None]).sum(0)
                np.testing.assert_allclose(parts[..., end], exact, atol=1e-14)


def rows():
    """Of 40 entries: generic, rounded so that many tie, constant; and with infinities, NaN."""
    x = np.random.default_rng(1).normal(size=(4, 40))
    x[1] = x[1].round(1)
    x[2] = 3
    x[3, [4, 9, 30]] = np.inf, -np.inf, np.nan
    return x


OPERATORS: dict[str, Callable[..., Any]] = {
    "sort": partial(sft.sort, algorithm="softsort"),
    "descending, as it is": partial(sft.sort, descending=True, standardize=False, algorithm="softsort"),
    "rank": partial(sft.rank, axis=-1, algorithm="softsort"),
}


@pytest.mark.usefixtures("double_precision")
@slow
@pytest.mark.parametrize("mode", ["c0", "c1", "c2"])
def test_operators_without_a_matrix_are_those_with_one(mode, monkeypatch):
    x, softness = jnp.asarray(rows()), jnp.array([0.11, 0.033, 0.1, 1e-3])[:, None]
    where = np.random.default_rng(2).random(x.shape) < 0.8
    finite = np.isfinite(rows())
    probe = jnp.cos(jnp.arange(float(x.size))).reshape(x.shape)

    def everything():
        def total(x, s):
            out = {name: fn(x, softness=s, mode=mode, where=where) for name, fn in OPERATORS.items()}
            return {name: jnp.where(jnp.isfinite(y), y * probe, 0).sum() for name, y in out.items()}, out

        return jax.jit(jax.jacrev(total, (0, 1), has_aux=True))(x, softness)

    gradients, out = everything()
    monkeypatch.setattr(softsort, "SMALL", 100)
    exact_gradients, exact = everything()
    for name in OPERATORS:
        np.testing.assert_allclose(out[name], exact[name], rtol=1e-12, atol=1e-12, err_msg=name)
        for ours, theirs in zip(gradients[name], exact_gradients[name], strict=True):
            assert np.isfinite(np.asarray(theirs)[..., finite] if theirs.shape == x.shape else theirs).all()
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9, err_msg=name)


def test_ties_have_the_derivative_of_their_neighbourhood():
    """Of two entries alone `rank = 1.5 +- (y - x) / (2 softness)` within reach of each other, which ties are."""
    pairs, upper = jnp.repeat(jnp.arange(10.0), 2), jnp.tile(jnp.array([0.0, 1.0]), 10)
    rank = lambda x: OPERATORS["rank"](x, softness=0.25, mode="c0", standardize=False)
    total = lambda x: ((rank(x) * upper).sum(), rank(x))
    gradient, ranked = jax.jit(jax.grad(total, has_aux=True))(pairs)
    np.testing.assert_allclose(ranked, 2 * pairs + 1.5, rtol=1e-6)
    np.testing.assert_allclose(gradient, 4 * upper - 2, rtol=1e-6)


def test_single_precision_is_accurate():
    """A generic row and one with many ties, not standardised: the keys of both precisions are then the same."""
    x = np.random.default_rng(3).normal(size=(2, 1000)).astype("float32")
    x[1] = x[1].round(1)
    probe = np.cos(np.arange(1000) + np.arange(2)[:, None])

    @jax.jit
    def run(x):
        value, pull = jax.vjp(lambda x: OPERATORS["rank"](x, softness=0.33, mode="c2", standardize=False), x)
        return value, pull(probe.astype(x.dtype))[0]

    value, gradient = run(jnp.asarray(x))
    with jax.enable_x64(True):
        exact_value, exact_gradient = run(jnp.asarray(x, "float64"))
    np.testing.assert_allclose(value, exact_value, atol=1e-6 * 1000)
    np.testing.assert_allclose(gradient, exact_gradient, atol=1e-5 * np.abs(exact_gradient).max())


def test_no_softness_and_the_smallest_have_finite_gradients():
    x = jnp.asarray(np.random.default_rng(5).normal(size=(3, 20)), "float32")
    total = lambda x, s: OPERATORS["sort"](x, softness=s, mode="c2").sum()
    for gradient in jax.jit(jax.grad(total, (0, 1)))(x, jnp.array([[0.0], [1e-38], [1e30]])):
        assert np.isfinite(gradient).all()


@slow
def test_transforms():
    """vmap over softness, checkpoint, shard_map and forward mode are the plain gradient."""
    x = jnp.asarray(np.random.default_rng(6).normal(size=(2, 20)))
    total = lambda x: jnp.sin(OPERATORS["sort"](x, softness=0.1, mode="c1")).sum()
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("d",))
    spec = jax.sharding.PartitionSpec("d")
    mapped = jax.shard_map(
        partial(OPERATORS["sort"], softness=0.1, mode="c1"), mesh=mesh, in_specs=spec, out_specs=spec
    )
    exact = jax.jit(jax.grad(total))(x)
    each = lambda row, s: jax.grad(lambda row: jnp.sin(OPERATORS["sort"](row, softness=s, mode="c1")).sum())(row)
    others = (
        jax.jit(jax.grad(jax.checkpoint(total)))(x),
        jax.jit(jax.grad(lambda x: jnp.sin(mapped(x)).sum()))(x),
        jax.jit(jax.jacfwd(total))(x),
        jax.jit(jax.vmap(each))(x, jnp.full(2, 0.1)),
    )
    for gradient in others:
        np.testing.assert_allclose(gradient, exact, atol=1e-5)


@slow
def test_a_long_row():
    """2^15 entries, whose matrix would take 4 GB; a window of 1 / 8 of the row."""
    n = 2**15
    x = jnp.asarray(np.random.default_rng(4).permutation(n), "float32")
    run = jax.jit(jax.vjp, static_argnums=0).lower(partial(OPERATORS["rank"], softness=1e-5, mode="c2"), x).compile()
    analysis = run.memory_analysis()
    assert analysis
    assert analysis.temp_size_in_bytes < 200 * 2**20
    rank, pull = run(x)
    np.testing.assert_allclose(rank, x + 1, atol=1)
    assert np.isfinite(pull(jnp.ones_like(rank))[0]).all()


@pytest.mark.parametrize("shape", [(1, 3, 1), (2, 1, 1), (3, 1)])
def test_a_softness_along_one_axis_of_the_batch(shape):
    x = jnp.asarray(np.random.default_rng(3).normal(size=(2, 3, 20)), jnp.float32)
    softness = jnp.linspace(0.1, 0.3, max(shape), dtype=jnp.float32).reshape(shape)
    relaxed = lambda x, s: sft.sort(sft.soft(x, s, "c0", algorithm="softsort"), axis=-1).soft()
    every = jnp.broadcast_to(softness, (2, 3, 1)).reshape(6, 1)
    alone = [relaxed(row, s) for row, s in zip(x.reshape(6, 20), every, strict=True)]
    np.testing.assert_allclose(relaxed(x, softness).reshape(6, 20), alone, rtol=1e-5, atol=1e-6)
