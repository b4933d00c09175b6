"""The sorting network: doubly stochastic for every n, and exact in the limit."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from softtypes.surrogates import network, steps

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def clipped(d):
    return jnp.clip(d / 5, -1, 1)


STEPS = {
    "smooth": jax.nn.sigmoid,
    "c0": lambda d: (1 + clipped(d)) / 2,
    "c1": lambda d: 1 / 2 + 3 * clipped(d) / 4 - clipped(d) ** 3 / 4,
    "c2": lambda d: 1 / 2 + 15 * clipped(d) / 16 - 5 * clipped(d) ** 3 / 8 + 3 * clipped(d) ** 5 / 16,
}


def step(d, mode="smooth", softness=0.1):
    return STEPS[mode](d / softness)


def hard(d):
    return jnp.where(d > 0, 1.0, 0.0) + jnp.where(d == 0, 0.5, 0.0)


def rows(n, count=3):
    return jnp.asarray(np.random.default_rng(n).normal(size=(count, n)))


permutation = jax.jit(network.soft_permutation, static_argnums=1)


@pytest.mark.parametrize("n", range(1, 10))
def test_the_matrix_is_doubly_stochastic_and_gives_values_and_ranks(n):
    z = rows(n)
    p = permutation(z, step)
    assert (p >= 0).all()
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-14)
    np.testing.assert_allclose(p.sum(-2), 1, rtol=1e-14)
    np.testing.assert_allclose(network.soft_sort(z, step), jnp.einsum("bij,bj->bi", p, z), atol=1e-14)
    np.testing.assert_allclose(network.soft_rank(z, step), jnp.einsum("bij,i->bj", p, jnp.arange(1.0, n + 1)))


@pytest.mark.parametrize("n", [*range(10), 100])
def test_a_hard_step_sorts(n):
    z = rows(n)
    np.testing.assert_allclose(network.soft_sort(z, hard), jnp.sort(z), rtol=1e-15)
    np.testing.assert_array_equal(network.soft_rank(z, hard), jnp.argsort(jnp.argsort(z)) + 1)
    np.testing.assert_allclose(network.soft_sort(jnp.round(z), hard), jnp.sort(jnp.round(z)), rtol=1e-15)


def test_some_rows_cost_no_matrix():
    z = rows(6)
    wanted = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6)))
    expected = jnp.einsum("mi,bij->bmj", wanted, permutation(z, step))
    np.testing.assert_allclose(network.combine(z, step, wanted), expected, atol=1e-14)


def test_equal_elements_of_a_power_of_two_are_alike():
    np.testing.assert_allclose(network.soft_rank(jnp.ones(4), step), 2.5)
    np.testing.assert_allclose(permutation(jnp.ones(8), step), 1 / 8)


@pytest.mark.parametrize("size", [1, 3, 5, 6])
def test_a_masked_element_is_dropped(size):
    rng = np.random.default_rng(size)
    mask = np.isin(np.arange(6), rng.choice(6, size, replace=False))
    z = rng.normal(size=6)
    spoilt, kept = jnp.where(mask, z, np.nan), jnp.asarray(z[mask])
    values, pull = jax.vjp(lambda z: network.soft_sort(z, step, mask), spoilt)
    np.testing.assert_array_equal(values, np.pad(network.soft_sort(kept, step), (0, 6 - size)))
    np.testing.assert_array_equal(network.soft_rank(spoilt, step, mask)[mask], network.soft_rank(kept, step))
    np.testing.assert_array_equal(network.soft_rank(spoilt, step, mask)[~mask], 0)
    p = network.soft_permutation(spoilt, step, mask)
    np.testing.assert_array_equal(p[:size][:, mask], permutation(kept, step))
    np.testing.assert_array_equal(p[:, ~mask], 0)
    gradient = pull(jnp.ones(6))[0]
    np.testing.assert_allclose(gradient.sum(), size)
    np.testing.assert_array_equal(gradient[~mask], 0)


@pytest.mark.parametrize("mode", STEPS)
def test_derivatives_are_those_of_finite_differences(mode):
    fn = partial(network.soft_rank, step=partial(step, mode=mode))
    derivatives = jax.jit(lambda z: (fn(z), jax.jacrev(fn)(z), jax.jacfwd(fn)(z), jax.hessian(fn)(z)))
    z = jnp.array([0.31, -0.12, 0.05, 0.44, 0.23])
    _, jacobian, forward, hessian = derivatives(z)
    pairs = [(derivatives(z + h), derivatives(z - h)) for h in 1e-6 * np.eye(5)]
    slope = lambda k: np.stack([(up[k] - down[k]) / 2e-6 for up, down in pairs], axis=-1)
    np.testing.assert_allclose(jacobian, slope(0), atol=1e-6)
    np.testing.assert_allclose(forward, jacobian, atol=1e-12)
    np.testing.assert_allclose(hessian, slope(1), atol=1e-4)


def test_rows_do_not_meet():
    z = rows(5)
    for fn in (network.soft_sort, network.soft_rank, network.soft_permutation):
        batch = fn(z, step)
        np.testing.assert_allclose(jax.jit(jax.vmap(lambda row, fn=fn: fn(row, step)))(z), batch, atol=1e-14)
        np.testing.assert_allclose(np.stack([fn(row, step) for row in z]), batch, atol=1e-14)


@pytest.mark.parametrize("mode", ["smooth", "c2"])
@pytest.mark.parametrize("fn", [network.soft_sort, network.soft_rank])
def test_derivatives_in_the_softness_and_second_ones_are_those_of_finite_differences(fn, mode):
    z, direction = rows(5, 1)[0], rows(5, 2)[1]

    def relaxed(z, softness):
        return fn(z, lambda d: step(d, mode, softness)) @ direction

    check_grads(jax.jit(relaxed), (z, 0.7), order=2, modes=["fwd", "rev"], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("softness", [0.1, jnp.float32(0.1)])
def test_a_difference_that_overflows_has_no_derivative(softness):
    z = jnp.asarray([3e38, 1.0, -3e38, 50.0], jnp.float32)

    def relaxed(z, softness):
        return network.soft_sort(z, lambda d: steps.step(d, softness, steps.SMOOTH))

    np.testing.assert_array_equal(relaxed(z, softness), jnp.sort(z))
    for derivative in (jax.jacrev, jax.jacfwd):
        np.testing.assert_array_equal(derivative(relaxed)(z, softness), jnp.eye(4)[jnp.argsort(z)])
        if not isinstance(softness, float):
            np.testing.assert_array_equal(derivative(relaxed, 1)(z, softness), 0)
