"""The smooth permutahedron: its bounds, its optimality, derivatives and limits."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softtypes.surrogates import smooth_sort

pytestmark = pytest.mark.slow

DATA = np.array([[0.42, 0.22, 0.97, 0.57, 0.31], [-0.3, 1.2, 0.4, 0.45, 0.41]])
OPERATORS = {"sort": smooth_sort.soft_sort, "rank": smooth_sort.soft_rank}
COMPILED = {name: jax.jit(fn) for name, fn in OPERATORS.items()}
both = pytest.mark.parametrize("name", OPERATORS)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def bounds(w, tau):
    """`-tau log sum over subsets of size k of exp(-sum / tau)`, `k = 1 .. n`, by enumeration."""
    sums = ([sum(s) for s in combinations(w, k)] for k in range(1, len(w) + 1))
    return np.array([-tau * np.logaddexp.reduce(-np.array(s) / tau) for s in sums])


@pytest.mark.parametrize("softness", [0.05, 0.5, 3.0])
def test_the_sorted_values_are_optimal(softness):
    for w in DATA:
        y = np.asarray(COMPILED["sort"](jnp.asarray(w), softness))
        bound = bounds(w, min(softness, 1))
        slack, gaps = (np.cumsum(y) - bound)[:-1], np.diff(y)
        np.testing.assert_allclose(y.sum(), w.sum(), rtol=1e-14)
        assert (slack > 0).all()
        assert (gaps > 0).all()
        # Stationary along the directions that keep the sum: gradient of the objective, up to a constant.
        onto_slack = np.append(np.cumsum(-np.log(slack)[::-1])[::-1], 0)
        onto_gaps = np.diff(np.pad(np.log(gaps), 1))
        gradient = np.arange(5) / 4 / softness + onto_slack + onto_gaps
        np.testing.assert_allclose(gradient, gradient.mean(), atol=1e-7 / slack.min())


@both
def test_derivatives_are_those_of_finite_differences(name):
    fn = OPERATORS[name]
    reverse = jax.jacrev(fn)
    derivatives = jax.jit(
        lambda z, s: (fn(z, s), reverse(z, s), jax.jacfwd(fn)(z, s), jax.jacfwd(fn, 1)(z, s), jax.jacfwd(reverse)(z, s))
    )
    z, softness, h = jnp.asarray(DATA[0]), 0.4, 1e-6
    _, jacobian, forward, by_softness, hessian = derivatives(z, softness)
    pairs = [[derivatives(z + t * row, softness) for t in (h, -h)] for row in np.eye(5)]
    across = [[derivatives(z, softness + t) for t in (h, -h)]]
    slope = lambda k, pairs: np.stack([(up[k] - down[k]) / (2 * h) for up, down in pairs], axis=-1)
    np.testing.assert_allclose(jacobian, slope(0, pairs), atol=1e-7)
    np.testing.assert_allclose(by_softness, slope(0, across)[:, 0], atol=1e-7)
    np.testing.assert_allclose(forward, jacobian, atol=1e-10)
    np.testing.assert_allclose(hessian, slope(1, pairs), atol=1e-5)


@both
def test_rows_do_not_meet(name):
    z, softness = jnp.asarray(DATA), jnp.array([0.1, 2.0])
    batch = COMPILED[name](z, softness)
    np.testing.assert_allclose(jax.jit(jax.vmap(OPERATORS[name]))(z, softness), batch, rtol=1e-9)
    np.testing.assert_allclose(np.stack(list(map(COMPILED[name], z, softness))), batch, rtol=1e-9)


@both
def test_a_masked_element_is_dropped(name):
    mask = np.array([True, False, True, True, False])
    spoilt = jnp.where(mask, DATA[0], jnp.array([0, np.nan, 0, 0, np.inf]))
    value, pull = jax.vjp(lambda z: COMPILED[name](z, 0.3, mask), spoilt)
    where = mask if name == "rank" else np.arange(5) < 3
    np.testing.assert_allclose(value[where], COMPILED[name](jnp.asarray(DATA[0][mask]), 0.3), rtol=1e-9)
    np.testing.assert_array_equal(value[~where], 0)
    gradient = pull(jnp.cos(jnp.arange(5.0)))[0]
    np.testing.assert_array_equal(gradient[~mask], 0)
    assert np.isfinite(gradient).all()


def test_ties_share_a_rank():
    np.testing.assert_allclose(COMPILED["rank"](jnp.ones(3), 0.1), 2)
    ranks = COMPILED["rank"](jnp.array([0.3, 0.7, 0.3]), 0.1)
    assert ranks[0] == ranks[2]


def test_the_hard_limit_and_extremes():
    z = jnp.asarray(DATA)
    # the bounds are off by softness * exp(-gap / softness), and the smallest gap is 0.01
    np.testing.assert_allclose(COMPILED["sort"](z, jnp.full(2, 2e-4)), np.sort(DATA), atol=1e-9)
    closest = np.abs(COMPILED["sort"](z, jnp.full(2, 1e-3)) - np.sort(DATA)).max()
    np.testing.assert_allclose(closest, 1e-3 * np.exp(-0.01 / 1e-3), rtol=1e-3)
    np.testing.assert_allclose(COMPILED["rank"](z, jnp.full(2, 1e-4)), np.argsort(np.argsort(DATA)) + 1, atol=1e-9)
    single = z.astype(jnp.float32)
    for fn in COMPILED.values():
        for softness in (1e-30, 1e30):
            value, pull = jax.vjp(lambda z, fn=fn: fn(z, jnp.full(2, softness, jnp.float32)), single)  # noqa: B023
            assert np.isfinite(value).all()
            assert np.isfinite(pull(jnp.ones_like(value))[0]).all()


@both
def test_single_and_half_precision(name):
    z = jnp.asarray(DATA, jnp.float32)
    for softness in (0.01, 0.3, 3.0):
        softness = jnp.full(2, softness, jnp.float32)
        wide = COMPILED[name](z.astype(jnp.float64), softness.astype(jnp.float64))
        np.testing.assert_allclose(COMPILED[name](z, softness), wide, atol=2e-5)
    assert OPERATORS[name](z.astype(jnp.bfloat16), 0.3).dtype == jnp.bfloat16


@pytest.mark.parametrize("n", [0, 1, 2])
def test_short_rows(n):
    z = jnp.arange(float(n))[::-1]
    np.testing.assert_allclose(OPERATORS["sort"](z, 1e-3), np.arange(n), atol=1e-9)
    np.testing.assert_allclose(OPERATORS["rank"](z, 1e-3), np.arange(n, 0, -1), atol=1e-9)
