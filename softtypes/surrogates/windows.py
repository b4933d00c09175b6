"""Sums over windows of points in ascending order, to the precision of the dtype, in `n log n`.

The difference of two prefix sums loses the digits of a short window in a long row. Here every window is parted at its
own middle: the place, between its first and its last, that the highest power of two divides (a disjoint sparse table).
For each power the moments between its multiples and every other place are tabulated about the multiple's point, so that
nothing is ever subtracted that is larger than the window. A window takes two rows of the table.

    sum_(lo <= j < hi) m_j f(z_j),   f a polynomial of the distance from the middle

Everything is differentiable in points and values and linear in the masses; the windows are held, which is right where
the summand vanishes at their ends. Middles are held too: no sum depends on where it is parted.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates import along
from softtypes.surrogates.ratio import ratio


class Rows(NamedTuple):
    """Points in ascending rows, whatever their batch, and the unit of distances of each."""

    points: Array  # (b, n)
    unit: Array  # 0-d or (b, 1)

    def flat(self, x: Array) -> Array:
        """Entries `(..., n)`, or one of each row, all in one axis: loops over few axes compile sooner."""
        return jnp.broadcast_to(x.reshape(-1, x.shape[-1]), self.points.shape).reshape(-1)

    def units(self, ndim: int) -> Array:
        """The unit of each point, `(..., b n)` of so many axes, or of all."""
        return self.unit if self.unit.ndim == 0 else self.flat(self.unit).reshape(*(1,) * (ndim - 1), -1)


def rows(points: Array, unit: Array) -> Rows:
    """Of points `(..., n)` in units, 0-d or `(..., 1)`."""
    units = unit if unit.ndim == 0 else jnp.broadcast_to(unit, (*points.shape[:-1], 1)).reshape(-1, 1)
    return Rows(points.reshape(-1, points.shape[-1]), units)


def table(rows: Rows, values: Array | None, masses: Array, degree: int) -> Array:
    """The moments between the multiples of the powers of two and all places.

    Args:
        rows: no part of a window may be longer than their unit.
        values: `(..., n)`, or None for the masses alone.
        masses: `(..., n)`.
        degree: the highest power of the distance.

    Returns:
        `(s, n / s, log2 n, b, m)`. With `t_j` the distance from the origin and `v` the origin's value, the last axis is
        `sum_j m_j t_j^a` by ascending `a`, first of the masses `m_j`, then, if there are values, of `m_j (v_j - v)`.
    """
    batch, n = rows.points.shape
    slots = _slots(n)
    flat = _Slots(*(x.reshape(-1) for x in slots))
    above, present = flat.above[:, None], flat.present[:, None]
    kinds = [rows.points, masses] if values is None else [rows.points, masses, values]
    stacked = jnp.concatenate([x.reshape(batch, n).T for x in kinds], 1)
    at = lambda places: jnp.split(stacked.at[places].get(mode="promise_in_bounds"), len(kinds), 1)
    here, origin = at(flat.place), lax.stop_gradient(at(flat.origin))
    gap = here[0] - origin[0]
    gap = jnp.where(above, gap, -gap)  # an absolute value would have no derivative at ties
    unit = rows.unit if rows.unit.ndim == 0 else rows.unit[:, 0][None]
    near = (gap <= 1.0001 * unit) & present  # no window holds others, the powers of which might overflow
    distance, mass = ratio(jnp.where(near, gap, 0), unit), jnp.where(near, here[1], 0)
    terms = [mass * distance**power for power in range(degree + 1)]
    if values is not None:
        relative = jnp.where(near, here[2] - origin[2], 0)
        terms += [term * relative for term in terms]
    return _running(jnp.stack(terms, -1).reshape(*slots.kept.shape, batch, len(terms)), slots.kept[..., None, None])


def moments(rows: Rows, table: Array, ends: Array) -> tuple[Array, list[Array]]:
    """The moments of windows from the lower of two ends up to, and without, the higher one.

    Args:
        rows: the points of the table.
        table: of them.
        ends: int32 `(2, w, b n)`, both ends of each window, 0 to n; a window with equal ends is empty.

    Returns:
        For the part of the window that is next to each end the place of its origin, `(2, w, b n)`, and its moments
        about that, `(2, w, b n)` each. The origin is the part's point that is farthest from the end; of an empty part
        it is the window's other end.
    """
    opposite = ends[::-1]
    level = jnp.maximum(31 - lax.clz(ends ^ opposite), 0)
    middle = (jnp.maximum(ends, opposite) >> level) << level
    empty = (ends == opposite) | (ends == middle)
    origin = jnp.where(ends > opposite, middle, middle - 1)
    sums = _entries_of(rows, table, level, ends)
    return jnp.where(empty, opposite, origin), [jnp.where(empty, 0, x) for x in sums]


def places_of(rows: Rows) -> Array:
    """The place of each point in its row, `(b n,)`."""
    places = jnp.zeros_like(rows.points, jnp.int32)  # of the points, so that shard_map sees them vary
    return (places + lax.broadcasted_iota(jnp.int32, places.shape, 1)).reshape(-1)


def edges(rows: Rows, reach: Array) -> Array:
    """The outer ends of the windows `[lower, k)` and `[k, upper)` of points nearer than the reach, `(2, b n)`."""
    own, near, n = places_of(rows)[None], rows.flat(rows.points)[None], rows.points.shape[1]
    reach, unit = reach[None], rows.units(2)

    def halve(_, state):
        inside, outside = state
        middle = (inside + outside) >> 1
        distance = jnp.abs(entries(rows, rows.points, jnp.maximum(middle, 0)) - near) / unit
        hit = (distance < reach) & (middle != outside)
        return jnp.where(hit, middle, inside), jnp.where(hit, outside, middle)

    upper = lax.broadcasted_iota(jnp.int32, (2, own.size), 0)
    ends = own + 0 * upper, (n + 1) * upper - 1 + 0 * own
    return lax.fori_loop(0, n.bit_length(), halve, ends)[0] + upper


def entries(rows: Rows, x: Array, places: Array) -> Array:
    """Entries of `x`, `(..., n)`, at places `(..., b n)` of the points' rows."""
    n = x.shape[-1]
    start = n * _number(rows, places.ndim)
    return x.reshape(-1).at[start + places].get(mode="promise_in_bounds")


def _entries_of(rows: Rows, table: Array, level: Array, place: Array) -> list[Array]:
    side, chunks, levels, batch, width = table.shape
    half = 1 << level
    slot = jnp.where((place & half) != 0, place, place ^ (half - 1))
    row = ((slot % side) * chunks + slot // side) * levels + level
    row = row * batch + _number(rows, place.ndim)
    found = table.reshape(-1, width).at[row.reshape(-1)].get(mode="promise_in_bounds")
    return list(found.T.reshape(width, *row.shape))


def _number(rows: Rows, ndim: int) -> Array:
    """The row of each point, `(..., b n)` of so many axes."""
    return lax.broadcasted_iota(jnp.int32, rows.points.shape, 0).reshape(*(1,) * (ndim - 1), -1)


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
    follows = kept[0]  # only a chunk that starts nothing anew can follow on
    before = _recur(along.shifted(within[-1], 1), along.shifted(follows, 1))
    return within + (follows * before)[None]


def _recur(terms: Array, kept: Array) -> Array:
    def step(before: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        sums = now[0] + now[1] * before
        return sums, sums

    return lax.scan(step, jnp.zeros_like(terms[0]), (terms, kept))[1]
