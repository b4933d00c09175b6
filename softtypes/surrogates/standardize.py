"""Standardisation of a row to (0, 1), at any scale of the data.

Ordinary rows take few passes over the data: the branches for others give ordinary rows the same bits.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates import along, platform


class Tally(NamedTuple):
    """What counts of a row; not to be differentiated."""

    counts: Array  # (..., n), bool
    count: Array  # (..., 1), how many entries do
    mean: Array | None = None  # (..., 1), of these, where few passes over the row matter


class Moments(NamedTuple):
    """The variance is of the row times the factor, a power of two that brings the largest distance from the mean near
    1, so that no square over- or underflows. It is 0 where that distance is within the rounding of the mean."""

    factor: Array  # (..., 1)
    mean: Array  # (..., 1)
    variance: Array  # (..., 1)
    softened: Array  # (..., 1), that of the row itself, as far as squares go, plus 1e-4


def tally(x: Array, where: Array | None) -> Tally:
    """Finite entries count, of those that are asked for."""
    x = lax.stop_gradient(x)
    finite = jnp.isfinite(x)
    if where is not None:
        counts = finite & where
        return Tally(counts, number(counts, x.dtype))
    total = x.sum(-1, keepdims=True)  # finite only if all entries are
    return Tally(finite, *platform.shortcut(jnp.isfinite(total), _of_all, _of_finite, x, total))


def _of_all(x: Array, total: Array) -> tuple[Array, Array]:
    n = x.shape[-1]
    count = jnp.zeros_like(total, dtype=jnp.int32) + n
    return count, total / (n + 0 * total)  # over a constant XLA would round twice


def _of_finite(x: Array, _: Array) -> tuple[Array, Array]:
    finite = jnp.isfinite(x)
    count = number(finite, x.dtype)
    return count, _mean(x, finite, count)


def number(entries: Array, dtype) -> Array:
    """How many entries there are, `(..., 1)`. XLA sums floats sooner, and up to so many exactly."""
    exact = entries.shape[-1] < 2 / jnp.finfo(dtype).eps
    return entries.sum(-1, keepdims=True, dtype=dtype if exact else jnp.int32).astype(jnp.int32)


def _mean(x: Array, counts: Array, count: Array) -> Array:
    part = 2.0 ** -x.shape[-1].bit_length()  # exact to multiply with, and the sum of so many parts can't overflow
    return along.total(jnp.where(counts, x * part, 0)) / (_size(count, x.dtype) * part)


def moments(x: Array, tally: Tally) -> Moments:
    """Of a row's entries that count."""
    quick = tally.mean is not None
    mean = tally.mean if quick else _mean(lax.stop_gradient(x), tally.counts, tally.count)
    return _moments(quick, x, tally.counts, tally.count, mean)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _moments(quick: bool, x: Array, counts: Array, count: Array, mean: Array) -> Moments:
    centred = jnp.where(counts, x - mean, 0)
    if not quick:
        return _moments_at_any_scale(centred, mean, count)
    squares = (centred**2).sum(-1, keepdims=True)
    info, size = jnp.finfo(x.dtype), _size(count, x.dtype)
    ordinary = (squares > size * _rounding(mean) ** 2) & (squares > float(info.tiny) / float(info.eps) ** 2)

    def of_ordinary(_, mean: Array, count: Array, squares: Array) -> Moments:
        variance = squares / _size(count, mean.dtype)
        return Moments(jnp.ones_like(mean), mean, variance, variance + 1e-4)

    of_any = lambda centred, mean, count, _: _moments_at_any_scale(centred, mean, count)
    rest = mean, count, squares
    return platform.shortcut(ordinary & (squares < jnp.inf), of_ordinary, of_any, centred, *rest)._replace(mean=mean)


@_moments.defjvp
def _moments_jvp(quick, primals, tangents):
    x, counts, count, _ = primals
    out = _moments(quick, *primals)
    dx, size = jnp.where(counts, tangents[0], 0), _size(count, x.dtype)
    unit = jnp.where(counts & (out.variance > 0), (x - out.mean) * out.factor, 0)
    change = 2 * (unit * dx).sum(-1, keepdims=True) / size * out.factor
    mean = dx.sum(-1, keepdims=True) / size
    return out, Moments(jnp.zeros_like(change), mean, change, change / _unit(out.factor))


def _size(count: Array, dtype) -> Array:
    return jnp.maximum(count, 1).astype(dtype)


def _rounding(mean: Array) -> Array:
    return 4 * jnp.finfo(mean.dtype).eps * jnp.abs(mean)


def _moments_at_any_scale(centred: Array, mean: Array, count: Array) -> Moments:
    largest = along.largest_magnitude(centred)
    factor = _factor(largest)
    squares = ((centred * factor) ** 2).sum(-1, keepdims=True)
    variance = jnp.where(largest > _rounding(mean), squares / _size(count, mean.dtype), 0)
    return Moments(factor, mean, variance, variance / _unit(factor) + 1e-4)


def _unit(factor: Array) -> Array:
    """Of the variance, as far as squares go."""
    return jnp.clip(factor, 1e-15, 1e15) ** 2


def _factor(size: Array) -> Array:
    """A power of two that brings a positive number near 1; 1 for 0."""
    low = jnp.where(size > 1, size / 4, size)  # which rounding up keeps finite, and the inverse normal
    power = lax.reduce_precision(low, jnp.finfo(size.dtype).nexp, 0)
    return jnp.where(power > 0, 1 / power, 1)


def deviation(moments: Moments) -> Array:
    """`sqrt(var + 1e-6 var / (var + 1e-4))` of the row times the factor; 0 for a constant row.

    Scale-free where the variance is small, and `sqrt(var + 1e-6)` to 1e-7 where it is ordinary.
    """
    return jnp.where(moments.variance > 0, _deviation(moments.variance, moments.softened), 0)


@jax.custom_jvp
def _deviation(variance: Array, softened: Array) -> Array:
    return jnp.sqrt(variance * (1 + 1e-6 / softened))


@_deviation.defjvp
def _deviation_jvp(primals, tangents):
    """In closed form, with that of what is softened: its own derivative alone asks for the tangent of that."""
    (variance, softened), out = primals, _deviation(*primals)
    slope = (1 + 1e-10 / softened**2) / (2 * jnp.where(variance > 0, out, 1))
    return out, jnp.where(variance > 0, slope, 0) * tangents[0]


def standardize(x: Array, counts: Array, moments: Moments, mirrored: bool = False) -> Array:
    """`sigmoid((x - mean) / std)` along the last axis, over the entries that count; of `-x` if mirrored."""
    spread = jnp.where(moments.variance > 0, deviation(moments), jnp.inf)
    unit = _standard(x, counts, moments.factor, moments.mean, spread)
    return jax.nn.sigmoid(-unit if mirrored else unit)


@jax.custom_jvp
def _standard(x: Array, counts: Array, factor: Array, mean: Array, spread: Array) -> Array:
    return jnp.where(counts, x - mean, 0) * factor / spread


@_standard.defjvp
def _standard_jvp(primals, tangents):
    _, counts, factor, _, spread = primals
    dx, _, _, dmean, dspread = tangents
    z = _standard(*primals)
    change = along.held(dx - dmean - z * along.spread(dspread / factor, z)) * factor / spread
    return z, jnp.where(counts, change, 0)
