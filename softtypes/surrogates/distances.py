"""Sums over ascending keys of what soft distances lack of hard ones, without a matrix:

    Q_j = sum_i lack(abs(u_j - u_i)),   lack(x) = x - x (2 S(x) - 1),   u the keys in units of the softness.

Their rises from key to key are summed as such: the difference of two sums would have no digits left.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from softtypes.surrogates import windows
from softtypes.surrogates.modes import Mode
from softtypes.surrogates.ratio import ratio


class Lacks(NamedTuple):
    """Of ascending keys, to be differentiated, and the rises from each to the next, which are not; the last is 0."""

    sums: Array  # (..., n)
    rises: Array  # (..., n)


def lacks(keys: Array, gaps: Array, counted: Array, unit: Array, mode: Mode) -> Lacks:
    """The sums over keys that count, which come first.

    Args:
        keys: `(..., n)`, ascending.
        gaps: `(..., n)`, from each key to the next, in units of the softness.
        counted: `(..., n)`, 1 or 0.
        unit: the softness, 0-d or `(..., 1)`.
        mode: which distances.
    """
    if mode.step.reach is None:
        return _logistic(gaps, counted)
    return _compact(FACTORS[mode.name], keys, gaps, counted, mode.step.reach * unit, mode.step.reach)


# The logistic function: lack(x) = x f(q), q = exp(-x), f(q) = 2 q / (1 + q), which is a polynomial in q to any precision
# that a dtype has (its pole is at -1, so that the error falls by 5.8 a degree).


def _powers(dtype) -> np.ndarray:
    """Coefficients of q, q^2, ... in f, on [0, 1]."""
    degree = 9 if jnp.finfo(dtype).bits <= 32 else 19
    chebyshev = np.polynomial.chebyshev.Chebyshev.interpolate(lambda q: 2 / (1 + q), degree, (0, 1))
    return chebyshev.convert(kind=np.polynomial.Polynomial, domain=(-1, 1), window=(-1, 1)).coef


def _logistic(gaps: Array, counted: Array) -> Lacks:
    """From the sums of `q^m` and `x q^m` over the keys on either side, which are recurrences over the gaps."""
    powers = jnp.asarray(_powers(gaps.dtype), gaps.dtype)
    rates = 1 + np.arange(powers.size, dtype=gaps.dtype)
    gaps, counted = jnp.moveaxis(gaps, -1, 0), jnp.moveaxis(counted, -1, 0)
    to_right = jnp.concatenate([jnp.zeros_like(gaps[:1]), gaps[:-1]])
    both = lambda x, y: jnp.stack([x, y[::-1]], 1)[..., None]
    before = both(jnp.concatenate([jnp.zeros_like(counted[:1]), counted[:-1]]),
                  jnp.concatenate([counted[1:], jnp.zeros_like(counted[:1])]))  # fmt: skip

    def step(sums, now):
        gap, mass = now
        decay = jnp.exp(-rates.reshape((1,) * (gap.ndim - 1) + (-1,)) * gap)
        entered = sums[0] + mass
        sums = decay * entered, decay * (sums[1] + gap * entered)
        return sums, sums

    start = jnp.zeros_like(gaps[0])[None, ..., None] * jnp.zeros((2, *(1,) * (gaps.ndim - 1), rates.size), gaps.dtype)
    masses, moments = lax.scan(step, (start, start), (both(to_right, gaps), before))[1]
    sums = ((moments[:, 0] + moments[::-1, 1]) * powers.reshape((1,) * gaps.ndim + (-1,))).sum(-1)
    fixed = lax.stop_gradient((masses, moments, gaps[..., None], counted[..., None]))
    return Lacks(jnp.moveaxis(sums, 0, -1), jnp.moveaxis(_logistic_rises(powers, rates, *fixed), 0, -1))


def _logistic_rises(powers: Array, rates: np.ndarray, masses, moments, gaps: Array, counted: Array) -> Array:
    rates = rates.reshape((1,) * (gaps.ndim - 1) + (-1,))
    ahead = lambda x: jnp.concatenate([x[1:], jnp.zeros_like(x[:1])])
    right_mass, right_moment = ahead(masses[::-1, 1]), ahead(moments[::-1, 1])
    fall = jnp.expm1(-rates * gaps)
    entered = masses[:, 0] + counted - right_mass - ahead(counted)
    rises = fall * (moments[:, 0] - right_moment) + (1 + fall) * gaps * entered
    return (rises * powers.reshape((1,) * (gaps.ndim - 1) + (-1,))).sum(-1)


# The compact steps: with v = x / reach, lack(x) = reach v (1 - v)^a (c_0 + c_1 v + c_2 v^2) up to v = 1, and 0 beyond.

FACTORS = {"c0": (1, (1.0,)), "c1": (2, (1.0, 1 / 2)), "c2": (3, (1.0, 9 / 8, 3 / 8))}


class _Parts(NamedTuple):
    """The parts of windows on the two sides of points, with the moments of their keys, `(2, ..., 2, n, a)`."""

    distance: Array  # (2, ..., 2, n), of the parts' origins from the points
    outwards: Array  # (2, ..., 1, 1), whether keys lie beyond the origin, 1, or before it, -1
    sums: Array

    def times_distance(self) -> "_Parts":
        """Of terms times v."""
        distance, outwards = self.distance[..., None], self.outwards[..., None]
        return self._replace(sums=distance * self.sums[..., :-1] + outwards * self.sums[..., 1:])

    def times_rest(self) -> "_Parts":
        """Of terms times `1 - v`."""
        rest, outwards = 1 - self.distance[..., None], self.outwards[..., None]
        return self._replace(sums=rest * self.sums[..., :-1] - outwards * self.sums[..., 1:])

    def total(self, coefficients) -> Array:
        """Of terms times a polynomial in v, `(..., 2, n)`."""
        parts, out = self, coefficients[0] * self.sums[..., 0]
        for coefficient in coefficients[1:]:
            parts = parts.times_distance()
            out = out + coefficient * parts.sums[..., 0]
        return out.sum(0)


def _compact(factors: tuple, keys: Array, gaps: Array, counted: Array, unit: Array, reach: float) -> Lacks:
    table = windows.table(keys, unit, None, counted, degree=factors[0] + len(factors[1]))
    own, edges = windows.places_of(keys), windows.edges(keys, jnp.ones_like(keys), unit)
    window = jnp.stack([jnp.stack([own, own], -2), edges])
    sums = _lacking(factors, _parts(table, keys, jnp.stack([keys, keys], -2), unit, window)).sum(-2)
    rises = _rises(factors, *lax.stop_gradient((table, keys, gaps / reach, unit)), edges)
    return Lacks(reach * sums, jnp.where(own < keys.shape[-1] - 1, reach * rises, 0))


def _rises(factors: tuple, table: Array, keys: Array, gaps: Array, unit: Array, edges: Array) -> Array:
    """Keys that stay in reach gain a polynomial in their distance and the gap; those that fall out of it lose all."""
    last = windows.places_of(keys) + 1
    ahead = lambda x: jnp.concatenate([x[..., 1:], x[..., -1:]], -1)
    points, middle = jnp.stack([keys, ahead(keys)], -2), jnp.stack([last, last], -2)
    lower, upper = edges[..., 0, :], edges[..., 1, :]
    near = jnp.stack([jnp.minimum(ahead(lower), last), jnp.maximum(upper, last)], -2)
    far = jnp.stack([jnp.minimum(lower, near[..., 0, :]), jnp.maximum(ahead(upper), near[..., 1, :])], -2)
    staying = _parts(table, keys, points, unit, jnp.stack([middle, near])).total(_gained(factors, gaps[..., None, :]))
    change = staying - _lacking(factors, _parts(table, keys, points, unit, jnp.stack([near, far])))
    return change[..., 0, :] - change[..., 1, :]


def _parts(table: Array, keys: Array, points: Array, unit: Array, ends: Array) -> _Parts:
    """Windows from the near ends `ends[0]` to the far ones, to the left and to the right of points `(..., 2, n)`."""
    origin, sums = windows.moments(table, ends)
    side = 1 - 2 * lax.broadcasted_iota(keys.dtype, points.shape, points.ndim - 2)
    unit = unit if unit.ndim == 0 else unit[None, ..., None]
    gap = side[None] * (points[None] - lax.stop_gradient(windows.entries(keys, origin)))
    near = gap <= 1.0001 * unit  # or else the part is empty
    outwards = jnp.asarray([-1, 1], keys.dtype).reshape(2, *(1,) * points.ndim)
    return _Parts(ratio(jnp.where(near, gap, 0), unit), outwards, sums[..., 0, :])


def _lacking(factors: tuple, parts: _Parts) -> Array:
    parts = parts.times_distance()
    for _ in range(factors[0]):
        parts = parts.times_rest()
    return parts.total(factors[1])


def _gained(factors: tuple, gap: Array) -> list[Array]:
    """The coefficients of `lack(v + gap) - lack(v)` as a polynomial in v."""
    power, rest = factors
    polynomial = np.polynomial.Polynomial([0, 1]) * np.polynomial.Polynomial([1, -1]) ** power
    lack = (polynomial * np.polynomial.Polynomial(rest)).coef
    each = lambda b: [math.comb(a, b) * lack[a] for a in range(b + 1, lack.size)]
    return [gap * sum(float(c) * gap**i for i, c in enumerate(each(b))) for b in range(lack.size - 1)]
