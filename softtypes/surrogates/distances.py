"""Sums over ascending keys of what soft distances lack of hard ones, without a matrix:

    Q_j = sum_i lack(abs(u_j - u_i)),   lack(x) = x - x (2 S(x) - 1),   u the keys in units of the softness.

Their rises from key to key are summed as such: the difference of two sums would have no digits left.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_derivatives import SymbolicZero
from numpy.polynomial import Polynomial

from softtypes.surrogates import along, platform, windows
from softtypes.surrogates.laplace import by_doubling, recur
from softtypes.surrogates.modes import Mode
from softtypes.surrogates.ratio import ratio


class Points(NamedTuple):
    """Ascending keys, in units of the softness: sums are made of the gaps, and change as places and the scale do."""

    gaps: Array  # (..., n), from each to the next
    places: Array  # (..., n), the keys, but not their change with the softness
    scale: Array | None  # (..., 1), minus the logarithm of the softness, if that is no constant


class Lacks(NamedTuple):
    """Of ascending keys, to be differentiated, and the rises from each to the next, which are not; the last is 0."""

    sums: Array  # (..., n)
    rises: Array  # (..., n)


def lacks(keys: Array, points: Points, counted: Array, unit: Array, mode: Mode) -> Lacks:
    """The sums over keys that count, which come first.

    Args:
        keys: `(..., n)`, ascending.
        points: the same in units.
        counted: `(..., n)`, 1 or 0.
        unit: the softness, 0-d or `(..., 1)`.
        mode: which distances.
    """
    if mode.step.reach is None:
        return _logistic(points, counted)
    return _compact(FACTORS[mode.name], keys, points.gaps, counted, mode.step.reach * unit, mode.step.reach)


# The logistic function: lack(x) = x f(q), q = exp(-x), f(q) = 2 q / (1 + q), which is a polynomial in q to any
# precision that a dtype has (its pole is at -1, so that the error falls by 5.8 a degree).


@cache
def _powers(dtype) -> np.ndarray:
    """Coefficients of q, q^2, ... in f, on [0, 1]."""
    degree = 9 if jnp.finfo(dtype).bits <= 32 else 19
    chebyshev = np.polynomial.chebyshev.Chebyshev.interpolate(lambda q: 2 / (1 + q), degree, (0, 1))
    return chebyshev.convert(kind=Polynomial, domain=(-1, 1), window=(-1, 1)).coef.astype(dtype)


def _rates(like: Array) -> np.ndarray:
    """The powers, `(1, ..., p)`."""
    return np.arange(1, _powers(like.dtype).size + 1, dtype=like.dtype).reshape((1,) * (like.ndim - 1) + (-1,))


def _polynomial(terms: Array) -> Array:
    """The sums `(..., n)` of the powers' terms, `(n, ..., p)`."""
    return jnp.moveaxis((terms * _powers(terms.dtype).reshape(_rates(terms).shape)).sum(-1), 0, -1)


class _Steps(NamedTuple):
    """Over the gaps before each key, one after the other from either end, `(n, 2, ...)`."""

    gaps: Array  # (n, 2, ..., 1)
    stays: Array  # (n, 2, ..., p), 1 where a sum falls by less than its half, or else 0
    falls: Array  # and how it changes beside what stays


class _Sums(NamedTuple):
    """Over the keys on one side of each, at distances x, by the powers of q: `(n, ..., p)`."""

    masses: Array  # of q^m
    moments: Array  # of x q^m


@jax.custom_jvp
def _logistic(points: Points, counted: Array) -> Lacks:
    return _lacks_and_slopes(_steps(points.gaps), counted)[0]


@partial(_logistic.defjvp, symbolic_zeros=True)
def _logistic_jvp(primals, tangents):
    """By the slopes of each pair. A derivative in a gap is a sum over all pairs that it parts: from gap to gap these
    differ in their last digits.
    """
    (points, counted), (moved, _) = primals, tangents
    steps = _steps(points.gaps)
    out, slopes = _lacks_and_slopes(steps, counted)
    change = jnp.zeros_like(slopes)
    if not isinstance(moved.places, SymbolicZero):
        left, right = _either_side(_running, steps, counted * moved.places)
        change = slopes * moved.places - (_slopes(left) - _slopes(right))
    if not isinstance(moved.scale, SymbolicZero | None):
        sums_of = lambda gaps: _lacks_and_slopes(_steps(gaps), counted)[0].sums
        change = change + jax.jvp(sums_of, (points.gaps,), (points.gaps * moved.scale,))[1]
    return out, Lacks(change, jnp.zeros_like(change))


def _steps(gaps: Array) -> _Steps:
    gaps = jnp.moveaxis(gaps, -1, 0)
    gaps = jnp.stack([along.shifted(gaps, 1), gaps[::-1]], 1)[..., None]
    x = _rates(gaps) * gaps
    near = x < 0.5
    return _Steps(gaps, *along.held((near.astype(x.dtype), jnp.where(near, jnp.expm1(-x), jnp.exp(-x)))))


def _lacks_and_slopes(steps: _Steps, counted: Array) -> tuple[Lacks, Array]:
    """And the derivative of each sum in its key, with all others at rest."""
    left, right = _either_side(_running_exactly, steps, counted)
    sums, slopes = _polynomial(left.moments + right.moments), _slopes(left) - _slopes(right)
    (gaps, stays, falls), counted = (x[::-1, 1] for x in steps), jnp.moveaxis(counted, -1, 0)[..., None]
    ahead = lambda x: along.shifted(x, -1)
    entered = left.masses + counted - ahead(right.masses) - ahead(counted)
    rises = (falls + (stays - 1)) * (left.moments - ahead(right.moments)) + (falls + stays) * gaps * entered
    return Lacks(sums, _polynomial(rises)), slopes


def _slopes(side: _Sums) -> Array:
    """Of `lack'(x) = f(q) - x q f'(q)`."""
    return _polynomial(side.masses - _rates(side.masses) * side.moments)


def _either_side(running: Callable, steps: _Steps, masses: Array) -> tuple[_Sums, _Sums]:
    """Of masses `(..., n)` at the keys."""
    masses = jnp.moveaxis(masses, -1, 0)
    masses = jnp.stack([along.shifted(masses, 1), along.shifted(masses, -1)[::-1]], 1)[..., None]
    found = running(steps, masses)
    return _Sums(*(x[:, 0] for x in found)), _Sums(*(x[::-1, 1] for x in found))


def _running(steps: _Steps, masses: Array) -> list[Array]:
    """The sums of `q^m` and `x q^m` over all points before, along the first axis. A mass, `(n, ..., 1)`, joins before
    its gap.
    """
    if platform.in_turn():

        def step(sums, now):
            (gap, stays, falls), mass = now
            entered = sums[0] + mass
            sums = [(stays + falls) * x for x in (entered, sums[1] + gap * entered)]
            return sums, sums

        return lax.scan(step, [jnp.zeros_like(steps.falls[0])] * 2, (steps, masses))[1]
    return _at_once(by_doubling, steps, masses)  # linear in masses: jax 0.12 transposes no custom derivative, as recur


def _at_once(recurrence: Callable, steps: _Steps, masses: Array) -> list[Array]:
    decays = steps.stays + steps.falls
    (sums,) = recurrence(decays, [decays * masses], False)
    entered = along.shifted(sums, 1) + masses
    return [sums, *recurrence(decays, [decays * steps.gaps * entered], False)]


def _running_exactly(steps: _Steps, masses: Array) -> list[Array]:
    """In turn, to the last digit, by Kahan's sums: what rounding takes from one is added to the next. Errors of the
    plain recurrence are alike over many keys, and rises would add them up.
    """
    if not platform.in_turn():
        return _at_once(recur, steps, masses)

    def step(sums, now):
        (gap, stays, falls), mass = now
        entering = mass, gap * (sums[0][0] + mass)

        def decayed(total, lost, more):
            kept, change = stays * total, falls * (total + more) + stays * (more + lost)
            return kept + change, change - ((kept + change) - kept)

        sums = [decayed(*one, more) for one, more in zip(sums, entering, strict=True)]
        return sums, [total for total, _ in sums]

    nothing = jnp.zeros_like(steps.falls[0])
    return lax.scan(step, [(nothing, nothing)] * 2, (steps, masses))[1]


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
