"""The band of weights of a projection whose logits, of ascending keys, lean with a row's place; in O(n) memory.

The logits of row p (from 0) over ascending keys, with the gaps g between them and the rises d of what soft distances
lack of hard ones, grow from key i to the next by

    (2 (p - i) - 1) g_i + d_i,

so a later row leans to larger keys, and the places that can carry weight move on from row to row. Logits are summed
within a block from its first key, and from block to block outwards from where a chunk has its largest: what carries
weight is never a difference of large numbers. Bounds over the blocks tell which groups a chunk needs: sums pass over
these tiles only. Nothing here is differentiated.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates import along, tiles
from softtypes.surrogates.tiles import GROUP, Band, Chunks, Ends


def shape_of(n: int) -> tuple[int, int]:
    """How many groups, and keys in a block: about the root of n of each."""
    size = 8
    while 4 * size * size <= 2 * n:
        size *= 2
    return -(-n // (GROUP * size)), size


def banded(gaps: Array, rises: Array, count: Array, places: Array, *reaches: float, whole: bool = False) -> list[Band]:
    """For each reach the band of rows `places` `(c, k)`: what lies from `exp(-reach)` of a row's largest weight up.

    Bands differ in the groups that their chunks need.

    Args:
        gaps: `(n,)`, from each key to the next, in units of the softness; 0 where the next does not count.
        rises: `(n,)`, of what soft distances lack of hard ones; 0 where the next does not count.
        count: 0-d, of the keys that count, which come first.
        places: `(c, k)`, ascending, from 0.
        reaches: of a row, ascending.
        whole: whether in the last band the outermost rows reach to the outermost keys.
    """
    groups, size = shape_of(gaps.shape[0])
    m = groups * GROUP
    gaps, rises = (jnp.pad(x, (0, m * size - x.shape[0])).reshape(m, size) for x in (gaps, rises))
    start = size * jnp.arange(m, dtype=jnp.int32)
    inner = jnp.arange(size, dtype=jnp.int32)
    valid = start[:, None] + inner[None] < count
    width, rise = gaps.sum(-1), rises.sum(-1)
    tilt = jnp.round(rise / jnp.where(width > 0, 2 * width, 1))
    limit = float(m * size)
    tilt = jnp.clip(tilt, -limit, limit).astype(jnp.int32)  # the peak row is this much before the block
    gaps, rises = _split(gaps, width), _split(rises, width)
    leans = jnp.concatenate([1 + 2 * (inner[None] + tilt[:, None])] * 2).astype(width.dtype)
    sums = _before(jnp.concatenate([gaps, leans * gaps - rises]), size + 1)
    (offsets, bends), (widths, drops) = sums[:, :-1].reshape(2, 2, m, size), sums[:, -1].reshape(2, 2, m)
    by_group = lambda x: jnp.swapaxes(x.reshape(2, groups, -1), 0, 1)
    blocks = _Blocks(start - tilt, widths, drops, _joined(offsets), _joined(bends), valid)
    chunks, ends = _chunks(blocks, places, count, reaches, whole)
    nowhere = jnp.asarray([float(jnp.finfo(width.dtype).max) ** 0.25, 0], width.dtype)[:, None]
    bends = jnp.where(valid.reshape(groups, 1, -1), by_group(bends), nowhere)
    peaks = jnp.broadcast_to(blocks.peaks[:, None], (m, size)).reshape(groups, -1)
    out = Band(by_group(offsets), bends, peaks, chunks)
    return [out.ending(end) for end in ends]


def _joined(parts: Array) -> Array:
    """Of `(2, ...)`; as a sum along an axis it would be a kernel of its own."""
    return parts[0] + parts[1]


def _split(x: Array, width: Array) -> Array:
    """Multiples of a power of two, some thousandth of the block's width, and the rest: `(2 m, b)`."""
    half = (jnp.finfo(x.dtype).nmant + 1) // 2
    large = (1.5 * 2.0**half) * width[:, None]
    few = (x + large) - large
    return jnp.concatenate([few, x - few])


class _Blocks(NamedTuple):
    peaks: Array  # (m,)
    width: Array  # (2, m)
    drop: Array  # (2, m), of the logits of the peak row over the block
    offsets: Array  # (m, b)
    bends: Array  # (m, b)
    valid: Array  # (m, b)


def _before(x: Array, length: int) -> Array:
    """Sums of what comes before each of so many places along a short last axis, as a product: it compiles sooner than
    a scan."""
    before = jnp.arange(x.shape[-1], dtype=jnp.int32)[:, None] < jnp.arange(length, dtype=jnp.int32)[None]
    return tiles.dot(x, before.astype(x.dtype))


def _outwards(steps: Array, centre: Array) -> Array:
    """Sums of `steps` `(r, c, m)` from the centre to before each place; negative towards the left."""
    many, rows, m = steps.shape
    places = jnp.arange(m, dtype=jnp.int32)
    after = jnp.broadcast_to((places[None] >= centre[:, None])[None], steps.shape).reshape(-1, m)
    steps = steps.reshape(-1, m)
    sides = jnp.concatenate([jnp.where(after, steps, 0), jnp.where(after, 0, -steps)], -1)
    places = jnp.arange(2 * m, dtype=jnp.int32)[:, None] - jnp.arange(m, dtype=jnp.int32)[None]
    counted = (places < 0) | (places >= m)  # those before, then those not before
    return tiles.dot(sides, counted.astype(steps.dtype)).reshape(many, rows, m)


def _chunks(blocks: _Blocks, places: Array, count: Array, reaches: Sequence[float], whole: bool):
    """Chunks, and for each reach their ends. A later row leans to the right, so the first group is that of a chunk's
    first row, the last that of its last."""
    low, high = places[:, 0], places[:, -1]
    origin = (low + high) >> 1
    dtype = blocks.width.dtype
    leans = 2 * (origin[:, None] - blocks.peaks[None]).astype(dtype)
    steps = leans[None] * blocks.width[:, None] - blocks.drop[:, None]
    m = leans.shape[-1]
    rough = jnp.where(blocks.valid[:, 0][None], _before(_joined(steps), m), -jnp.inf)
    highest = rough == rough.max(-1, keepdims=True)
    centre = jnp.where(highest, jnp.arange(m, dtype=jnp.int32)[None], m - 1).min(-1)
    widths = jnp.broadcast_to(blocks.width[:, None], steps.shape)
    heads = _outwards(jnp.concatenate([steps, widths]), centre)
    leads = along.held(2 * (places - origin[:, None]).astype(dtype))
    below = _below(blocks, heads, leans, leads)
    outermost = jnp.stack([low == 0, high == count - 1])[..., None]
    *inner, last = reaches
    seen = [below <= reach for reach in inner] + [(below <= last) | outermost if whole else below <= last]
    ends = [_span(blocks.valid[:, 0][None, None] & hits, GROUP) for hits in seen]
    heads = jnp.swapaxes(jnp.concatenate([leans[None], heads]), 0, 1)
    return Chunks(heads, leads, jnp.zeros_like(leads), ends[0], jnp.zeros_like(low)), ends


def _below(blocks: _Blocks, heads: Array, leans: Array, leads: Array) -> Array:
    """For the first and the last row of each chunk how far at least the logits of each block are below the largest one,
    `(2, c, m)`: they are bounded by its line."""
    filled = blocks.valid[:, 0][None, None]
    widest, lowest = (jnp.where(blocks.valid, x, 0).max(-1)[None, None] for x in (blocks.offsets, -blocks.bends))
    leads = jnp.stack([leads[:, 0], leads[:, -1]])[..., None]
    at = _joined(heads[:2])[None] + leads * _joined(heads[2:])[None]
    top = jnp.where(filled, at, -jnp.inf).max(-1, keepdims=True)
    slack = 1e-4 * (jnp.abs(at) + jnp.abs(top))  # for rounding
    return top - (at + jnp.maximum((leans[None] + leads) * widest, 0) + lowest) - slack


def _span(hits: Array, size: int = 1) -> Ends:
    """From the first of `(2, c, m)` that is hit in the one half to the last one in the other, counted in so many.
    argmax takes long to compile."""
    places = lax.broadcasted_iota(jnp.int32, hits.shape, hits.ndim - 1) // size
    last = lax.broadcasted_iota(jnp.int32, hits.shape, 0) == 1
    end = hits.shape[-1] // size
    low, high = jnp.where(hits, jnp.where(last, -1 - places, places), jnp.where(last, 0, end)).min(-1)
    return Ends(low, -high)


def meeting(band: Band, groups: Array) -> Ends:
    """The ends of those groups, `(g,)` bool, that each chunk needs."""
    first, after = (end[:, None] for end in band.chunks.ends)
    own = band.chunks.heads.shape[-1] // GROUP  # groups, of a chunk's keys
    batch = groups.shape[0] // own
    groups = jnp.broadcast_to(groups.reshape(batch, 1, own), (batch, first.shape[0] // batch, own)).reshape(-1, own)
    places = jnp.arange(own, dtype=jnp.int32)[None]
    hit = groups & (places >= first) & (places < after)
    return _span(jnp.stack([hit, hit]))


def own_weights(band: Band, level: Array) -> Array:
    """The logarithm of each key's weight in the row of its place, moved as its block's peak is, `(g, GROUP b)`."""
    blocks, size = band.chunks.heads.shape[-1], band.peaks.shape[1] // GROUP
    shape = band.peaks.size // (blocks * size), blocks, size
    index = lambda axis: lax.broadcasted_iota(jnp.int32, shape, axis).reshape(band.peaks.shape)
    rows = level.size // shape[0]
    row = rows * index(0) + jnp.clip(band.peaks + index(2), 0, rows - 1)
    head = 5 * blocks * (row // level.shape[-1]) + index(1)  # one array of them all needs no pairs of indices
    of_head = lambda i: band.chunks.heads.reshape(-1).at[head + i * blocks].get(mode="promise_in_bounds")
    of_row = lambda x: x.reshape(-1).at[row].get(mode="promise_in_bounds")
    offset, bend = _joined(jnp.swapaxes(band.offsets, 0, 1)), _joined(jnp.swapaxes(band.bends, 0, 1))
    lean, line, distance = of_head(0), of_head(1) + of_head(2), of_head(3) + of_head(4)
    logits = line + lean * offset - bend + of_row(band.chunks.leads) * (distance + offset)
    return logits - of_row(band.chunks.lifts) - of_row(level)
