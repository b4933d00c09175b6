"""The view that nobody reads is free: what is compiled is what a person would have written for the other one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft

S = 0.5
N = 4096

pytestmark = pytest.mark.core


def typed(x, y, z, w, mode="smooth"):
    return (sft.soft(x, S, mode) > y) & ~(sft.soft(z, S, mode) < w)


def logistic(gap):
    return jax.nn.sigmoid(gap / S)


def cubic(gap):
    inside = jnp.abs(gap) < 5 * S
    v = jnp.where(inside, gap, 0) / S / 5
    return jnp.where(inside, (1 + v * (3 - v**2) / 2) / 2, (1 + jnp.sign(gap)) / 2)


STEPS = {"smooth": logistic, "c1": cubic}


def soft_by_hand(x, y, z, w, mode="smooth"):
    """`S(x - y) (1 - (1 - S(z - w)))`; for NaN the step falls with the exact comparison, and its derivative is the
    gap's. At a tie single precision can't tell `S(1e-10)` from 1/2."""

    @jax.custom_jvp
    def settled(gap, undefined):
        return jnp.where(jnp.isnan(gap), undefined, gap)

    settled.defjvps(lambda dgap, *_: dgap, None)
    step = lambda gap, undefined: STEPS[mode](settled(gap, undefined))
    return step(x - y, -jnp.inf) * (1 - (1 - step(z - w, jnp.inf)))


def hard_by_hand(x, y, z, w):
    return (x > y) & ~(z < w)


def operands():
    return tuple(jnp.asarray(np.random.default_rng(0).normal(size=(4, N)), jnp.float32))


def cost_and_value(fn):
    """Floating-point operations, bytes that the compiled function moves, and what it returns."""
    compiled = jax.jit(fn).lower(*operands()).compile()
    analysis = compiled.cost_analysis()
    return analysis.get("flops", 0.0), analysis["bytes accessed"], compiled(*operands())


def assert_as_cheap(fn, by_hand):
    flops, moved, value = cost_and_value(fn)
    expected_flops, expected_moved, expected = cost_and_value(by_hand)
    for a, b in zip(jax.tree.leaves(value), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    assert expected_flops >= N
    assert flops == pytest.approx(expected_flops, rel=0.05)
    assert moved == pytest.approx(expected_moved, rel=0.05)


@pytest.mark.parametrize("mode", STEPS)
def test_the_soft_view_costs_what_the_formulas_cost(mode):
    assert_as_cheap(lambda *args: typed(*args, mode).probs, lambda *args: soft_by_hand(*args, mode))


def test_the_hard_view_costs_what_the_comparisons_cost():
    assert_as_cheap(lambda *args: typed(*args).hard(), hard_by_hand)


def test_straight_through_costs_the_hard_view_forward():
    assert_as_cheap(lambda *args: typed(*args).st(), lambda *args: hard_by_hand(*args).astype(jnp.float32))


@pytest.mark.parametrize("argnums", [0, (0, 1, 2, 3)], ids=["one", "all"])
def test_the_gradient_of_straight_through_costs_that_of_the_soft_view(argnums):
    def gradient(fn):
        return jax.grad(lambda *args: fn(*args).sum(), argnums)

    assert_as_cheap(gradient(lambda *args: typed(*args).st()), gradient(soft_by_hand))


def test_both_views_cost_no_more_than_the_two_by_hand():
    def fn(*args):
        out = typed(*args)
        return jnp.where(out.hard(), out.probs, -out.probs)

    def by_hand(*args):
        p = soft_by_hand(*args)
        return jnp.where(hard_by_hand(*args), p, -p)

    assert_as_cheap(fn, by_hand)


def test_the_hard_view_of_an_index_costs_the_argmax():
    assert_as_cheap(
        lambda x, *_: sft.soft(x.reshape(-1, 8), S).argmax(axis=1).hard(), lambda x, *_: x.reshape(-1, 8).argmax(1)
    )


@jax.jit
def clipped(x, change):
    value, pull = jax.vjp(lambda x: sft.clip(sft.soft(x, S), -1.0, 1.0).soft(), x)
    return value, *pull(change)


@pytest.mark.skipif(jax.__version_info__ < (0, 12), reason="XLA joins kernels across barriers")
def test_clip_of_a_short_row_stays_on_one_thread():
    """To hand a few thousand entries to another one takes longer than to clip them."""
    short = operands()[:2]
    assert "outer_dimension_partitions" not in clipped.lower(*short).compile().as_text()
    long = clipped(*(jnp.tile(x, 8) for x in short))
    for one, other in zip(clipped(*short), long, strict=True):
        np.testing.assert_allclose(other, jnp.tile(one, 8), rtol=1e-5, atol=1e-7)
