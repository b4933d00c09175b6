"""Projections whose weights fill a band: logits of ascending keys that lean with a row's place, in O(n) memory.

The logits of row p (from 0) over ascending keys, with the gaps g between them and the rises d of what soft distances
lack of hard ones, grow from key i to the next by

    (2 (p - i) - 1) g_i + d_i,

so a later row leans to larger keys, and the places that can carry weight move on from row to row. Keys lie in blocks,
blocks in groups; rows lie in chunks. Logits are summed within a block from its first key, and from block to block
outwards from where a chunk has its largest: what carries weight is never a difference of large numbers. Bounds over the
blocks tell which groups a chunk needs; all sums pass over these tiles only, in one loop.

A change of keys changes the logits of row p by `lean du_j + dk_j`, with the lean `2 (p - r)` from the row r that is
nearest to where the key's block has its peak, and fields u and k that only their derivatives are used of. So the
derivatives of sums over tiles are sums over tiles, of weights' slopes times powers of the lean.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates.adjoint import linear

GROUP = 8  # blocks in a group


class Keys(NamedTuple):
    """Ascending keys in g groups of GROUP blocks of b keys."""

    offsets: Array  # (g, GROUP, b), from the block's first key
    bends: Array  # (g, GROUP, b), what logits lack, at the block's peak row, of those at its first key


class Chunks(NamedTuple):
    """Rows in c chunks of k: at a block's first key the chunk's middle row has its level and lean."""

    levels: Array  # (c, g, GROUP)
    leans: Array  # (c, g, GROUP)
    distances: Array  # (c, g, GROUP), from the key where the middle row has its largest logit
    leads: Array  # (c, k), twice the rows before the middle one
    first: Array  # (c,), of the groups that are needed
    last: Array  # (c,), one beyond the last one


class Band(NamedTuple):
    keys: Keys
    chunks: Chunks
    peaks: Array  # (g, GROUP b), the peak row of each key's block

    @property
    def count(self) -> int:
        """How many keys there is room for."""
        return self.peaks.size


class Fields(NamedTuple):
    """What the logits' derivatives are made of, `(g, GROUP b)`."""

    places: Array
    bends: Array


# Weights of logits above a row's threshold: the exponential, power 0, or max(x, 0)^power. Kinds are pairs of how often
# weights are differentiated and of the power of the lean they are taken times.

POWERS = {"smooth": 0, "c0": 1, "c1": 2, "c2": 3}
Kinds = tuple[tuple[int, int], ...]


def _weight(power: int, order: int, x: Array) -> Array:
    if power == 0:
        return jnp.exp(x)
    factor = 1.0
    for i in range(order):
        factor *= power - i
    above = x > 0  # at 0 maximum would pass on half a gradient
    return factor * jnp.where(above, jnp.where(above, x, 0) ** max(power - order, 0), 0)


def _weighted(power: int, kinds: Kinds, logits: Array, lean: Array, product: Callable, others: tuple) -> tuple:
    """`product(weights, other)` of each kind; those of one kind at once."""
    kinds = tuple((order if power else 0, degree) for order, degree in kinds)
    out: dict[int, Array] = {}
    for kind in dict.fromkeys(kinds):
        here = [i for i, other in enumerate(kinds) if other == kind]
        weights = _weight(power, kind[0], logits) * (lean ** kind[1] if kind[1] else 1)
        sums = product(weights, jnp.concatenate([others[i] for i in here], -1))
        widths = [others[i].shape[-1] for i in here]
        for i, width in zip(here, widths, strict=True):
            out[i], sums = sums[..., :width], sums[..., width:]
    return tuple(out[i] for i in range(len(kinds)))


def _dot(a: Array, b: Array) -> Array:
    return jnp.dot(a, b, precision="highest")


# Tiles


def _tile(keys: Keys, chunk: Chunks, g: Array) -> tuple[Array, Array]:
    """The logits of a chunk's rows over a group's keys and their leans, `(k, GROUP b)`."""
    (offset, bend), (level, slope, distance) = (jax.tree.map(partial(_at, g), x) for x in (keys, chunk[:3]))
    line = level[:, None] + (slope[:, None] * offset - bend)
    lead = chunk.leads[:, None]
    spread = lambda x: jnp.broadcast_to(x, offset.shape).reshape(1, -1)
    return spread(line) + lead * spread(distance[:, None] + offset), lead + spread(slope[:, None])


def _at(g: Array, x: Array) -> Array:
    return lax.dynamic_index_in_dim(x, g, 0, keepdims=False)


def _row_sums(power: int, kinds: Kinds, band: Band, level: Array, columns: tuple) -> tuple:
    def of_chunk(args):
        chunk, level = args

        def add(g, sums):
            logits, lean = _tile(band.keys, chunk, g)
            own = jax.tree.map(partial(_at, g), columns)
            return jax.tree.map(jnp.add, sums, _weighted(power, kinds, logits - level[:, None], lean, _dot, own))

        nothing = jnp.zeros_like(level)[:, None]
        zeros = tuple(jnp.broadcast_to(nothing, (level.size, x.shape[-1])) for x in columns)
        return lax.fori_loop(chunk.first, chunk.last, add, zeros)

    return lax.map(of_chunk, (band.chunks, level))


def _column_sums(power: int, kinds: Kinds, band: Band, level: Array, rows: tuple) -> tuple:
    product = lambda weights, row: _dot(weights.T, row)

    def of_chunk(sums, args):
        chunk, level, own = args

        def add(g, sums):
            logits, lean = _tile(band.keys, chunk, g)
            more = _weighted(power, kinds, logits - level[:, None], lean, product, own)
            put = lambda x, y: lax.dynamic_update_index_in_dim(x, _at(g, x) + y, g, 0)
            return jax.tree.map(put, sums, more)

        return lax.fori_loop(chunk.first, chunk.last, add, sums), None

    nothing = jnp.zeros_like(level[0, 0])
    zeros = tuple(jnp.broadcast_to(nothing, (*band.peaks.shape, x.shape[-1])) for x in rows)
    return lax.scan(of_chunk, zeros, (band.chunks, level, rows))[0]


# Sums with their derivatives


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def row_sums(power: int, kinds: Kinds, band: Band, fields: Fields, level: Array, columns: tuple) -> tuple:
    """For each kind the sums over the keys of weights times columns `(g, GROUP b, r)`: `(c, k, r)`."""
    return _row_sums(power, kinds, band, level, columns)


@row_sums.defjvp
def _row_sums_jvp(power, kinds, primals, tangents):
    band, fields, level, columns = primals
    _, dfields, dlevel, dcolumns = tangents
    slopes = tuple((order + 1, degree) for order, degree in kinds)
    both = row_sums(power, kinds + slopes, band, fields, level, columns + columns)
    moved = _moved(power, kinds, band, fields, level, columns, dfields, dcolumns)
    lifted = (slope * dlevel[..., None] for slope in both[len(kinds) :])
    return both[: len(kinds)], tuple(x - y for x, y in zip(moved, lifted, strict=True))


def _moved(power: int, kinds: Kinds, band, fields, level, columns, dfields: Fields, dcolumns: tuple) -> tuple:
    """The change of row sums with keys and columns, at fixed thresholds."""
    steeper = tuple((order + 1, degree + 1) for order, degree in kinds)
    slopes = tuple((order + 1, degree) for order, degree in kinds)
    moving = lambda field: tuple(field[..., None] * x for x in columns)
    args = band, fields, level
    change = linear(
        lambda x: row_sums(power, kinds + steeper + slopes, *args, x),
        lambda y: column_sums(power, kinds + steeper + slopes, *args, y),
        (*dcolumns, *moving(dfields.places), *moving(dfields.bends)),
        3 * tuple(jnp.zeros((*level.shape, x.shape[-1]), x.dtype) for x in columns),
    )
    m = len(kinds)
    return tuple(change[i] + change[m + i] + change[2 * m + i] for i in range(m))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def column_sums(power: int, kinds: Kinds, band: Band, fields: Fields, level: Array, rows: tuple) -> tuple:
    """For each kind the sums over the rows of weights times rows `(c, k, r)`: `(g, GROUP b, r)`."""
    return _column_sums(power, kinds, band, level, rows)


@column_sums.defjvp
def _column_sums_jvp(power, kinds, primals, tangents):
    band, fields, level, rows = primals
    _, dfields, dlevel, drows = tangents
    steeper = tuple((order + 1, degree + 1) for order, degree in kinds)
    slopes = tuple((order + 1, degree) for order, degree in kinds)
    args = band, fields, level
    sums = column_sums(power, kinds + steeper + slopes, *args, 3 * rows)
    change = linear(
        lambda x: column_sums(power, kinds + slopes, *args, x),
        lambda y: row_sums(power, kinds + slopes, *args, y),
        (*drows, *(-dlevel[..., None] * x for x in rows)),
        2 * tuple(jnp.zeros((*band.peaks.shape, x.shape[-1]), x.dtype) for x in rows),
    )
    m = len(kinds)
    places, bends = (field[..., None] for field in dfields)
    moved = lambda i: places * sums[m + i] + bends * sums[2 * m + i]
    return sums[:m], tuple(change[i] + change[m + i] + moved(i) for i in range(m))


# Thresholds and means


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def solved(power: int, band: Band, fields: Fields, values: Array) -> tuple[Array, Array]:
    """The thresholds of the rows, `(c, k)`, and the means of values `(g, GROUP b, r)`, `(c, k, r)`."""
    columns = _with_ones(values)

    def of_chunk(chunk: Chunks):
        def sweep(fn, start):
            fold = lambda g, state: fn(state, _tile(band.keys, chunk, g)[0], _at(g, columns))
            return lax.fori_loop(chunk.first, chunk.last, fold, start)

        level, sums = (_root(power, sweep, chunk, columns) if power else _log_sum(sweep, chunk, columns))
        return level, sums[:, 1:] / jnp.where(sums[:, :1] > 0, sums[:, :1], 1)

    return lax.map(of_chunk, band.chunks)


@solved.defjvp
def _solved_jvp(power, primals, tangents):
    """A change of the level scales all weights, or takes from each in proportion to its slope."""
    band, fields, values = primals
    _, dfields, dvalues = tangents
    level, mean = solved(power, band, fields, values)
    columns, mass, centre = _with_ones(values), 1, mean
    if power:
        slope = row_sums(power, ((1, 0),), band, fields, level, (columns,))[0]
        mass, centre = slope[..., 0], slope[..., 1:] / slope[..., :1]
    dcolumns = jnp.concatenate([jnp.zeros_like(values[..., :0].sum(-1, keepdims=True)), dvalues], -1)
    change = _moved(power, ((0, 0),), band, fields, level, (columns,), dfields, (dcolumns,))[0]
    return (level, mean), (change[..., 0] / mass, change[..., 1:] - centre * change[..., :1])


def _with_ones(values: Array) -> Array:
    return jnp.concatenate([jnp.ones((*values.shape[:-1], 1), values.dtype), values], -1)


def _lowest(chunk: Chunks) -> Array:
    return jnp.zeros_like(chunk.leads) - float(jnp.finfo(chunk.leads.dtype).max) / 2


def _no_sums(chunk: Chunks, columns: Array) -> Array:
    nothing = jnp.zeros_like(chunk.leads)[:, None] + jnp.zeros_like(chunk.levels[0, 0])
    return jnp.broadcast_to(nothing, (chunk.leads.size, columns.shape[-1]))


def _log_sum(sweep: Callable, chunk: Chunks, columns: Array) -> tuple[Array, Array]:
    def add(state, logits, column):
        top, sums = state
        higher = jnp.maximum(top, logits.max(-1))
        more = _dot(jnp.exp(logits - higher[:, None]), column)
        return higher, sums * jnp.exp(top - higher)[:, None] + more

    sums = _no_sums(chunk, columns)
    top, sums = sweep(add, (_lowest(chunk) + sums[:, 0], sums))
    return jnp.where(sums[:, 0] > 0, top + jnp.log(jnp.where(sums[:, 0] > 0, sums[:, 0], 1)), 0), sums


def _root(power: int, sweep: Callable, chunk: Chunks, columns: Array) -> tuple[Array, Array]:
    """The root t of `sum max(x - t, 0)^power = 1`: the p-norm is convex and falls, Newton's method climbs to it."""
    none = _no_sums(chunk, columns)
    top = sweep(lambda top, logits, _: jnp.maximum(top, logits.max(-1)), _lowest(chunk) + none[:, 0])

    def climb(state):
        t, _, count = state

        def add(sums, logits, _):
            above = jnp.maximum(logits - (top + t)[:, None], 0)
            lower = above ** (power - 1) if power > 1 else (above > 0).astype(above.dtype)
            return sums[0] + (lower * above).sum(-1), sums[1] + lower.sum(-1)

        total, slope = sweep(add, (none[:, 0], none[:, 0]))
        step = jnp.maximum(total - total ** (1 - 1 / power), 0) / jnp.where(slope > 0, slope, 1)
        return jnp.minimum(t + step, 0), (step > 4 * jnp.finfo(t.dtype).eps).any(), count + 1

    start = none[:, 0] - 1, (none[:, 0] == 0).any(), jnp.int32(0)
    level = top + lax.while_loop(lambda state: state[1] & (state[2] < 64), climb, start)[0]
    weigh = lambda sums, logits, column: sums + _dot(_weight(power, 0, logits - level[:, None]), column)
    return level, sweep(weigh, none)


def column_tops(band: Band, level: Array) -> Array:
    """The largest logit above the threshold in each column, `(g, GROUP b)`."""

    def of_chunk(tops, args):
        chunk, level = args

        def raised(g, tops):
            logits = _tile(band.keys, chunk, g)[0] - level[:, None]
            return lax.dynamic_update_index_in_dim(tops, jnp.maximum(_at(g, tops), logits.max(0)), g, 0)

        return lax.fori_loop(chunk.first, chunk.last, raised, tops), None

    lowest = jnp.zeros_like(level[0, 0]) - float(jnp.finfo(level.dtype).max) / 2
    return lax.scan(of_chunk, jnp.broadcast_to(lowest, band.peaks.shape), (band.chunks, level))[0]


# The band of keys and rows; nothing here is differentiated


def shape_of(n: int) -> tuple[int, int]:
    """How many groups, and keys in a block: about the root of n of each."""
    size = 8
    while 4 * size * size <= 2 * n:
        size *= 2
    return -(-n // (GROUP * size)), size


def banded(gaps: Array, rises: Array, count: Array, places: Array, reach: float, *, whole: bool = False) -> Band:
    """The band of rows `places` `(c, k)`: what lies from `exp(-reach)` of a row's largest weight up.

    Args:
        gaps: `(n,)`, from each key to the next, in units of the softness; 0 where the next does not count.
        rises: `(n,)`, of what soft distances lack of hard ones; 0 where the next does not count.
        count: 0-d, of the keys that count, which come first.
        places: `(c, k)`, ascending, from 0.
        reach: of a row.
        whole: whether the outermost rows reach to the outermost keys.
    """
    groups, size = shape_of(gaps.shape[0])
    m = groups * GROUP
    gaps, rises = (jnp.pad(x, (0, m * size - x.shape[0])).reshape(m, size) for x in (gaps, rises))
    start = size * jnp.arange(m, dtype=jnp.int32)
    inner = jnp.arange(size, dtype=jnp.int32)
    valid = start[:, None] + inner[None] < count
    width = gaps.sum(-1)
    tilt = jnp.round(rises.sum(-1) / jnp.where(width > 0, 2 * width, 1))
    limit = float(m * size)
    tilt = jnp.clip(tilt, -limit, limit).astype(jnp.int32)  # half of it; the peak row is this much before the block
    terms = (1 + 2 * (inner[None] + tilt[:, None])).astype(gaps.dtype) * gaps - rises
    offsets, bends = (_dot(x, jnp.triu(jnp.ones((size, size), x.dtype), 1)) for x in (gaps, terms))
    blocks = _Blocks(start - tilt, width, terms.sum(-1), offsets, bends, valid)
    chunks = _chunks(blocks, places, count, reach, whole)
    nowhere = float(jnp.finfo(gaps.dtype).max) ** 0.5
    grouped = lambda x: x.reshape(groups, GROUP, size)
    keys = Keys(grouped(offsets), grouped(jnp.where(valid, bends, nowhere)))
    return Band(keys, chunks, jnp.broadcast_to(blocks.peaks[:, None], (m, size)).reshape(groups, -1))


class _Blocks(NamedTuple):
    peaks: Array  # (m,)
    width: Array  # (m,)
    drop: Array  # (m,), of the logits of the peak row over the block
    offsets: Array  # (m, b)
    bends: Array  # (m, b)
    valid: Array  # (m, b)


def _outwards(steps: Array, centre: Array) -> Array:
    """Sums of `steps` `(c, m)` from the centre to before each place; negative towards the left."""
    m = steps.shape[-1]
    after = jnp.arange(m, dtype=jnp.int32)[None] >= centre[:, None]
    ones = jnp.ones((m, m), steps.dtype)
    return _dot(jnp.where(after, steps, 0), jnp.triu(ones, 1)) - _dot(jnp.where(after, 0, steps), jnp.tril(ones))


def _chunks(blocks: _Blocks, places: Array, count: Array, reach: float, whole: bool) -> Chunks:
    """A later row leans to the right, so the first group is that of a chunk's first row, the last that of its last."""
    low, high = places[:, 0], places[:, -1]
    origin = (low + high) // 2
    dtype = blocks.width.dtype
    leans = 2 * (origin[:, None] - blocks.peaks[None]).astype(dtype)
    steps = leans * blocks.width[None] - blocks.drop[None]
    filled = blocks.valid[:, 0][None]
    rough = _outwards(steps, jnp.zeros_like(origin))
    centre = jnp.argmax(jnp.where(filled, rough, -jnp.inf), -1).astype(jnp.int32)
    levels, distances = _outwards(steps, centre), _outwards(jnp.broadcast_to(blocks.width[None], steps.shape), centre)
    lead = lambda row: 2 * (row - origin[:, None]).astype(dtype)
    needed = lambda row: _needed(blocks, levels, leans, distances, lead(row[:, None]), reach)
    first, beyond = jnp.argmax(needed(low), -1), jnp.argmax(needed(high)[:, ::-1], -1)
    groups = blocks.width.size // GROUP
    last = groups - beyond
    if whole:
        block = blocks.offsets.shape[-1] * GROUP
        first, last = jnp.where(low == 0, 0, first), jnp.where(high == count - 1, (count + block - 1) // block, last)
    by_group = (x.reshape(-1, groups, GROUP) for x in (levels, leans, distances))
    return Chunks(*by_group, lead(places), first.astype(jnp.int32), last.astype(jnp.int32))


def _needed(blocks: _Blocks, levels: Array, leans: Array, distances: Array, lead: Array, reach: float) -> Array:
    """Which groups may hold such a weight, `(c, g)`: the largest logit of a block is bounded by its line."""
    filled = blocks.valid[:, 0][None]
    widest = jnp.where(blocks.valid, blocks.offsets, 0).max(-1)[None]
    lowest = jnp.where(blocks.valid, blocks.bends, 0).min(-1)[None]
    at = levels + lead * distances
    least = jnp.where(filled, at, -jnp.inf).max(-1, keepdims=True)
    slack = reach + 1e-4 * (jnp.abs(at) + jnp.abs(least))  # for rounding
    near = filled & (at + jnp.maximum((leans + lead) * widest, 0) - lowest >= least - slack)
    return near.reshape(at.shape[0], -1, GROUP).any(-1)


def flat(band: Band, x: Any) -> Array:
    """A field of the keys, `(n, ...)`, as the band has it, `(g, GROUP b, ...)`."""
    x = jnp.pad(x, ((0, band.count - x.shape[0]), *((0, 0),) * (x.ndim - 1)))
    return x.reshape(*band.peaks.shape, *x.shape[1:])
