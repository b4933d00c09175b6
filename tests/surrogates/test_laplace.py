"""Sums under the Laplace kernel: those of the matrix, in value and derivatives; and SoftSort made of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft
from softtypes.surrogates import laplace, softsort
from softtypes.surrogates.laplace import laplace_sums

TIED = np.array([0.1, 0.1, 0.4, 0.4, 0.4, 0.75, 2.0, 2.0])
APART = np.array([-3.0, -0.5, 0.0, 0.125, 1.0, 1.25, 40.0, 41.0])
points = pytest.mark.parametrize("points", [TIED, APART], ids=["tied", "apart"])


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def linear(a, v):
    return jnp.stack(laplace_sums(jnp.diff(a, prepend=a[:1]), *v.T), -1)


def by_matrix(a, v):
    gaps, places = a[:, None] - a[None], np.arange(len(a))
    return jnp.exp(-jnp.where(places[:, None] > places[None], gaps, -gaps)) @ v


@points
@pytest.mark.parametrize("recurrence", [laplace.in_turn, laplace.by_doubling])
def test_sums_and_their_derivatives_are_the_matrixs(points, recurrence, monkeypatch):
    """One by one on a CPU, by doubling elsewhere."""
    monkeypatch.setattr(laplace, "_recurrence", lambda: recurrence)
    a, v = jnp.asarray(points), jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)))
    probe = jnp.cos(jnp.arange(24.0)).reshape(8, 3)

    def everything(fn):
        scalar = lambda a, v: (fn(a, v) * probe).sum()
        return jax.jit(
            lambda a, v: (
                fn(a, v),
                jax.grad(scalar, (0, 1))(a, v),
                jax.jacfwd(scalar, (0, 1))(a, v),
                jax.hessian(scalar, (0, 1))(a, v)[0][1],
            )
        )(a, v)

    for ours, exact in zip(*map(jax.tree.leaves, map(everything, (linear, by_matrix))), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-13, atol=1e-13)


def test_an_infinite_gap_parts_the_points():
    v = jnp.ones(4)
    gaps = jnp.array([0.0, 0.0, jnp.inf, 1.0])
    np.testing.assert_allclose(laplace_sums(gaps, v)[0], [2, 2, 1 + np.exp(-1), 1 + np.exp(-1)], rtol=1e-15)
    pulled = jax.grad(lambda g: laplace_sums(g, v)[0].sum())(gaps)
    np.testing.assert_allclose(pulled, [0, -2, 0, -2 * np.exp(-1)], atol=1e-15)


def rows():
    """Of 70 entries: generic, rounded so that many tie, constant; and with infinities, NaN."""
    x = np.random.default_rng(1).normal(size=(4, 70))
    x[1] = x[1].round(1)
    x[2] = 3
    x[3, [4, 9, 30]] = np.inf, -np.inf, np.nan
    return x


OPERATORS = {
    "sort": lambda x, s, **knobs: sft.sort(x, softness=s, algorithm="softsort", **knobs),
    "descending": lambda x, s, **knobs: sft.sort(x, descending=True, softness=s, algorithm="softsort", **knobs),
    "rank": lambda x, s, **knobs: sft.rank(x, axis=-1, softness=s, algorithm="softsort", **knobs),
    "as it is": lambda x, s, **knobs: sft.sort(x, softness=s, algorithm="softsort", standardize=False, **knobs),
    "weights held": lambda x, s, **knobs: sft.sort(x, softness=s, algorithm="softsort", gated_grad=False, **knobs),
}


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True])
def test_softsort_without_a_matrix_is_softsort(masked, monkeypatch):
    x = jnp.asarray(rows())
    softness = jnp.array([0.1, 0.03, 0.1, 1e-3])[:, None]
    where = np.random.default_rng(2).random(x.shape) < 0.8 if masked else None
    finite = np.isfinite(rows())
    probe = jnp.cos(jnp.arange(float(x.size))).reshape(x.shape)

    def everything():
        def total(x, s):
            out = {name: fn(x, s, where=where) for name, fn in OPERATORS.items()}
            return {name: jnp.where(jnp.isfinite(y), y * probe, 0).sum() for name, y in out.items()}, out

        gradients, out = jax.jit(jax.jacrev(total, (0, 1), has_aux=True))(x, softness)
        return gradients, out

    gradients, out = everything()
    monkeypatch.setattr(softsort, "SMALL", 100)
    exact_gradients, exact = everything()
    for name in OPERATORS:
        np.testing.assert_allclose(out[name], exact[name], rtol=1e-12, atol=1e-12, err_msg=name)
        for ours, theirs in zip(gradients[name], exact_gradients[name], strict=True):
            assert np.isfinite(np.asarray(theirs)[..., finite] if theirs.shape == x.shape else theirs).all()
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9, err_msg=name)


def test_ties_have_the_derivative_of_their_neighbourhood():
    """Of two entries every relaxed operator is differentiable at the tie: `rank = 1 + sigmoid((x - y) / softness)`."""
    tie = jnp.array([0.5, 0.5])
    rank = jax.jacrev(lambda x: OPERATORS["rank"](x, 0.1, standardize=False))(tie)
    np.testing.assert_allclose(rank, [[2.5, -2.5], [-2.5, 2.5]], rtol=1e-12)
    largest = jax.grad(lambda x: sft.max(x, softness=0.1, standardize=False))(tie)
    np.testing.assert_allclose(jax.grad(lambda x: OPERATORS["as it is"](x, 0.1)[-1])(tie), largest, rtol=1e-12)


def test_single_precision_is_accurate():
    x = np.random.default_rng(3).normal(size=1000)
    probe = np.cos(np.arange(1000))

    @jax.jit
    def run(x):
        value, pull = jax.vjp(lambda x: OPERATORS["sort"](x, 0.05), x)
        return value, pull(probe.astype(x.dtype))[0]

    (value, gradient), (exact_value, exact_gradient) = run(jnp.asarray(x, "float32")), run(jnp.asarray(x))
    np.testing.assert_allclose(value, exact_value, atol=2e-6)
    np.testing.assert_allclose(gradient, exact_gradient, atol=1e-5 * np.abs(exact_gradient).max())


def test_a_long_row():
    """2^15 entries, whose matrix would take 4 GB."""
    x = jnp.asarray(np.random.default_rng(4).permutation(2**15), "float32")
    value, pull = jax.vjp(jax.jit(lambda x: OPERATORS["sort"](x, 1e-5)), x)
    np.testing.assert_allclose(value, np.arange(2**15), atol=1)
    assert np.isfinite(pull(jnp.ones_like(value))[0]).all()
