"""The exact order of rows: NaN, infinities and masked entries in their places, ties in the order they stand in."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from softtypes._lift import iota_like
from softtypes.surrogates import platform


class Ordering(NamedTuple):
    """What an operator orders by: the direction, whether NaN comes first, and which entries count."""

    descending: bool = False
    nan_first: bool = False
    where: Array | None = None  # (..., n)


def exact_order(x: Array, ordering: Ordering) -> Array:
    """The stable order of the exact values; masked entries come last, in their original order."""
    signed = reverse(x) if ordering.descending else x
    return order_of(levels(signed, ordering), signed)


def reverse(x: Array) -> Array:
    """The opposite order: `-x`, or the complement for integers and Booleans, which can't overflow."""
    return -x if jnp.issubdtype(x.dtype, jnp.floating) else ~x


def levels(signed: Array, ordering: Ordering) -> Array:
    """Finite entries are at level 0, infinities beside them, NaN beyond, masked entries last of all."""
    level = jnp.zeros_like(signed, dtype=jnp.int32)
    if jnp.issubdtype(signed.dtype, jnp.floating):
        level = jnp.where(jnp.isinf(signed), jnp.where(signed > 0, 1, -1), level)
        level = jnp.where(jnp.isnan(signed), -2 if ordering.nan_first else 2, level)
    return level if ordering.where is None else jnp.where(ordering.where, level, 3)


def order_of(level: Array, signed: Array) -> Array:
    """The order by level and, within level 0, by value."""
    if jnp.issubdtype(signed.dtype, jnp.floating):
        return _sorted(_integer_keys(level, signed), iota_like(level))[1]
    value = jnp.where(level == 0, signed, jnp.zeros_like(signed))
    return lax.sort((level, value, iota_like(level)), num_keys=2, is_stable=True)[2]


def order_and_starts(level: Array, signed: Array) -> tuple[Array, Array]:
    """The order of floats, and where in it the levels start, `(..., 6)`."""
    places = iota_like(level)  # not of `signed`: what is differentiated is not seen to be sharded
    keys, order = _sorted(_integer_keys(level, signed), places)
    search = lambda keys: jnp.searchsorted(keys, jnp.array(_outside(keys.dtype), keys.dtype), method="scan")
    for _ in range(keys.ndim - 1):
        search = jax.vmap(search)
    below = search(keys).astype(jnp.int32)
    return order, jnp.concatenate([jnp.zeros_like(below[..., :1]), below], -1)


def leading(level: Array, signed: Array, k: int) -> Array:
    """The first k of the order. XLA is quick at it in single precision only, and where all entries are finite."""
    whole = lambda: order_of(level, signed)[..., :k]
    if signed.dtype != jnp.float32:
        return whole()
    value = lax.stop_gradient(jnp.where(signed != 0, signed, 0))  # not -0.0, which 0.0 equals
    return lax.cond((level == 0).all(), lambda: lax.top_k(-value, k)[1], whole)


def first(x: Array, ordering: Ordering) -> tuple[Array, Array]:
    """The first of the order of floats, where NaN comes before all, and its value. By two extremes: XLA finds those of
    numbers sooner than `argmin`."""
    x = lax.stop_gradient(x)
    last = -jnp.inf if ordering.descending else jnp.inf
    x = x if ordering.where is None else jnp.where(ordering.where, x, last)
    value = (jnp.max if ordering.descending else jnp.min)(x, -1, keepdims=True)  # NaN where an entry is
    hit = (x == value) | jnp.isnan(x)
    hit = hit if ordering.where is None else hit & ordering.where
    return _first_place(hit), value


def _first_place(hit: Array) -> Array:
    """The first place along the last axis that is hit, or the last place. XLA is sooner with floats, where they do."""
    places, last = iota_like(hit), hit.shape[-1] - 1
    if last < 2**24:
        places = places.astype(jnp.float32)
    return jnp.where(hit, places, last).min(-1, keepdims=True).astype(jnp.int32)


def _outside(integer) -> tuple[int, ...]:
    """The keys from which on levels start, of levels -1 to 3: of no finite value; that of level -2 is one below."""
    first, last = jnp.iinfo(integer).min, jnp.iinfo(integer).max
    return first + 1, first + 2, last - 2, last - 1, last


def _integer_keys(level: Array, signed: Array) -> Array:
    """Integers in the order of the levels and, within level 0, of the finite values.

    The bits of a float are in its order, once those of negative ones are turned round.
    """
    integer = jnp.dtype(f"int{8 * signed.dtype.itemsize}")
    first, last = jnp.iinfo(integer).min, jnp.iinfo(integer).max
    value = jnp.where((level == 0) & (signed != 0), signed, jnp.zeros_like(signed))  # not -0.0, which 0.0 equals
    bits = lax.bitcast_convert_type(lax.stop_gradient(value), integer)
    keys = jnp.where(bits < 0, bits ^ last, bits)
    outside = jnp.where(level < 0, first + 2 + level.astype(integer), last - 3 + level.astype(integer))
    return jnp.where(level == 0, keys, outside)


def _sorted(keys: Array, places: Array) -> tuple[Array, Array]:
    """Signed integers in ascending order, and their places, in which ties stay as they were.

    XLA's CPU sorts one array of integers without a call per comparison, 1.2 to 15 times as fast as keys that
    carry their places along. So a key and its place become the two halves of one integer of 64 bits, also in
    programs of 32 bits.
    """
    if keys.dtype.itemsize > 4 or not platform.in_turn():
        keys, places = lax.sort((keys, places), num_keys=1, is_stable=True)
        return keys, places
    with jax.enable_x64(True):
        high, low = (lax.convert_element_type(half, jnp.int64) for half in (keys, places))
        both = lax.sort((high << 32) | low, is_stable=False)
        return lax.convert_element_type(both >> 32, keys.dtype), lax.convert_element_type(both, places.dtype)
