"""Standardisation of a row to (0, 1), at any scale of the data."""

import jax
import jax.numpy as jnp
from jax import Array

from softtypes.surrogates import along


def moments(x: Array, counts: Array, count: Array) -> tuple[Array, Array, Array]:
    """Scale, mean and variance of a row, the last two in units of the scale; only entries that count enter.

    `count` is how many do, `(..., 1)`.
    """
    _, scale, mean, variance = _centred(x, counts, count)
    return scale, mean, variance


def _centred(x: Array, counts: Array, count: Array) -> tuple[Array, Array, Array, Array]:
    """`(x - mean) / scale`, 0 where an entry does not count, and the moments.

    The scale is the largest magnitude about the mean, so that no square over- or underflows between 1e-30 and 1e30.
    """
    total = jnp.maximum(count, 1).astype(x.dtype)
    part = 2.0 ** -x.shape[-1].bit_length()  # exact, and the sum of so many parts can't overflow
    mean = along.total(jnp.where(counts, x * part, 0)) / (total * part)
    centred = jnp.where(counts, x - mean, 0)
    scale = _positive(along.largest_magnitude(centred))
    # a spread within the rounding of the mean is none: the row is constant
    unit = jnp.where(scale > 4 * jnp.finfo(x.dtype).eps * jnp.abs(mean), centred / scale, 0)
    return unit, scale, mean, (unit**2).sum(-1, keepdims=True) / total


def _positive(size: Array) -> Array:
    size = jax.lax.stop_gradient(size)
    return jnp.where(size > 0, size, 1)


def deviation(scale: Array, variance: Array) -> Array:
    """`sqrt(var + 1e-6 var / (var + 1e-4))` in units of the scale; 1 for a constant row.

    Scale-free where the variance is small, and `sqrt(var + 1e-6)` to 1e-7 where it is ordinary.
    """
    spread = variance > 0
    variance = jnp.where(spread, variance, 1)
    square = jnp.clip(scale, 1e-15, 1e15) ** 2
    return jnp.where(spread, jnp.sqrt(variance * (1 + 1e-6 / (square * variance + 1e-4))), 1)


def standardize(x: Array, counts: Array, count: Array, mirrored: bool = False) -> Array:
    """`sigmoid((x - mean) / std)` along the last axis, over the entries that count; of `-x` if mirrored."""
    unit = _standard(x, counts, count)
    return jax.nn.sigmoid(-unit if mirrored else unit)


@jax.custom_jvp
def _standard(x: Array, counts: Array, count: Array) -> Array:
    unit, scale, _, variance = _centred(x, counts, count)
    return unit / deviation(scale, variance)  # between 1 / sqrt(n) and 1.01: no guard needed


@_standard.defjvp
def _standard_jvp(primals, tangents):
    """`dz = (dx - mean(dx) - r z mean(z dx)) / std` with `r = d std^2 / d var`: two sums that don't wait for each
    other, where the steps of the value have one each."""
    x, counts, count = primals
    dx = jnp.where(counts, tangents[0], 0)
    z = _standard(x, counts, count)
    _, scale, _, variance = _centred(x, counts, count)
    total = jnp.maximum(count, 1).astype(x.dtype)
    guarded = jnp.clip(scale, 1e-15, 1e15) ** 2 * variance + 1e-4
    rate = 1 + 1e-10 / guarded**2  # 1 + 1e-6 / guarded - 1e-6 (guarded - 1e-4) / guarded^2
    mean, turn = (part.sum(-1, keepdims=True) / total for part in (dx, z * dx))
    change = along.held(dx - mean + z * along.spread(-rate * turn, z)) / deviation(scale, variance) / scale
    return z, jnp.where(counts & (variance > 0), change, 0)
