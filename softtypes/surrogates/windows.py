"""Sums over windows of points in ascending order, to the precision of the dtype, in `n log n`.

The difference of two prefix sums loses the digits of a short window in a long row. Here every window is parted at its
own middle: the place, between its first and its last, that the highest power of two divides (a disjoint sparse table).
For each power the moments between its multiples and every other place are tabulated about the multiple's point, so that
nothing is ever subtracted that is larger than the window. A window takes two rows of the table.

    sum_(lo <= j < hi) m_j f(z_j),   f a polynomial of the distance from the middle

Everything is differentiable in points and values and linear in the masses; the windows are held, which is right where
the summand vanishes at their ends. Middles are held too: no sum depends on where it is parted.
"""

from math import prod
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates.ratio import ratio


def table(points: Array, unit: Array, values: Array | None, masses: Array, degree: int) -> Array:
    """The moments between the multiples of the powers of two and all places.

    Args:
        points: `(..., n)`, ascending.
        unit: of distances, 0-d or `(..., 1)`; no part of a window may be longer than 1.
        values: `(..., n)`, or None for the masses alone.
        masses: `(..., n)`.
        degree: the highest power of the distance.

    Returns:
        `(s, n / s, log2 n, ..., 2, degree + 1)`. With `t_j` the distance from the origin and `v` the origin's value,
        the last axis is `sum_j m_j t_j^a` by ascending `a`, first of the masses `m_j`, then, if there are values, of
        `m_j (v_j - v)`.
    """
    slots = _slots(points.shape[-1])
    above, present, kept = (x.reshape(x.shape + (1,) * (points.ndim - 1)) for x in slots[2:])
    rows = (points, masses) if values is None else (points, masses, values)
    stacked = jnp.stack([jnp.moveaxis(x, -1, 0) for x in rows], -1)
    at = lambda places: stacked.at[jnp.minimum(places, points.shape[-1] - 1)].get(mode="promise_in_bounds")
    here, origin = at(slots.place), lax.stop_gradient(at(slots.origin))
    gap = here[..., 0] - origin[..., 0]
    gap = jnp.where(above, gap, -gap)  # an absolute value would have no derivative at ties
    unit = unit if unit.ndim == 0 else unit[..., 0][None, None, None]
    near = (gap <= 1.0001 * unit) & present  # no window holds others, the powers of which might overflow
    distance = ratio(jnp.where(near, gap, 0), unit)
    mass = jnp.where(near, here[..., 1], 0)
    terms = jnp.stack([mass * distance**power for power in range(degree + 1)], -1)
    kinds = [terms]
    if values is not None:
        kinds.append(terms * jnp.where(near, here[..., 2] - origin[..., 2], 0)[..., None])
    return _running(jnp.stack(kinds, -2), kept[..., None, None])


def moments(table: Array, ends: Array) -> tuple[Array, Array]:
    """The moments of windows from the lower of two ends up to, and without, the higher one.

    Args:
        table: of rows of `n` points.
        ends: int32 `(2, ..., r, m)`, both ends of each window, 0 to n; a window with equal ends is empty.

    Returns:
        For the part of the window that is next to each end the place of its origin, `(2, ..., r, m)`, and its moments
        about that, `(2, ..., r, m, 2, degree + 1)`. The origin is the part's point that is farthest from the end; of
        an empty part it is the window's other end.
    """
    opposite = ends[::-1]
    level = jnp.maximum(31 - lax.clz(ends ^ opposite), 0)
    middle = (jnp.maximum(ends, opposite) >> level) << level
    empty = (ends == opposite) | (ends == middle)
    origin = jnp.where(ends > opposite, middle, middle - 1)
    sums = jnp.where(empty[..., None, None], 0, _rows(table, level, ends))
    return jnp.where(empty, opposite, origin), sums


def places_of(x: Array) -> Array:
    """The place of each point, `(..., n)`."""
    places = jnp.zeros_like(x, jnp.int32)  # of the points, so that shard_map sees them vary
    return places + lax.broadcasted_iota(jnp.int32, places.shape, places.ndim - 1)


def edges(points: Array, reach: Array, unit: Array) -> Array:
    """The outer ends of the windows `[lower, k)` and `[k, upper)` of points nearer than the reach, `(..., 2, n)`."""
    own = places_of(points)
    near, reach = points[..., None, :], reach[..., None, :]
    unit = unit if unit.ndim == 0 else unit[..., None]

    def halve(_, state):
        inside, outside = state
        middle = (inside + outside) >> 1
        distance = jnp.abs(entries(points, jnp.maximum(middle, 0)) - near) / unit
        hit = (distance < reach) & (middle != outside)
        return jnp.where(hit, middle, inside), jnp.where(hit, outside, middle)

    ends = jnp.stack([own, own], -2), jnp.stack([jnp.full_like(own, -1), jnp.full_like(own, own.shape[-1])], -2)
    inside = lax.fori_loop(0, own.shape[-1].bit_length(), halve, ends)[0]
    return inside + lax.broadcasted_iota(jnp.int32, inside.shape, inside.ndim - 2)


def entries(x: Array, places: Array) -> Array:
    """Entries of `x`, `(..., n)`, at places `(2, ..., r, m)` or `(..., r, m)`."""
    return x.reshape(-1).at[_flat(x.shape[:-1], places.ndim) * x.shape[-1] + places].get(mode="promise_in_bounds")


def _rows(table: Array, level: Array, place: Array) -> Array:
    side, chunks, levels, *batch = table.shape[:-2]
    half = 1 << level
    slot = jnp.where((place & half) != 0, place, place ^ (half - 1))
    row = ((slot % side) * chunks + slot // side) * levels + level
    row = row * prod(batch) + _flat(tuple(batch), place.ndim)
    return table.reshape(-1, *table.shape[-2:]).at[row].get(mode="promise_in_bounds")


def _flat(batch: tuple[int, ...], ndim: int) -> Array:
    """The number of each row of a batch, shaped to broadcast against places."""
    shape = (1,) * (ndim - len(batch) - 2) + batch + (1, 1)
    return jnp.arange(prod(batch), dtype=jnp.int32).reshape(shape)


class _Slots(NamedTuple):
    """What the running sums of each power of two `2^l` meet, in the order in which they run away from its multiples.

    After an odd multiple they run up from it, each sum without its own place; before it, down, with it.
    """

    place: Array  # of the term that enters, `(s, n / s, log2 n)`
    origin: Array  # the place next to the multiple on this side of it
    above: Array  # which side that is
    present: Array  # whether a term enters
    kept: Array  # whether the sum before goes on


def _slots(n: int) -> _Slots:
    side, chunks, levels = _sizes(n)
    i, chunk, level = (lax.broadcasted_iota(jnp.int32, (side, chunks, levels), axis) for axis in range(3))
    slot, half = i + side * chunk, 1 << level
    first, above = (slot & (half - 1)) == 0, (slot & half) != 0
    place = jnp.where(above, slot - 1, slot ^ (half - 1))
    origin = jnp.where(above, slot & -half, slot | (half - 1))
    return _Slots(jnp.clip(place, 0, n - 1), origin, above, (place < n) & ~(above & first), ~first)


def _sizes(n: int) -> tuple[int, int, int]:
    """Places 0 to n are cut into chunks of a power of two, about as many as each is long, on so many levels."""
    levels = n.bit_length()
    side = 1 << (levels + 1) // 2
    return side, n // side + 1, levels


def _running(terms: Array, kept: Array) -> Array:
    """Sums along slots that start anew where they are not kept: within all chunks at once, then over the chunks."""
    kept = kept.astype(terms.dtype)  # a factor: its derivative has no mask to keep in the shape of the terms
    within = _recur(terms, kept)
    total, follows = within[-1], kept[0]  # only a chunk that starts nothing anew can follow on
    before = _recur(jnp.concatenate([jnp.zeros_like(total[:1]), total[:-1]]), jnp.roll(follows, 1, 0))
    return within + (follows * before)[None]


def _recur(terms: Array, kept: Array) -> Array:
    def step(before: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        sums = now[0] + now[1] * before
        return sums, sums

    return lax.scan(step, jnp.zeros_like(terms[0]), (terms, kept))[1]
