"""The view that nobody reads is free: what is compiled is what a person would have written for the other one."""

import jax
import jax.numpy as jnp
import pytest

import softtypes as sft

pytestmark = pytest.mark.core

ARGS = tuple(jnp.linspace(-1.0, 1.0, 4096) * k for k in (1.0, 0.5, -1.0, 2.0))
S, TIE = 0.1, 1e-10


def cost(fn):
    analysis = jax.jit(fn).lower(*ARGS).compile().cost_analysis()
    analysis = analysis[0] if isinstance(analysis, list) else analysis
    return {name: analysis[name] for name in ("flops", "bytes accessed")}


def rule(x, y, z, w):
    x, z = sft.soft(x, S), sft.soft(z, S)
    return (x > y) & ~(z < w)


def greater_by_hand(x, y):
    gap = x - y
    gap = jnp.where(gap == 0, gap - TIE, gap)
    return jax.nn.sigmoid(jnp.where(jnp.isnan(gap), -jnp.inf, gap) / S)


def less_by_hand(x, y):
    gap = x - y
    gap = jnp.where(gap == 0, gap + TIE, gap)
    return 1 - jax.nn.sigmoid(jnp.where(jnp.isnan(gap), jnp.inf, gap) / S)


def probs_by_hand(x, y, z, w):
    return greater_by_hand(x, y) * (1 - less_by_hand(z, w))


def hard_by_hand(x, y, z, w):
    return (x > y) & ~(z < w)


@pytest.mark.parametrize(
    ("view", "by_hand"),
    [
        (lambda *args: rule(*args).probs, probs_by_hand),
        (lambda *args: rule(*args).hard(), hard_by_hand),
        (lambda *args: rule(*args).st(), lambda *args: hard_by_hand(*args).astype(jnp.float32)),
    ],
    ids=["probs", "hard", "st"],
)
def test_a_view_costs_what_it_costs_by_hand(view, by_hand):
    ours, theirs = cost(view), cost(by_hand)
    for name, amount in theirs.items():
        assert abs(ours[name] - amount) <= 0.05 * amount, (name, ours, theirs)


def test_the_gradient_of_st_costs_that_of_the_soft_view():
    grad = lambda fn: lambda *args: jax.grad(lambda *a: fn(*a).sum(), argnums=(0, 1, 2, 3))(*args)
    ours, theirs = cost(grad(lambda *args: rule(*args).st())), cost(grad(probs_by_hand))
    for name, amount in theirs.items():
        assert ours[name] <= 1.05 * amount, (name, ours, theirs)
