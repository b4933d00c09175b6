"""Projection onto the permutahedron: optimality, derivatives, symmetry and limits."""

from functools import cache
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softtypes.surrogates import permutahedron

pytestmark = pytest.mark.slow

MODES = permutahedron.MODES
OPERATORS = ("soft_sort", "soft_rank")
every_mode = pytest.mark.parametrize("mode", MODES)
each_kind = pytest.mark.parametrize(
    "mode", ["smooth", "c0", *(pytest.param(mode, marks=pytest.mark.exhaustive) for mode in ("c1", "c2"))]
)
both = pytest.mark.parametrize("name", OPERATORS)

ORDER = {"c0": 1, "c1": 2, "c2": 3}
DATA = np.array([[0.42, 0.22, 0.97, 0.57, 0.31], [-0.3, 1.2, 0.4, 0.45, 0.41], [0.7, 0.7, 0.1, 0.7, 0.2]])


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@cache
def operator(name, mode, jit=True):
    """`(z, softness, mask) -> values`, compiled once per mode."""
    fn = lambda z, softness, mask: getattr(permutahedron, name)(z, softness, mode, mask)
    return jax.jit(fn) if jit else fn


def whole(name, mode):
    """The operator without a mask, of all of `z`."""
    return lambda z, softness: operator(name, mode)(z, softness, jnp.ones(z.shape, bool))


def primal(y, mode):
    """The point that lies in the permutahedron."""
    return np.exp(y) if mode == "smooth" else np.asarray(y)


def dual(y, mode):
    """The regulariser's gradient at the projection."""
    return np.asarray(y) if mode == "smooth" else np.sign(y) * np.abs(y) ** (1 / ORDER[mode])


@every_mode
@pytest.mark.parametrize("softness", [0.05, 0.4, 3.0])
def test_projection_is_optimal_against_every_vertex(mode, softness):
    rng = np.random.default_rng(0)
    z, w = rng.normal(size=(2, 6, 4))
    y = permutahedron.project(jnp.asarray(z), jnp.asarray(w), softness, mode)
    vertices = np.stack([primal(w, mode)[:, list(order)] for order in permutations(range(4))])
    gradient = z / softness - dual(y, mode)
    ascent = np.einsum("rn,vrn->vr", gradient, vertices - primal(y, mode))
    assert ascent.max() < 1e-10
    low, high = (np.cumsum(np.sort(primal(x, mode)), axis=-1) for x in (w, y))
    assert (high >= low - 1e-12).all()
    np.testing.assert_allclose(high[:, -1], low[:, -1])


def test_isotonic_regression_is_the_minimax_of_means():
    rng = np.random.default_rng(1)
    s = np.sort(np.round(rng.normal(size=70), 1))
    w = np.sort(rng.normal(size=70))
    sums = np.pad(np.cumsum(s - w), (1, 0))
    means = lambda i, j: (sums[j] - sums[i]) / (j - i)
    lowest = lambda i, k: min(means(i, j) for j in range(k + 1, 71))
    expected = [max(lowest(i, k) for i in range(k + 1)) for k in range(70)]
    np.testing.assert_allclose(permutahedron.isotonic_regression(jnp.asarray(s), jnp.asarray(w)), expected, atol=1e-12)


@every_mode
def test_long_rows_are_optimal(mode):
    """Feasible, ascending, and each block ends where its bound is tight; vertices of both signs, ties, outliers."""
    rng = np.random.default_rng(3)
    z, w = rng.normal(size=(2, 3, 300))
    w[1], w[2, :2], z[2] = np.round(w[1], 1), (9, -7), z[2] / 50
    softness = 1.0
    y = jax.jit(lambda z, w: permutahedron.project(z, w, softness, mode))(jnp.asarray(z), jnp.asarray(w))
    z, y, w = np.sort(z), np.sort(y), np.sort(w)
    rises = np.diff(z / softness - dual(y, mode))
    assert rises.min() > -1e-10
    slack = np.cumsum(primal(y, mode) - primal(w, mode), axis=-1)
    np.testing.assert_allclose(slack[:, -1], 0, atol=1e-9)
    assert slack.min() > -1e-9
    assert ((rises < 1e-9) | (slack[:, :-1] < 1e-9)).all()
    assert (rises < 1e-9).any()
    assert (rises > 1e-3).any()


def test_values_in_order_are_not_sorted_again():
    z, count, softness = np.sort(DATA[0]), np.array([3], np.int32), np.array([0.3])
    first = jnp.arange(DATA.shape[-1]) < 3
    for known, name in ((permutahedron.ranks_in_order, "soft_rank"), (permutahedron.sorted_values, "soft_sort")):
        given = jax.jit(lambda z, known=known: known(z, count, softness, "c0"))(z)[:3]
        np.testing.assert_array_equal(given, operator(name, "c0")(z, 0.3, first)[:3])


@every_mode
@both
def test_derivatives_are_those_of_finite_differences(name, mode):
    plain = operator(name, mode, jit=False)
    fn = lambda z, softness: plain(z, softness, jnp.ones(5, bool))
    z, softness = jnp.asarray(DATA[0]), 0.7 if name == "soft_rank" else 1.3
    reverse = jax.jacrev(fn)
    derivatives = jax.jit(
        lambda z, s: (fn(z, s), reverse(z, s), jax.jacfwd(fn)(z, s), jax.jacfwd(fn, 1)(z, s), jax.jacfwd(reverse)(z, s))
    )
    _, jacobian, forward, by_softness, hessian = derivatives(z, softness)
    h = 1e-6
    along = lambda i: [derivatives(z + t * np.eye(5)[i], softness) for t in (h, -h)]
    pairs = [along(i) for i in range(5)] + [[derivatives(z, softness + t) for t in (h, -h)]]
    slope = lambda k, pairs: np.stack([(up[k] - down[k]) / (2 * h) for up, down in pairs], axis=-1)
    np.testing.assert_allclose(jacobian, slope(0, pairs[:5]), atol=1e-7)
    np.testing.assert_allclose(by_softness, slope(0, pairs[5:])[:, 0], atol=1e-7)
    np.testing.assert_allclose(forward, jacobian, atol=1e-12)
    np.testing.assert_allclose(hessian, slope(1, pairs[:5]), atol=1e-5)


@each_kind
def test_rows_do_not_meet(mode):
    softness = jnp.array([0.1, 1.0, 5.0])
    for name in OPERATORS:
        batch = whole(name, mode)(jnp.asarray(DATA), softness)
        rows = [whole(name, mode)(jnp.asarray(row), s) for row, s in zip(DATA, softness, strict=True)]
        np.testing.assert_allclose(batch, np.stack(rows), rtol=1e-12)
        mapped = jax.jit(jax.vmap(operator(name, mode, jit=False)))
        np.testing.assert_allclose(mapped(DATA, softness, DATA < 9), batch, rtol=1e-12)


@each_kind
@both
def test_a_masked_element_is_dropped(name, mode):
    mask = np.array([True, False, True, True, False])
    spoilt = jnp.where(mask, DATA[0], jnp.array([0, np.nan, 0, 0, np.inf]))
    kept = jnp.asarray(DATA[0][mask])
    got, pull = jax.vjp(lambda z: operator(name, mode)(z, 0.3, mask), spoilt)
    expected = whole(name, mode)(kept, 0.3)
    where = mask if name == "soft_rank" else np.arange(5) < 3
    np.testing.assert_allclose(got[where], expected, rtol=1e-12)
    np.testing.assert_array_equal(got[~where], 0)
    gradient = pull(jnp.cos(jnp.arange(5.0)))[0]
    np.testing.assert_array_equal(gradient[~mask], 0)
    assert np.isfinite(gradient).all()


@each_kind
def test_ties_share_their_ranks_and_their_gradients(mode):
    z = jnp.asarray(DATA[2])
    for name in OPERATORS:
        for softness in (0.01, 0.5, 5.0):
            value, pull = jax.vjp(lambda z: whole(name, mode)(z, softness), z)  # noqa: B023
            cotangent = jnp.where(z == 0.7, 1.0, z) if name == "soft_rank" else jnp.arange(5.0)
            gradient = pull(cotangent)[0]
            np.testing.assert_allclose(gradient[z == 0.7], gradient[0], atol=1e-12)
            if name == "soft_rank":
                np.testing.assert_allclose(value[z == 0.7], value[0], rtol=1e-12)
    # The log-KL projection keeps the sum of exp(ranks / 2), the others that of the ranks.
    expected = 2 * np.log(np.exp(np.arange(1, 4) / 2).mean()) if mode == "smooth" else 2
    np.testing.assert_allclose(whole("soft_rank", mode)(jnp.ones(3), 0.1), expected)


@each_kind
def test_the_hard_limit_is_exact_and_extremes_are_finite(mode):
    z = jnp.asarray(DATA[:2])
    np.testing.assert_array_equal(whole("soft_sort", mode)(z, 1e-4), np.sort(DATA[:2]))
    np.testing.assert_allclose(whole("soft_rank", mode)(z, 1e-4), np.argsort(np.argsort(DATA[:2])) + 1, rtol=1e-15)
    cotangent = jnp.cos(jnp.arange(15, dtype=jnp.float32)).reshape(3, 5)
    for name in OPERATORS:
        plain = operator(name, mode, jit=False)
        pair = lambda z, s, plain=plain: jax.vjp(lambda z: plain(z, s, jnp.ones(z.shape, bool)), z)
        both_passes = jax.jit(lambda z, s, pair=pair: (pair(z, s)[0], pair(z, s)[1](cotangent)[0]))
        for softness, scale in ((1e-30, 1), (1e30, 1), (0.1, 1e-30), (0.1, 1e30), (1e-30, 1e30)):
            data = jnp.asarray(DATA * scale, jnp.float32)
            assert all(np.isfinite(x).all() for x in both_passes(data, jnp.float32(softness)))


@pytest.mark.parametrize(("name", "mode"), [("soft_rank", "c0"), ("soft_rank", "c1"), ("soft_sort", "smooth")])
def test_single_precision_is_accurate_where_quotients_would_not_be(name, mode):
    """`z / softness` is near 1e3 here, and blocks are told apart by gaps near 1e-6."""
    rng = np.random.default_rng(2)
    z = np.round(1 / (1 + np.exp(-rng.normal(size=(2, 100)))), 3).astype(np.float32)
    cotangent = np.cos(np.arange(100))

    @jax.jit
    def run(z, softness):
        value, pull = jax.vjp(lambda z: operator(name, mode)(z, softness, z < jnp.inf), z)
        return value, pull(jnp.broadcast_to(jnp.asarray(cotangent, z.dtype), z.shape))[0]

    for softness in np.array([1e-3, 0.1, 10], np.float32):
        single = run(jnp.asarray(z), jnp.asarray(softness))
        double = run(jnp.asarray(z, jnp.float64), jnp.asarray(softness, jnp.float64))
        for got, expected, tolerance in zip(single, double, (1e-6, 1e-4), strict=True):
            np.testing.assert_allclose(got, expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_short_rows(n):
    z = jnp.arange(float(n))[::-1]
    np.testing.assert_allclose(permutahedron.soft_sort(z, 1e-3), np.arange(n), atol=1e-12)
    np.testing.assert_allclose(permutahedron.soft_rank(z, 1e-3, "c0"), np.arange(n, 0, -1), atol=1e-12)
