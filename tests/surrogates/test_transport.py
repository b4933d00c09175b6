"""Transport to anchors: its marginals, its derivatives and its symmetries."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft
from softtypes.surrogates import transport
from softtypes.surrogates.transport import REGULARISERS, transport_weights

pytestmark = pytest.mark.slow

MODES = list(REGULARISERS)
exhaustive = pytest.mark.exhaustive
ONE = [mode if mode == "smooth" else pytest.param(mode, marks=exhaustive) for mode in MODES]
EACH = [mode if mode in ("smooth", "c1") else pytest.param(mode, marks=exhaustive) for mode in MODES]
SOFTNESSES = [1e-3, 1e-2, 0.1, 1.0, 10.0]


def maximum(n):
    return np.array([0.0, 1.0]), np.array([n - 1, 1]) / n


def median(n):
    below = (n - 2) // 2
    return np.array([0, 1 / 3, 2 / 3, 1]), np.array([below, 1, 1, n - 2 - below]) / n


def top_3(n):
    return np.array([1, 2 / 3, 1 / 3, 0]), np.array([1, 1, 1, n - 3]) / n


def sort(n):
    return np.linspace(0, 1, n), np.full(n, 1 / n)


STATISTICS = [maximum, median, top_3, sort]


def rows(n):
    """A batch of rows in (0, 1): generic, tied, constant, clustered, with an outlier."""
    rng = np.random.default_rng(n)
    x = rng.normal(size=n)
    outlier = np.where(np.arange(n) == 1, 100.0, x)
    x = np.stack([x, np.round(x), np.zeros(n), np.round(x) + 1e-4 * x, outlier])
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return 1 / (1 + np.exp(-x))


def weights(z, statistic, softness, mode, mask=None):
    anchors, masses = statistic(z.shape[-1])
    dtype = jnp.result_type(z)
    return transport_weights(z, jnp.asarray(anchors, dtype), jnp.asarray(masses, dtype), softness, mode, mask)


@pytest.mark.parametrize("mode", EACH)
@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize(("x64", "tolerance"), [(False, 1e-5), pytest.param(True, 1e-10, marks=exhaustive)])
@pytest.mark.parametrize("n", [31])
def test_both_marginals_hold(n, x64, tolerance, statistic, mode):
    with jax.enable_x64(x64):
        z = jnp.asarray(rows(n), float)
        softness = jnp.asarray(SOFTNESSES, float)[:, None]
        p = np.asarray(weights(z, statistic, softness, mode), dtype=float)
        _, masses = statistic(n)
        np.testing.assert_allclose(p.sum(-1), np.broadcast_to(masses > 0, p.shape[:-1]), atol=1e-6)
        np.testing.assert_allclose(np.einsum("...mn,m->...n", p, masses), 1 / n, atol=tolerance)
        assert (p >= 0).all()


@pytest.mark.parametrize("mode", ONE)
def test_marginals_hold_in_float32_where_the_dtype_is_strained(mode):
    z = jnp.asarray(rows(1024), jnp.float32)
    _, masses = top_3(1024)
    for softness in SOFTNESSES:
        p = np.asarray(weights(z, top_3, softness, mode), dtype=float)
        np.testing.assert_allclose(np.einsum("...mn,m->...n", p, masses), 1 / 1024, atol=1e-6)


@pytest.mark.parametrize("mode", ONE)
def test_uniform_where_softness_is_large_and_hard_where_it_is_small(mode):
    with jax.enable_x64(True):
        z = jnp.asarray(rows(7)[0])
        np.testing.assert_allclose(weights(z, sort, 1e8, mode), 1 / 7, atol=1e-6)
        np.testing.assert_array_equal(weights(z, sort, 1e-9, mode), np.eye(7)[np.argsort(z)])


@functools.cache
def value_and_pullback(mode):
    @jax.jit
    def run(z, softness):
        value, pullback = jax.vjp(lambda z: weights(z, median, softness, mode), z)
        return value, pullback(jnp.ones_like(value).at[..., 0].set(0.5))[0]

    return run


@pytest.mark.parametrize("mode", ONE)
@pytest.mark.parametrize("softness", [1e-30, 1e30])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_no_softness_and_no_scale_gives_a_number_that_is_not_finite(scale, softness, mode):
    value, gradient = value_and_pullback(mode)(jnp.asarray(rows(5) * scale, jnp.float32), jnp.float32(softness))
    assert jnp.isfinite(value).all()
    np.testing.assert_allclose(value.sum(-1), 1, atol=1e-5)
    assert jnp.isfinite(gradient).all()


# --- derivatives


# Of the largest derivative. In the sparse modes anchors may share few inputs: the system is close to singular, and the
# iterative solution is good to the root of the rounding.
SOLVED = {"smooth": 1e-13} | dict.fromkeys(("c0", "c1", "c2"), 2e-8)


def scalar(statistic, mode, softness):
    """A function of one row whose derivatives see every weight."""

    def f(z):
        p = weights(z, statistic, softness, mode)
        return (p * jnp.cos(jnp.arange(p.size, dtype=p.dtype)).reshape(p.shape)).sum()

    return f


def differences(f, z, step=1e-5):
    """Central differences of f along each entry of z."""
    along = jnp.eye(len(z)) * step
    values = jax.lax.map(f, jnp.concatenate([z[None] + along, z[None] - along]))
    above, below = jnp.split(values, 2)
    return (above - below) / (2 * step)


@pytest.mark.parametrize("mode", EACH)
def test_gradient_in_softness_anchors_and_masses(mode):
    with jax.enable_x64(True):
        z = jnp.asarray(rows(6)[0])
        anchors, masses = map(jnp.asarray, median(6))

        def f(theta):
            nu = masses + jnp.array([theta[0], -theta[0], theta[0], -theta[0]])
            p = transport_weights(z, anchors.at[1].add(theta[1]), nu, 0.3 + theta[2], mode)
            return (p * jnp.cos(jnp.arange(p.size)).reshape(p.shape)).sum()

        gradient, quotients = jax.jit(lambda theta: (jax.grad(f)(theta), differences(f, theta)))(
            jnp.array([0.01, 0.02, 0.03])
        )
        # the row sums are normalised with the sums held fixed, exact for the masses too: their own rule is linear
        np.testing.assert_allclose(gradient[1:], quotients[1:], atol=1e-5)


@pytest.mark.parametrize("mode", EACH)
def test_forward_mode_is_reverse_mode(mode):
    """What either is beside finite differences is in test_ordering_laws.py."""
    with jax.enable_x64(True):
        f = lambda z: weights(z, sort, 0.1, mode)
        jacobians = jax.jit(jax.vmap(lambda row: (jax.jacfwd(f)(row), jax.jacrev(f)(row))))
        for forward, reverse in zip(*map(np.asarray, jacobians(jnp.asarray(rows(6)))), strict=True):
            np.testing.assert_allclose(forward, reverse, atol=SOLVED[mode] * (1 + np.abs(forward).max()))


@pytest.mark.parametrize("mode", EACH)
def test_hessian_is_finite_and_that_of_finite_differences(mode):
    with jax.enable_x64(True):
        f = scalar(median, mode, 0.3)
        gradient = jax.grad(f)
        both = jax.jit(lambda z: (jax.jacfwd(gradient)(z), jax.jacrev(gradient)(z), differences(gradient, z)))
        for i, (hessian, reverse, quotients) in enumerate(map(both, jnp.asarray(rows(5)))):
            assert jnp.isfinite(hessian).all()
            if i == 0:
                np.testing.assert_allclose(hessian, quotients, atol=1e-4)
                np.testing.assert_allclose(reverse, hessian, atol=1e-8)


@pytest.mark.parametrize("mode", EACH)
def test_float32_gradient_is_that_of_float64(mode):
    with jax.enable_x64(True):
        z = rows(64).astype(np.float32)
        gradient = jax.jit(jax.vmap(jax.grad(scalar(top_3, mode, jnp.float32(0.5)))))
        exact = np.asarray(jax.jit(jax.vmap(jax.grad(scalar(top_3, mode, 0.5))))(jnp.asarray(z, jnp.float64)))
        scale = np.abs(exact).max(-1, keepdims=True)
        np.testing.assert_allclose(np.asarray(gradient(jnp.asarray(z))) / scale, exact / scale, atol=1e-4)


# --- symmetries


@pytest.mark.parametrize("mode", ONE)
def test_batched_is_one_at_a_time(mode):
    z = jnp.asarray(rows(9), jnp.float32)
    softness = jnp.asarray(SOFTNESSES, jnp.float32)
    batched = weights(z, top_3, softness, mode)
    mapped = jax.vmap(lambda z, s: weights(z, top_3, s, mode))(z, softness)
    looped = jnp.stack([weights(z[i], top_3, softness[i], mode) for i in range(len(z))])
    np.testing.assert_allclose(batched, looped, atol=1e-5)
    np.testing.assert_allclose(mapped, looped, atol=1e-5)


@pytest.mark.parametrize("mode", ONE)
def test_mask_is_dropping_the_elements(mode):
    with jax.enable_x64(True):
        z = jnp.asarray(rows(6)[0])
        full = jnp.concatenate([jnp.array([jnp.inf]), z[:3], jnp.array([jnp.nan]), z[3:]])
        mask = jnp.array([False, True, True, True, False, True, True, True])
        anchors, masses = map(jnp.asarray, median(6))
        f = lambda z, mask: transport_weights(z, anchors, masses, 0.1, mode, mask)
        dropped = f(z, None)
        kept = f(full, mask)
        np.testing.assert_allclose(kept[:, mask], dropped, atol=1e-9)
        np.testing.assert_array_equal(kept[:, ~mask], 0)
        gradient = jax.jit(jax.grad(lambda full: f(full, mask)[1] @ jnp.arange(8.0)))(full)
        expected = jax.jit(jax.grad(lambda z: f(z, None)[1] @ jnp.array([1.0, 2, 3, 5, 6, 7])))(z)
        np.testing.assert_allclose(gradient[mask], expected, rtol=0, atol=SOLVED[mode] * np.abs(expected).max())
        np.testing.assert_array_equal(gradient[~mask], 0)


@pytest.mark.parametrize("mode", ONE)
def test_inputs_all_masked_are_uniform_with_gradient_0(mode):
    z = jnp.asarray(rows(5)[0], jnp.float32)
    value, pullback = jax.vjp(lambda z: weights(z, maximum, 0.1, mode, jnp.zeros(5, bool)), z)
    np.testing.assert_allclose(value, 0.2, rtol=1e-6)
    np.testing.assert_array_equal(pullback(value)[0], 0)


@pytest.mark.parametrize("mode", ONE)
def test_equivariant_in_anchors_and_inputs_and_invariant_to_shifts(mode):
    with jax.enable_x64(True):
        z = jnp.asarray(rows(6)[0])
        anchors, masses = map(jnp.asarray, median(6))
        p = transport_weights(z, anchors, masses, 0.1, mode)
        order, shuffle = jnp.array([2, 0, 3, 1]), jnp.array([4, 0, 5, 2, 1, 3])
        permuted = transport_weights(z[shuffle], anchors[order], masses[order], 0.1, mode)
        np.testing.assert_allclose(permuted, p[order][:, shuffle], atol=1e-9)
        np.testing.assert_allclose(transport_weights(z + 9, anchors, masses, 0.1, mode), p, atol=1e-9)


@pytest.mark.parametrize("mode", ONE)
def test_an_anchor_without_mass_has_a_row_of_0(mode):
    with jax.enable_x64(True):
        z = jnp.asarray(rows(4))
        anchors = jnp.array([0, 0.5, 1])
        p, pullback = jax.vjp(lambda z: transport_weights(z, anchors, jnp.array([0, 0.25, 0.75]), 0.1, mode), z)
        np.testing.assert_array_equal(p[:, 0], 0)
        np.testing.assert_allclose(
            p[:, 1:], transport_weights(z, anchors[1:], jnp.array([0.25, 0.75]), 0.1, mode), atol=1e-9
        )
        assert jnp.isfinite(pullback(p)[0]).all()


@pytest.mark.parametrize("dtype", [jnp.float16, pytest.param(jnp.bfloat16, marks=exhaustive)])
def test_half_precision_is_computed_in_float32(dtype):
    z = jnp.asarray(rows(8), dtype)
    p = weights(z, maximum, 0.1, "smooth")
    assert p.dtype == dtype
    anchors, masses = (jnp.asarray(x, dtype).astype(jnp.float32) for x in maximum(8))
    exact = transport_weights(z.astype(jnp.float32), anchors, masses, 0.1, "smooth")
    np.testing.assert_array_equal(p, exact.astype(dtype))


@pytest.mark.parametrize("mode", MODES)
def test_the_slope_is_the_derivative_of_the_link(mode):
    """Also where a slack is positive within its rounding: or else the equation of the derivative has no solution."""
    regulariser = REGULARISERS[mode]
    slack = jnp.array([-1.0, 0.0, 1e-8, 1e-6, 3e-6, 1e-3, 0.5, 1.0], jnp.float32)
    slope = jax.vmap(jax.grad(regulariser.link))(slack)
    np.testing.assert_allclose(slope, regulariser.slope(slack), rtol=1e-6)


def test_parts_are_divided_where_no_mass_comes_back():
    """Two inputs with an anchor each, between an input and an anchor on either side, in any order."""
    own, there, back = np.eye(4, dtype=bool), np.eye(4, k=1, dtype=bool), np.eye(4, k=-1, dtype=bool)
    middle = np.diag([False, True, True, False]) @ np.ones((4, 4), bool) @ np.diag([False, True, True, False])
    inputs, points = np.array([2, 0, 3, 1]), np.array([3, 1, 0, 2])

    def parts(linked, masses=(1.0, 1.0, 1.0, 1.0)):
        of_inputs, of_points = transport._parts(
            jnp.asarray(linked[inputs][:, points]),
            jnp.asarray(inputs, "float32"),
            jnp.asarray(points, "float32"),
            jnp.asarray(np.array(masses, "float32")[points]),
            1e-5,
        )
        return np.asarray(of_inputs)[np.argsort(inputs)].tolist(), np.asarray(of_points)[np.argsort(points)].tolist()

    assert parts(own) == ([0, 1, 2, 3], [0, 1, 2, 3])
    assert parts(own | there) == ([0, 1, 2, 3], [0, 1, 2, 3])  # up, and nothing down
    assert parts(own | back) == ([0, 1, 2, 3], [0, 1, 2, 3])
    assert parts(own | middle) == ([0, 1, 1, 2], [0, 1, 1, 2])  # an exchange
    assert parts(own | there, (0.5, 1.5, 1.0, 1.0)) == ([0, 0, 1, 2], [0, 0, 1, 2])  # the first input is split


def test_a_link_lost_to_rounding_leaves_the_gradient():
    """In single precision one input of these rows weighs 1e-6 on its second anchor; the gradient was 1e13."""
    x = np.random.default_rng(0).normal(size=(256, 1024))[[50, 84, 101, 248]].astype(np.float32)
    median = lambda x: sft.median(x, axis=-1, algorithm="ot", mode="c0").sum()
    single = jax.jit(jax.grad(median))(jnp.asarray(x))
    with jax.enable_x64(True):
        double = jax.jit(jax.grad(median))(jnp.asarray(x, jnp.float64))
    np.testing.assert_allclose(single.sum(-1), 1, atol=1e-4)
    np.testing.assert_allclose(single, double, atol=2e-3)


@pytest.mark.parametrize("mode", ["smooth", "c1"])
def test_few_anchors_are_reduced_term_by_term_to_the_same_weights(mode, monkeypatch):
    anchors, masses = top_3(40)
    with jax.enable_x64(True):
        x, towards = np.random.default_rng(0).normal(size=(2, 3, 40))

        def weights(few):
            monkeypatch.setattr(transport, "_FEW", few)
            solve = lambda x: transport_weights.__wrapped__(x, anchors, masses, 0.1, mode)
            return jax.jit(lambda x: jax.jvp(solve, (x,), (towards,)))(x)

        for few, many in zip(weights(8), weights(0), strict=True):
            assert np.abs(few).max() > 0.01
            np.testing.assert_allclose(few, many, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("statistic", [maximum, median])
def test_single_precision_of_long_rows(statistic):
    """A product that summed 4,096 masses would lose a digit and a half."""
    x = np.random.default_rng(0).normal(size=4096).astype("float32")
    values = lambda x: jax.jit(transport_weights, static_argnums=4)(x, *statistic(x.size), 0.1, "smooth") @ x
    single = values(jnp.asarray(x))
    with jax.enable_x64(True):
        double = values(jnp.asarray(x, "float64"))
    assert single.dtype == "float32"
    np.testing.assert_allclose(single, double, rtol=0, atol=2e-6 * np.abs(double).max())
