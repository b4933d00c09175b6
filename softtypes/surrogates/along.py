"""Sums, scans and moves along the last axis, in the form that XLA's CPU is quick at: of what lies in memory.

What is computed while it is summed takes it several times as long, and a cumulative extreme as a whole several times
as long as by doubling, or for a single row in turn.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates import platform

PLACES: Any = {"unique_indices": True, "mode": "promise_in_bounds", "wrap_negative_indices": False}


def held(x: Any) -> Any:
    """`x`, made once, and not again in each loop that reads it; so is its cotangent."""
    return lax.optimization_barrier(x) if platform.in_turn() else x


def parted(x: Array) -> Array:
    """`x`, held where it is so short that XLA's CPU had better not share among threads what is made of it: that takes
    longer than the arithmetic, and is what it does with more operations than bytes."""
    return held(x) if x.size <= platform.SHORT else x


@jax.custom_jvp
def total(x: Array) -> Array:
    """`x.sum(-1, keepdims=True)` of a product, say. Its tangent is a plain sum, whose transpose is a broadcast."""
    return held(x).sum(-1, keepdims=True)


@total.defjvp
def _total_jvp(primals, tangents):
    return total(*primals), tangents[0].sum(-1, keepdims=True)


def spread(x: Array, like: Array) -> Array:
    """A tangent `(..., 1)` in the shape of `like`, whose transpose is `total`."""
    return held(jnp.broadcast_to(x, like.shape))


def largest_magnitude(x: Array) -> Array:
    """`abs(x).max(-1, keepdims=True)`, and 0 of no entry."""
    return jnp.abs(x).max(-1, keepdims=True, initial=0)


def shifted(x: Array, by: int) -> Array:
    """Moved on by so many places along the first axis; zeros come in. As a concatenation it would be kernels of its
    own."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(by, -by, 0), *[(0, 0, 0)] * (x.ndim - 1)])


def at(x: Array, index: Array) -> Array:
    """Entries of `x`, `(..., n)`, at places `(..., k)`, all of them 0 to n-1: none is wrapped or filled in, each of
    which would be a kernel."""
    take = lambda x, index: x.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)
    batch = jnp.broadcast_shapes(x.shape[:-1], index.shape[:-1])
    return _of_each_row(take, *(jnp.broadcast_to(a, (*batch, a.shape[-1])) for a in (x, index)))


@jax.custom_jvp
def permuted(x: Array, order: Array, inverse: Array) -> Array:
    """Entries `(..., n)` in an order, with its inverse. Its tangent is put in place, so that its transpose takes, too:
    fewer kernels than adding up at places."""
    take = lambda x, order: x.at[order].get(**PLACES)
    return _of_each_row(take, x, order)


@permuted.defjvp
def _permuted_jvp(primals, tangents):
    return permuted(*primals), put(tangents[0], primals[2])


def moved_down(x: Array, by: Array) -> Array:
    """Entries moved down by so many places, `(..., 1)`, 0 to n, the first ones to the end."""
    n, places = x.shape[-1], lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
    below, above = places + by, places - by
    return permuted(x, jnp.where(below < n, below, below - n), jnp.where(above < 0, above + n, above))


def put(x: Array, order: Array) -> Array:
    """Entries that stand in an order, back where they came from, `(..., n)`."""
    put = lambda x, order: jnp.zeros_like(x).at[order].set(x, **PLACES)
    return _of_each_row(put, x, order)


def _of_each_row(fn: Callable, x: Array, order: Array) -> Array:
    for _ in range(x.ndim - 1):
        fn = jax.vmap(fn)
    return fn(x, order)


def inverse(order: Array) -> Array:
    """Where each entry stands in an order, `(..., n)`."""
    return put(lax.broadcasted_iota(order.dtype, order.shape, order.ndim - 1), order)


def running_max(x: Array) -> Array:
    """The largest up to each place, of numbers without derivative."""
    if not platform.in_turn():
        return lax.cummax(x, axis=x.ndim - 1)
    if x.size == x.shape[-1]:
        return _one_row(jnp.maximum, x, reverse=False)
    after = lambda x, k: jnp.concatenate([x[..., :k], jnp.maximum(x[..., k:], x[..., :-k])], -1)
    return _doubled(after, x)


def following_min(x: Array) -> Array:
    """The smallest from each place on, likewise."""
    if not platform.in_turn():
        return lax.cummin(x, axis=x.ndim - 1, reverse=True)
    if x.size == x.shape[-1]:
        return _one_row(jnp.minimum, x, reverse=True)
    before = lambda x, k: jnp.concatenate([jnp.minimum(x[..., :-k], x[..., k:]), x[..., -k:]], -1)
    return _doubled(before, x)


def _one_row(fn: Callable[[Array, Array], Array], x: Array, reverse: bool) -> Array:
    """In steps of one operation, which XLA's CPU runs as one kernel."""

    def step(before: Array, now: Array) -> tuple[Array, Array]:
        best = fn(before, now)
        return best, best

    row = x.ravel()
    return lax.scan(step, row[-1 if reverse else 0], row, reverse=reverse)[1].reshape(x.shape) if x.size else x


def _doubled(step: Callable[[Array, int], Array], x: Array) -> Array:
    k = 1
    while k < x.shape[-1]:
        x = held(step(x, k))
        k *= 2
    return x


def ascending(x: Array) -> Array:
    """Numbers without derivative, none of them NaN, in order: as integers, which XLA sorts in a third of the time."""
    integer = jnp.dtype(f"int{8 * x.dtype.itemsize}")
    keys = lax.sort(turned(lax.bitcast_convert_type(x, integer)))
    return lax.bitcast_convert_type(turned(keys), x.dtype)


def turned(bits: Array) -> Array:
    """The bits of floats as integers in the order of the floats: those of negative ones turned round; and back."""
    return jnp.where(bits < 0, jnp.iinfo(bits.dtype).min - bits, bits)
