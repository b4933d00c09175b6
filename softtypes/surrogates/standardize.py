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
    total: Array | None = None  # (..., 1), their sum in parts of `_part`, where few passes over the row matter


class Moments(NamedTuple):
    """The variance is in units of the scale, a power of two near the largest distance from the mean, so that no square
    over- or underflows between 1e-30 and 1e30. It is 0 where that distance is within the rounding of the mean."""

    scale: Array  # (..., 1)
    mean: Array  # (..., 1)
    variance: Array  # (..., 1)


def tally(x: Array, where: Array | None) -> Tally:
    """Finite entries count, of those that are asked for."""
    x = lax.stop_gradient(x)
    finite = jnp.isfinite(x)
    if where is not None:
        counts = finite & where
        return Tally(counts, number(counts, x.dtype))
    total = x.sum(-1, keepdims=True)  # finite only if all entries are
    of_all = lambda x, total: (jnp.zeros_like(total, dtype=jnp.int32) + x.shape[-1], total * _part(x))
    of_finite = lambda x, total: (number(jnp.isfinite(x), x.dtype), _total(x, jnp.isfinite(x)))
    return Tally(finite, *platform.shortcut(jnp.isfinite(total), of_all, of_finite, x, total))


def number(entries: Array, dtype) -> Array:
    """How many entries there are, `(..., 1)`. XLA sums floats sooner, and up to so many exactly."""
    exact = entries.shape[-1] < 2 / jnp.finfo(dtype).eps
    return entries.sum(-1, keepdims=True, dtype=dtype if exact else jnp.int32).astype(jnp.int32)


def _part(x: Array) -> float:
    """Exact to multiply with, and the sum of so many parts can't overflow."""
    return 2.0 ** -x.shape[-1].bit_length()


def _total(x: Array, counts: Array) -> Array:
    return along.total(jnp.where(counts, x * _part(x), 0))


def moments(x: Array, tally: Tally) -> Moments:
    """Of a row's entries that count."""
    quick = tally.total is not None
    total = tally.total if quick else _total(lax.stop_gradient(x), tally.counts)
    return Moments(*_moments(quick, x, tally.counts, tally.count, total))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _moments(quick: bool, x: Array, counts: Array, count: Array, total: Array) -> tuple[Array, Array, Array]:
    size = _size(count, x.dtype)
    mean = total / (size * _part(x))
    centred = jnp.where(counts, x - mean, 0)
    if not quick:
        scale, squares = _scaled_squares(centred, _rounding(mean))
        return scale, mean, squares / size
    squares = (centred**2).sum(-1, keepdims=True)
    info, rounding = jnp.finfo(x.dtype), _rounding(mean)
    ordinary = (squares > size * rounding**2) & (squares > float(info.tiny) / float(info.eps) ** 2)
    of_ordinary = lambda centred, squares, rounding: (jnp.ones_like(squares), squares)
    of_any = lambda centred, squares, rounding: _scaled_squares(centred, rounding)
    scale, squares = platform.shortcut(ordinary & (squares < jnp.inf), of_ordinary, of_any, centred, squares, rounding)
    return scale, mean, squares / size


@_moments.defjvp
def _moments_jvp(quick, primals, tangents):
    x, counts, count, _ = primals
    scale, mean, variance = _moments(quick, *primals)
    dx, size = jnp.where(counts, tangents[0], 0), _size(count, x.dtype)
    unit = jnp.where(counts & (variance > 0), (x - mean) / scale, 0)
    change = 2 * (unit * dx).sum(-1, keepdims=True) / size / scale
    return (scale, mean, variance), (jnp.zeros_like(scale), dx.sum(-1, keepdims=True) / size, change)


def _size(count: Array, dtype) -> Array:
    return jnp.maximum(count, 1).astype(dtype)


def _rounding(mean: Array) -> Array:
    return 4 * jnp.finfo(mean.dtype).eps * jnp.abs(mean)


def _scaled_squares(centred: Array, rounding: Array) -> tuple[Array, Array]:
    largest = along.largest_magnitude(centred)
    scale = _power_of_two(largest)
    squares = ((centred / scale) ** 2).sum(-1, keepdims=True)
    return scale, jnp.where(largest > rounding, squares, 0)


def _power_of_two(size: Array) -> Array:
    """Near a positive number; 1 for 0."""
    low = jnp.where(size > 1, size / 2, size)  # which rounding up keeps finite
    power = lax.reduce_precision(low, jnp.finfo(size.dtype).nexp, 0)
    return jnp.where(power > 0, power, 1)


@jax.custom_jvp
def deviation(scale: Array, variance: Array) -> Array:
    """`sqrt(var + 1e-6 var / (var + 1e-4))` in units of the scale; 1 for a constant row.

    Scale-free where the variance is small, and `sqrt(var + 1e-6)` to 1e-7 where it is ordinary.
    """
    return jnp.where(variance > 0, jnp.sqrt(variance * (1 + 1e-6 / _softened(scale, variance))), 1)


def _softened(scale: Array, variance: Array) -> Array:
    return jnp.clip(scale, 1e-15, 1e15) ** 2 * variance + 1e-4


@deviation.defjvp
def _deviation_jvp(primals, tangents):
    """Of a fixed scale; in closed form, which compiles to fewer kernels."""
    (scale, variance), out = primals, deviation(*primals)
    slope = (1 + 1e-10 / _softened(scale, variance) ** 2) / (2 * out)
    return out, jnp.where(variance > 0, slope, 0) * tangents[1]


def standardize(x: Array, counts: Array, moments: Moments, mirrored: bool = False) -> Array:
    """`sigmoid((x - mean) / std)` along the last axis, over the entries that count; of `-x` if mirrored."""
    scale, mean, variance = moments
    spread = jnp.where(variance > 0, deviation(scale, variance), jnp.inf)
    unit = _standard(x, counts, scale, mean, spread)
    return jax.nn.sigmoid(-unit if mirrored else unit)


@jax.custom_jvp
def _standard(x: Array, counts: Array, scale: Array, mean: Array, spread: Array) -> Array:
    return jnp.where(counts, x - mean, 0) / scale / spread


@_standard.defjvp
def _standard_jvp(primals, tangents):
    _, counts, scale, _, spread = primals
    dx, _, _, dmean, dspread = tangents
    z = _standard(*primals)
    change = along.held(dx - dmean - z * along.spread(scale * dspread, z)) / spread / scale
    return z, jnp.where(counts, change, 0)
