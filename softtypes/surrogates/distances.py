"""Sums over ascending keys of what soft distances lack of hard ones, without a matrix:

    Q_j = sum_i lack(abs(u_j - u_i)),   lack(x) = x - x (2 S(x) - 1),   u the keys in units of the softness.

Their rises from key to key are summed as such: the difference of two sums would have no digits left.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.polynomial import Polynomial

from softtypes.surrogates import along, platform, windows
from softtypes.surrogates.laplace import recur
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


# The logistic function: lack(x) = x f(q), q = exp(-x), f(q) = 2 q / (1 + q), which is a polynomial in q to any
# precision that a dtype has (its pole is at -1, so that the error falls by 5.8 a degree).


def _powers(dtype) -> np.ndarray:
    """Coefficients of q, q^2, ... in f, on [0, 1]."""
    degree = 9 if jnp.finfo(dtype).bits <= 32 else 19
    chebyshev = np.polynomial.chebyshev.Chebyshev.interpolate(lambda q: 2 / (1 + q), degree, (0, 1))
    return chebyshev.convert(kind=Polynomial, domain=(-1, 1), window=(-1, 1)).coef


def _logistic(gaps: Array, counted: Array) -> Lacks:
    """From the sums of `q^m` and `x q^m` over the keys on either side, which are recurrences over the gaps."""
    powers = jnp.asarray(_powers(gaps.dtype), gaps.dtype)
    rates = 1 + np.arange(powers.size, dtype=gaps.dtype)
    gaps, counted = jnp.moveaxis(gaps, -1, 0), jnp.moveaxis(counted, -1, 0)
    to_right = along.shifted(gaps, 1)
    both = lambda x, y: jnp.stack([x, y[::-1]], 1)[..., None]
    before = both(along.shifted(counted, 1), along.shifted(counted, -1))

    masses, moments = _running(rates, both(to_right, gaps), before)
    sums = ((moments[:, 0] + moments[::-1, 1]) * powers.reshape((1,) * gaps.ndim + (-1,))).sum(-1)
    fixed = lax.stop_gradient((masses, moments, gaps[..., None], counted[..., None]))
    return Lacks(jnp.moveaxis(sums, 0, -1), jnp.moveaxis(_logistic_rises(powers, rates, *fixed), 0, -1))


def _running(rates: np.ndarray, gaps: Array, masses: Array) -> tuple[Array, Array]:
    """The sums `q^m` and `x q^m` of all points before, along the first axis: the mass at a point joins before its gap.

    Args:
        rates: `(p,)`, the powers m.
        gaps: `(n, ..., 1)`.
        masses: `(n, ..., 1)`.
    """
    decay = lambda gap: jnp.exp(-rates.reshape((1,) * (gap.ndim - 1) + (-1,)) * gap)
    if platform.in_turn():

        def step(sums, now):
            gap, mass = now
            entered = sums[0] + mass
            sums = decay(gap) * entered, decay(gap) * (sums[1] + gap * entered)
            return sums, sums

        nothing = jnp.zeros_like(decay(gaps[0]))
        return lax.scan(step, (nothing, nothing), (gaps, masses))[1]
    decays = decay(gaps)
    (sums,) = recur(decays, [decays * masses], False)
    entered = along.shifted(sums, 1) + masses
    return sums, recur(decays, [decays * gaps * entered], False)[0]


def _logistic_rises(powers: Array, rates: np.ndarray, masses, moments, gaps: Array, counted: Array) -> Array:
    rates = rates.reshape((1,) * (gaps.ndim - 1) + (-1,))
    ahead = lambda x: along.shifted(x, -1)
    right_mass, right_moment = ahead(masses[::-1, 1]), ahead(moments[::-1, 1])
    fall = jnp.expm1(-rates * gaps)
    entered = masses[:, 0] + counted - right_mass - ahead(counted)
    rises = fall * (moments[:, 0] - right_moment) + (1 + fall) * gaps * entered
    return (rises * powers.reshape((1,) * (gaps.ndim - 1) + (-1,))).sum(-1)


# The compact steps: with v = x / reach, lack(x) = reach v (1 - v)^a (c_0 + c_1 v + c_2 v^2) up to v = 1, and 0 beyond.

FACTORS = {"c0": (1, (1.0,)), "c1": (2, (1.0, 1 / 2)), "c2": (3, (1.0, 9 / 8, 3 / 8))}


def _compact(factors: tuple, keys: Array, gaps: Array, counted: Array, unit: Array, reach: float) -> Lacks:
    """From windows to the left of each key, where it moves on to the next, and to its right, where it comes from the
    one before: of keys in reach of both, and of keys in reach of it alone.

    Over a gap the distances of those in reach of both change smoothly, those of the others lose all they lack.
    """
    rows = windows.rows(keys, unit)
    table = windows.table(rows, None, counted, degree=factors[0] + len(factors[1]))
    parts = _parts(rows, table, _windows(rows))
    lacking = _lacking(factors, *parts)
    held, gaps = lax.stop_gradient((parts, gaps.reshape(-1)))
    shared = _Parts(held.distance[:, :2], [x[:, :2] for x in held.moments])
    moves = jnp.stack([gaps, along.shifted(gaps, 1)])[None] / reach
    change = _gained(factors, shared, moves) - lax.stop_gradient(lacking[:, 2:])
    left, right = change[0] + change[1]
    rises = jnp.where(_is_last(rows), 0, reach * (left - along.shifted(right, -1)))
    return Lacks(reach * lacking.sum((0, 1)).reshape(keys.shape), rises.reshape(keys.shape))


def _is_last(rows: windows.Rows) -> Array:
    return windows.places_of(rows) == rows.points.shape[-1] - 1


def _windows(rows: windows.Rows) -> Array:
    """Their ends, `(2, 4, b n)`: in reach of both ends of a gap those to the left and those to the right, then those in
    reach of one alone."""
    own = windows.places_of(rows)
    lower, upper = windows.edges(rows, jnp.ones_like(own, rows.points.dtype))
    left = jnp.where(_is_last(rows), lower, along.shifted(lower, -1))
    right = jnp.where(own == 0, 0, jnp.maximum(along.shifted(upper, 1), own))
    return jnp.stack([own + 1, own, left, right, left, right, lower, upper]).reshape(2, 4, -1)


class _Parts(NamedTuple):
    """Windows in two parts, with the moments of their keys about an origin: of the near part the farthest key, so that
    odd ones are negative."""

    distance: Array  # (2, w, b n), of the origin
    moments: list[Array]


def _parts(rows: windows.Rows, table: Array, ends: Array) -> _Parts:
    """To the left and to the right of keys, by turns."""
    origin, sums = windows.moments(rows, table, ends)
    keys, unit = rows.points, rows.units(3)
    gap = rows.flat(keys)[None, None] - lax.stop_gradient(windows.entries(rows, keys, origin))
    gap = jnp.where((lax.broadcasted_iota(jnp.int32, gap.shape, 1) & 1) == 1, -gap, gap)
    near = gap <= 1.0001 * unit  # or else the part is empty
    outwards = 2 * lax.broadcasted_iota(keys.dtype, (2, 1, 1), 0) - 1
    signed = [x * outwards if power % 2 else x for power, x in enumerate(sums)]
    return _Parts(ratio(jnp.where(near, gap, 0), unit), signed)


def _times(parts: _Parts, constant: int, slope: int) -> _Parts:
    """Of terms times `constant + slope v`."""
    here, pairs = constant + slope * parts.distance, zip(parts.moments[:-1], parts.moments[1:], strict=True)
    return parts._replace(moments=[here * low + slope * high for low, high in pairs])


def _total(parts: _Parts, coefficients: Sequence[float]) -> Array:
    """Of terms times a polynomial in v."""
    out = coefficients[0] * parts.moments[0]
    for coefficient in coefficients[1:]:
        parts = _times(parts, 0, 1)
        out = out + coefficient * parts.moments[0]
    return out


def _falling(power: int, parts: _Parts, rest: Sequence[float]) -> Array:
    """Of terms times `(1 - v)^power` and a polynomial; as factors, which keep their digits near 1."""
    for _ in range(power):
        parts = _times(parts, 1, -1)
    return _total(parts, rest)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _lacking(factors: tuple, distance: Array, moments: list[Array]) -> Array:
    """Of terms that are what they lack, in units of the reach."""
    return _falling(factors[0], _times(_Parts(distance, moments), 0, 1), factors[1])


@_lacking.defjvp
def _lacking_jvp(factors, primals, tangents):
    """Linear in the moments; so few of the steps to the sums are kept."""
    parts = _Parts(*primals)
    change = _falling(factors[0], _times(parts._replace(moments=tangents[1]), 0, 1), factors[1])
    return _lacking(factors, *primals), change + _slope(factors, parts) * tangents[0]


def _slope(factors: tuple, parts: _Parts) -> Array:
    """Of terms that are the derivative of what they lack."""
    rest = Polynomial([0, 1]) * Polynomial(factors[1])
    slope = Polynomial([1, -1]) * rest.deriv() - factors[0] * rest  # over (1 - v)^power
    return _falling(factors[0] - 1, parts, slope.coef.tolist())


def _gained(factors: tuple, parts: _Parts, gap: Array) -> Array:
    """The integral of the slope over the gap: exactly, by Gauss's nodes."""
    nodes, weights = np.polynomial.legendre.leggauss((factors[0] + len(factors[1])) // 2)
    at = lambda node: _slope(factors, parts._replace(distance=parts.distance + node * gap))
    pairs = zip(((1 + nodes) / 2).tolist(), (weights / 2).tolist(), strict=True)
    return gap * sum(weight * at(node) for node, weight in pairs)
