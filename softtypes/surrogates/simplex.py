"""Projections onto the probability simplex along the last axis.

`softmax(v / s)` and, for the p-norms, `max(v / s - t, 0) ** power` with the threshold `t` set by the sum.
An entry of minus infinity has weight exactly 0; plus infinities share a row among themselves; a row of minus
infinities is uniform.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from softtypes.surrogates import along
from softtypes.surrogates.ratio import Softness, ratio
from softtypes.surrogates.straight_through import straight_through


def _centred(v: Array, s: Softness, reach: float) -> tuple[Array, Array]:
    """`(v - max v) / s` and whether it is above `-reach`; below, 0 stands in its place."""
    top = jax.lax.stop_gradient(v.max(-1, keepdims=True))
    finite = jnp.isfinite(top)
    v = jnp.where(finite, v, jnp.where(v == top, 0, -jnp.inf))
    gap = v - jnp.where(finite, top, 0)
    inside = gap > -reach * s
    return ratio(jnp.where(inside, gap, 0), s), inside


def log_softmax(v: Array, s: Softness) -> Array:
    """`v / s - logsumexp(v / s)`; minus infinity only where `v` is, relative to its row."""
    u, inside = _centred(v, s, math.inf if isinstance(s, float) else _largest(v.dtype))
    inside &= jnp.isfinite(u)
    total = jnp.where(inside, jnp.exp(jnp.where(inside, u, 0)), 0).sum(-1, keepdims=True)
    return jnp.where(inside, u, -jnp.inf) - jnp.log(total)


def _largest(dtype) -> float:
    return float(jnp.finfo(dtype).max) ** 0.5


def _reach(dtype) -> float:
    """How far below the largest an exponential is 0."""
    return 1.5 * math.log(float(jnp.finfo(dtype).max))


def softmax(v: Array, s: Softness) -> Array:
    """`exp(v / s) / sum exp(v / s)`: the projection in the entropy's geometry."""
    u, inside = _centred(v, s, _reach(v.dtype))
    weights = jnp.where(inside, jnp.exp(u), 0)
    return weights / weights.sum(-1, keepdims=True)


def falling(gaps: Array, counted: Array, s: Softness) -> Array:
    """`softmax(gaps, s)` of those that count, if the largest gap is 0."""
    return _shares(*_below(gaps, counted, s))


def falling_mean(gaps: Array, counted: Array, s: Softness, values: Array) -> Array:
    """The mean of values under the weights `falling`."""
    return _mean(*_below(gaps, counted, s), values)


def _below(gaps: Array, counted: Array, s: Softness) -> tuple[Array, Array]:
    """`gaps / s`, and which of them have weight."""
    if isinstance(s, float) and s > float(jnp.finfo(gaps.dtype).tiny) ** 0.75:  # so that no change over s overflows
        return straight_through(jnp.where(counted, gaps, 0), gaps) / s, counted  # no weight, no derivative
    inside = counted & (gaps > -_reach(gaps.dtype) * s) & (gaps < s)  # above only where nothing counts
    return ratio(jnp.where(inside, gaps, 0), s), inside


@jax.custom_jvp
def _shares(u: Array, inside: Array) -> Array:
    weights = jnp.where(inside, jnp.exp(u), 0)
    total = weights.sum(-1, keepdims=True)
    return weights / jnp.where(total > 0, total, 1)


@_shares.defjvp
def _shares_jvp(primals, tangents):
    """`dp = p (du - sum p du)`."""
    p, du = _shares(*primals), tangents[0]
    return p, p * (du - (p * du).sum(-1, keepdims=True))


@jax.custom_jvp
def _mean(u: Array, inside: Array, values: Array) -> Array:
    return along.total(_shares(u, inside) * values)[..., 0]


@_mean.defjvp
def _mean_jvp(primals, tangents):
    """`dm = sum p (dv + (v - m) du)`: the derivative of the weights needs no sum of its own."""
    u, inside, values = primals
    du, _, dvalues = tangents
    mean, p = _mean(u, inside, values), _shares(u, inside)
    return mean, (p * dvalues + (p * values - p * mean[..., None]) * du).sum(-1)


def sparse(v: Array, s: Softness, power: int) -> Array:
    """`max(v / s - t, 0) ** power` with sum 1: Euclidean (1), p = 3/2 (2) and p = 4/3 (3).

    Source: Martins, Astudillo (2016) for power 1; Peters, Niculae, Martins (2019) for the others.
    """
    u, inside = _centred(v, s, 1.0)  # the largest entry alone has weight <= 1, so t >= max - 1
    u = jnp.where(inside, u, -1)
    gap = u - _threshold(u, power)[..., None]
    weights = jnp.where(gap > 0, gap, 0) ** power  # at a gap of 0 maximum would pass on half a gradient
    return weights / jax.lax.stop_gradient(weights.sum(-1, keepdims=True))


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _threshold(u: Array, power: int) -> Array:
    """The root t in [-1, 0] of `sum max(u - t, 0) ** power = 1`, for rows with maximum 0.

    The left side is convex and decreasing, so Newton's method from a point below the root climbs to it.
    """

    def excess(t):
        gap = jnp.maximum(u - t[..., None], 0)
        slope = power * jnp.where(gap > 0, gap ** (power - 1), 0).sum(-1)
        return ((gap**power).sum(-1) - 1) / slope

    def climb(state):
        t, _, count = state
        step = jnp.maximum(excess(t), 0)
        return jnp.minimum(t + step, 0), (step > 2 * jnp.finfo(u.dtype).eps).any(), count + 1

    below = jnp.full(u.shape[:-1], -1, u.dtype)
    if u.shape[-1]:
        below = jnp.maximum(below, u.mean(-1) - u.shape[-1] ** (-1 / power))
    state = (below, jnp.isfinite(below).any(), 0)  # read off the data, so that shard_map sees it vary
    return jax.lax.while_loop(lambda state: state[1] & (state[2] < 64), climb, state)[0]


@_threshold.defjvp
def _threshold_jvp(power, primals, tangents):
    (u,), (du,) = primals, tangents
    t = _threshold(u, power)
    gap = u - t[..., None]
    gap = jnp.where(gap > 0, gap, 0)  # at 0, as in rows with one weight, maximum would pass on half a gradient
    slope = gap ** (power - 1) if power > 1 else (gap > 0).astype(u.dtype)
    return t, (slope * du).sum(-1) / slope.sum(-1)
