"""Logits of single rows over ascending keys, to the digits that count, in O(n) a row.

From key i to the next the logits of row p (from 0) grow by

    (2 (p - i) - 1) g_i + d_i,

with the gaps g between keys and the rises d of what soft distances lack of hard ones. They are summed outwards from
where they are largest: what carries weight is never a difference of large numbers.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

BLOCK = 64  # keys


class Profile(NamedTuple):
    """What the logits of all rows are made of, in units of the softness.

    A change of keys changes the logits of row p by `2 (p - k) du + db`, with fields u and b that only their derivatives
    are used of, and a change of the logarithm of the scale changes them by themselves.
    """

    places: Array  # (..., n), u of each entry
    bends: Array  # (..., n), b of each entry
    index: Array  # (..., n), k, where each entry stands among the keys
    gaps: Array  # (..., n), from each key in ascending order to the next; 0 where that does not count
    rises: Array  # (..., n), as the gaps
    scale: Array | None  # (..., 1); None if it is not differentiated


@jax.custom_jvp
def logits(profile: Profile, rows: Array) -> Array:
    """The logits of rows `(..., k)` over the entries, `(..., k, n)`, less about their largest."""
    own = rows[..., None].astype(jnp.int32)
    leans = (2 * (own - _places(profile.gaps[..., None, :])) - 1).astype(profile.gaps.dtype)
    steps = leans * profile.gaps[..., None, :] + profile.rises[..., None, :]
    sums = _outwards(steps, _centre(steps, own))
    return jnp.take_along_axis(sums, profile.index[..., None, :], -1, mode="clip")


@logits.defjvp
def _logits_jvp(primals, tangents):
    (profile, rows), change = primals, tangents[0]
    out = logits(profile, rows)
    leans = 2 * (rows[..., :, None] - profile.index[..., None, :]).astype(out.dtype)
    moved = leans * change.places[..., None, :] + change.bends[..., None, :]
    return out, moved if profile.scale is None else moved + out * change.scale[..., None]


def _places(x: Array) -> Array:
    """`0 .. n-1`, shaped to broadcast against an array."""
    return jnp.arange(x.shape[-1], dtype=jnp.int32).reshape((1,) * (x.ndim - 1) + (-1,))


def _centre(steps: Array, own: Array) -> Array:
    """Where to sum from: the row's own place, or where a block begins, if its logits are larger there, `(..., k, 1)`.

    Softness moves the peak away from the own place, but only where logits change little from key to key.
    """
    right, left = (_blocks(x).sum(-1) for x in _sides(steps, own))
    starts = _sums(right, jnp.less) - _sums(left, jnp.greater) - left
    first = jnp.where(starts == starts.max(-1, keepdims=True), _places(starts), starts.shape[-1]).min(-1, keepdims=True)
    return jnp.where((starts > 0).any(-1, keepdims=True), BLOCK * first, own)


def _outwards(steps: Array, centre: Array) -> Array:
    """Sums of steps `(..., k, n)`, each to the next place, from the centre `(..., k, 1)` to each place."""
    right, left = _sides(steps, centre)
    return _sums(right, jnp.less) - _sums(left, jnp.greater) - left


def _sides(steps: Array, centre: Array) -> tuple[Array, Array]:
    """The steps from the centre to the right, and those to it from the left."""
    after = _places(steps) >= centre
    return jnp.where(after, steps, 0), jnp.where(after, 0, steps)


def _sums(x: Array, among: Callable) -> Array:
    """Sums along the last axis of the places i that are `among(i, j)`, less or greater, of each j.

    They are products with triangles: XLA's own running sums take longer.
    """
    if x.shape[-1] > BLOCK:
        blocks = _blocks(x)
        sums = _sums(blocks, among) + _sums(blocks.sum(-1), among)[..., None]
        return sums.reshape(*x.shape[:-1], blocks.shape[-2] * BLOCK)[..., : x.shape[-1]]
    at = jnp.arange(x.shape[-1], dtype=jnp.int32)
    return jnp.dot(x, among(at[:, None], at[None]).astype(x.dtype), precision="highest")


def _blocks(x: Array) -> Array:
    """Of length BLOCK, `(..., m, BLOCK)`."""
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -x.shape[-1] % BLOCK)])
    return x.reshape(*x.shape[:-1], x.shape[-1] // BLOCK, BLOCK)
