"""Means over sorted points under the sparse projections of minus the distances, without the matrix of weights.

    y_k = sum_j w_kj v_j,   w_kj = max(r_k - abs(z_k - z_j) / s, 0)^p,   sum_j w_kj = 1

The weights of each row are a window about it. The radius `r_k` is found by Newton's method from above; the sums on
either side are polynomials, whose moments `windows` gives.
"""

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates import windows
from softtypes.surrogates.ratio import ratio

POWERS = {"c0": 1, "c1": 2, "c2": 3}


def sparse_means(power: int, keys: Array, unit: Array, values: Array, masses: Array) -> Array:
    """The mean of the values under the weights of each point.

    Args:
        power: 1, 2 or 3.
        keys: `(..., n)`, ascending.
        unit: the softness, positive, 0-d or `(..., 1)`.
        values: `(..., n)`.
        masses: `(..., n)`, 1 where a point counts, or else 0.

    Returns:
        `(..., n)`. Where nothing counts, the point's own value.
    """
    rows = windows.rows(keys, unit)
    return _means(power, *rows, rows.flat(values), rows.flat(masses)).reshape(keys.shape)


class _Points(NamedTuple):
    keys: Array  # (b, n), ascending
    unit: Array  # the softness, 0-d or (b, 1)
    values: Array  # (b n,)
    masses: Array  # (b n,)

    def rows(self) -> windows.Rows:
        return windows.Rows(self.keys, self.unit)

    def table(self, power: int) -> Array:
        return windows.table(self.rows(), self.values, self.masses, power)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _means(power: int, *points: Array) -> Array:
    table = _Points(*points).table(power)
    return _mean(power, *_solved(power, table, _Points(*points)), table, _Points(*points))


@_means.defjvp
def _means_jvp(power, points, tangents):
    """At the solution the mean is stationary in the radius, so that its derivative is left out; not the second one."""
    table, table_dot = jax.jvp(lambda *points: _Points(*points).table(power), points, tangents)
    reach, edges = _solved(power, table, _Points(*points))
    reach = _tied(power, reach, edges, *points)
    mean = lambda table, *points: _mean(power, reach, edges, table, _Points(*points))
    return jax.jvp(mean, (table, *points), (table_dot, *tangents))


def _mean(power: int, reach: Array, edges: Array, table: Array, points: _Points) -> Array:
    """With the last step of Newton's method; values are taken relative to the point's own, to keep their digits."""
    (total, excess), (slope, pull) = _sums(power, reach, edges, table, points)
    return points.values + excess - (total - 1) * _ratio_or_zero(pull, slope)


def _ratio_or_zero(x: Array, y: Array) -> Array:
    return jnp.where(y > 0, x / jnp.where(y > 0, y, 1), 0)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _tied(power: int, reach: Array, edges: Array, *points: Array) -> Array:
    """The radius, with its derivative: that of the implicit function."""
    return reach


@_tied.defjvp
def _tied_jvp(power, primals, tangents):
    reach, edges, points = _tied(power, *primals), primals[1], primals[2:]

    def sums(*points):
        points = _Points(*points)
        return _sums(power, reach, edges, _of_masses(power, points.table(power)), points)

    (_, slope), (change, _) = jax.jvp(sums, points, tangents[2:])
    return reach, -_ratio_or_zero(change[0], power * slope[0])


def _of_masses(power: int, table: Array) -> Array:
    return table[..., : power + 1]


def _solved(power: int, table: Array, points: _Points) -> tuple[Array, Array]:
    """The root in [0, 1] of `sum_j max(r - d_j, 0)^p = 1`, and the edges of the windows.

    The p-norm of `max(r - d, 0)` is convex in r and rises, so that Newton's method from above falls to it. It sets out
    from 1 and windows of one point, for which that is the root.
    """
    table, points = lax.stop_gradient((_of_masses(power, table), points))
    eps, rows = jnp.finfo(table.dtype).eps, points.rows()

    def fall(state):
        reach, edges, _, count = state
        (total,), (slope,) = _sums(power, reach, edges, table, points)
        step = jnp.maximum(_ratio_or_zero(total - total ** (1 - 1 / power), slope), 0)
        falling = (count == 0) | (step > 8 * eps * reach).any()
        return reach - step, windows.edges(rows, reach - step), falling, count + 1

    own = windows.places_of(rows)
    ones = jnp.ones_like(points.values) + 0 * rows.units(1)
    state = (ones, jnp.stack([own, own + 1]), jnp.isfinite(ones).any(), 0)
    return lax.while_loop(lambda state: state[2] & (state[3] < 64), fall, state)[:2]


def _sums(power: int, reach: Array, edges: Array, table: Array, points: _Points) -> tuple[tuple, tuple]:
    """Of weights and of slopes `max(r - d, 0)^(p-1)`: themselves and, with a table of values, times `v_j - v_k`.

    Of the two parts of a window the points of one are nearer to k than their origin, those of the other are farther.
    """
    rows = points.rows()
    own = jnp.broadcast_to(windows.places_of(rows)[None], edges.shape)
    origin, sums = windows.moments(rows, table, jnp.stack([own, edges]))
    right = lax.broadcasted_iota(jnp.int32, origin.shape, 1) == 1
    nearer = 1 - 2 * lax.broadcasted_iota(reach.dtype, origin.shape, 0)
    here = lambda x: x[None, None]
    there = lambda x: lax.stop_gradient(windows.entries(rows, x.reshape(rows.points.shape), origin))
    gap = here(rows.flat(rows.points)) - there(rows.points)
    left = here(reach) - ratio(jnp.where(right, -gap, gap), rows.units(3))
    masses = _weighted(power, left, nearer, sums[: power + 1])
    kinds = [masses]
    if len(sums) > power + 1:
        shift = there(points.values) - here(points.values)
        relative = _weighted(power, left, nearer, sums[power + 1 :])
        kinds.append(tuple(x + shift * mass for x, mass in zip(relative, masses, strict=True)))
    total, slope = zip(*(tuple(x.sum((0, 1)) for x in kind) for kind in kinds), strict=True)
    return total, slope


def _weighted(power: int, left: Array, nearer: Array, moments: list[Array]) -> tuple[Array, Array]:
    """Sums under weights and under slopes, from moments about origins to which so much of the radius is left."""
    raised = lambda moments: [left * low + nearer * high for low, high in pairwise(moments)]
    for _ in range(power - 1):
        moments = raised(moments)
    return raised(moments)[0], moments[0]
