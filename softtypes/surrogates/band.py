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

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from softtypes.surrogates import along, platform
from softtypes.surrogates.adjoint import linear

GROUP = 4  # blocks in a group
FEW = 8  # vectors whose products are made one by one


class Chunks(NamedTuple):
    """Rows in c chunks of k, with the groups that they need."""

    heads: Array  # (c, g, 5, GROUP), of the middle row: leans, logits at the first keys of blocks in two parts, and, in
    # two parts, the distances of these keys from the largest logit
    leads: Array  # (c, k), twice the rows after the middle one
    ends: Array  # (c, 2), of the groups


class Band(NamedTuple):
    """Ascending keys in g groups of GROUP blocks of b keys, and the rows that they weigh in.

    What logits are made of comes in two parts: few digits, which are summed and multiplied exactly, and the rest.
    """

    offsets: Array  # (g, 2, GROUP, b), of keys from their block's first one
    bends: Array  # (g, 2, GROUP, b), how far their logits fall below its, in the block's peak row
    peaks: Array  # (g, GROUP b), that row
    chunks: Chunks

    def ending(self, ends: Array) -> "Band":
        """The band with other ends of the groups that its chunks need, `(c, 2)`."""
        return self._replace(chunks=self.chunks._replace(ends=ends))


class Fields(NamedTuple):
    """What the logits' derivatives are made of: a change of the logarithm of the scale changes them by themselves."""

    places: Array  # (g, GROUP b)
    bends: Array  # (g, GROUP b)
    scale: Array | None  # 0-d; None if it is not differentiated


class Kind(NamedTuple):
    """Weights k of logits x above a threshold: a derivative of `x^logit k(x)`, times a power of the lean."""

    order: int = 0
    lean: int = 0
    logit: int = 0

    def slope(self, lean: int = 0, logit: int = 0) -> "Kind":
        """The derivative, times further powers."""
        return Kind(self.order + 1, self.lean + lean, self.logit + logit)


Kinds = tuple[Kind, ...]
POWERS = {"smooth": 0, "c0": 1, "c1": 2, "c2": 3}  # k is max(x, 0)^power, or the exponential for power 0


def _weight(power: int, kind: Kind, x: Array) -> Array:
    order, degree = kind.order, power + kind.logit
    if power == 0:
        terms = (math.comb(order, i) * math.perm(degree, i) * x ** (degree - i) for i in range(min(order, degree) + 1))
        return jnp.exp(x) * sum(terms) if degree else jnp.exp(x)
    above = x > 0  # at 0 maximum would pass on half a gradient
    return math.perm(degree, order) * jnp.where(above, jnp.where(above, x, 0) ** max(degree - order, 0), 0)


def _weighted(
    power: int, kinds: Kinds, logits: Array, lean: Array, product: Callable, other: Array, axis: int
) -> Array:
    """`product(weights, other)` of each kind with its share of the columns of `other`, along an axis.

    Kinds that agree share one product.
    """
    width = other.shape[-1] // len(kinds)
    kinds = tuple(kind if power or kind.logit else kind._replace(order=0) for kind in kinds)
    out: dict[int, Array] = {}
    for kind in dict.fromkeys(kinds):
        here = [i for i, own in enumerate(kinds) if own == kind]
        weights = _weight(power, kind, logits) * (lean**kind.lean if kind.lean else 1)
        sums = product(weights, jnp.concatenate([other[:, i * width : (i + 1) * width] for i in here], -1))
        out |= dict(zip(here, jnp.split(sums, len(here), axis), strict=True))
    return jnp.concatenate([out[i] for i in range(len(kinds))], axis)


def _dot(a: Array, b: Array) -> Array:
    return jnp.dot(a, b, precision="highest")


def _dot_few(few: Array, b: Array) -> Array:
    """`few @ b`, row by row: XLA's CPU is many times quicker at products with a vector."""
    if not platform.in_turn() or few.shape[0] > FEW:
        return _dot(few, b)
    return jnp.stack([_dot(row, b) for row in few])


def _dot_narrow(a: Array, narrow: Array) -> Array:
    """`a @ narrow`, likewise."""
    if not platform.in_turn() or narrow.shape[1] > FEW:
        return _dot(a, narrow)
    return jnp.stack([_dot(a, column) for column in narrow.T], -1)


# Tiles


def _tile(band: Band, chunk: Chunks, g: Array) -> tuple[Array, Array]:
    """The logits of a chunk's rows over a group's keys and their leans, `(k, GROUP b)`."""
    offset, bend, head = (_at(g, x) for x in (band.offsets, band.bends, chunk.heads[..., None]))
    slope, level, distance = head[:1], head[1:3], head[3:]
    line, place = level + (slope * offset - bend), distance + offset
    slope = jnp.broadcast_to(slope[0], offset.shape[1:])
    # held: or else the loop over the tile makes them again for each entry
    line, place, slope = along.held((line.reshape(2, 1, -1), place.reshape(2, 1, -1), slope.reshape(1, -1)))
    lead = chunk.leads[:, None]
    return (line[0] + lead * place[0]) + (line[1] + lead * place[1]), lead + slope


def _at(g: Array, x: Array) -> Array:
    """`x[g]`; told that g is not negative, it compiles sooner."""
    start = (g, *(jnp.zeros_like(g),) * (x.ndim - 1))
    return lax.dynamic_slice(x, start, (1, *x.shape[1:]), allow_negative_indices=False)[0]


def _put(g: Array, x: Array, y: Array) -> Array:
    """x with y at g, likewise."""
    start = (g, *(jnp.zeros_like(g),) * (x.ndim - 1))
    return lax.dynamic_update_slice(x, y[None], start, allow_negative_indices=False)


def _groups(chunk: Chunks, step: Callable, start: Any) -> Any:
    """`step(g, state)` over the groups that a chunk needs."""
    return lax.fori_loop(chunk.ends[0], chunk.ends[1], step, start)


def _row_sums(power: int, kinds: Kinds, band: Band, level: Array, columns: Array) -> Array:
    def of_chunk(args):
        chunk, level = args

        def add(g, sums):
            logits, lean = _tile(band, chunk, g)
            return sums + _weighted(power, kinds, logits - level[:, None], lean, _dot_narrow, _at(g, columns), 1)

        return _groups(chunk, add, jnp.zeros_like(level)[:, None] * jnp.zeros_like(columns[0, :1]))

    return platform.each(of_chunk, (band.chunks, level), _tile_size(band))


def _tile_size(band: Band) -> int:
    return band.chunks.leads.shape[-1] * band.peaks.shape[-1]


def _column_sums(power: int, kinds: Kinds, band: Band, level: Array, rows: Array) -> Array:
    """The sums are kept transposed: the product with the transposed weights takes six times as long."""
    product = lambda weights, row: _dot_few(row.T, weights)

    def of_tile(g, chunk, level, row):
        logits, lean = _tile(band, chunk, g)
        return _weighted(power, kinds, logits - level[:, None], lean, product, row, 0)

    nothing = jnp.zeros_like(level[0, :1]) + jnp.zeros_like(rows[0, 0])
    zeros = jnp.broadcast_to(nothing[None, :, None], (band.peaks.shape[0], nothing.size, band.peaks.shape[1]))
    return jnp.swapaxes(_over_columns(band, "add", zeros, of_tile, level, rows), 1, 2)


def _over_columns(band: Band, join: str, start: Array, of_tile: Callable, *rows: Array) -> Array:
    """`of_tile(g, chunk, *rows)` of all tiles, those of one group joined: `start` is the result of no tile, for each
    group."""
    if platform.in_turn():
        joined = {"add": jnp.add, "max": jnp.maximum}[join]

        def of_chunk(total, args):
            def step(g, total):
                return _put(g, total, joined(_at(g, total), of_tile(g, *args)))

            return _groups(args[0], step, total), None

        return lax.scan(of_chunk, start, (band.chunks, *rows))[0]

    def of_chunks(total, args):
        first, after = args[0].ends.T
        last = jnp.maximum(after - 1, first)

        def step(i, total):
            g = jnp.minimum(first + i, last)
            more = jax.vmap(of_tile)(g, *args)
            inside = (first + i < after).reshape(-1, *(1,) * (more.ndim - 1))
            return getattr(total.at[g], join)(jnp.where(inside, more, start[g]), mode="promise_in_bounds")

        return lax.fori_loop(0, (after - first).max(), step, total), None

    return lax.scan(of_chunks, start, platform.parts((band.chunks, *rows), _tile_size(band)))[0]


# Sums with their derivatives


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def row_sums(power: int, kinds: Kinds, band: Band, fields: Fields, level: Array, columns: Array) -> Array:
    """For each kind the sums over the keys of weights times its share of columns `(g, GROUP b, r)`: `(c, k, r)`."""
    return _row_sums(power, kinds, band, level, columns)


@row_sums.defjvp
def _row_sums_jvp(power, kinds, primals, tangents):
    band, fields, level, columns = primals
    _, dfields, dlevel, dcolumns = tangents
    slopes = tuple(kind.slope() for kind in kinds)
    both = row_sums(power, kinds + slopes, band, fields, level, jnp.concatenate([columns, columns], -1))
    sums, slopes = jnp.split(both, 2, -1)
    return sums, _moved(power, kinds, band, fields, level, columns, dfields, dcolumns) - slopes * dlevel[..., None]


def _moving(kinds: Kinds, fields: Fields) -> tuple[Kinds, list[Array]]:
    """The kinds that fields move, and the fields: `x f' = (x f)' - f`, of which the last is left to the caller."""
    moves = [(1, 0), (0, 0), (0, 1)][: 2 if fields.scale is None else 3]
    every = tuple(kind.slope(*move) for move in moves for kind in kinds)
    return every, [fields.places, fields.bends, *([] if fields.scale is None else [fields.scale[None, None]])]


def _times_order(kinds: Kinds, x: Array) -> Array:
    """By one more than the order of each kind's share."""
    orders = np.repeat([1.0 + kind.order for kind in kinds], x.shape[-1] // len(kinds))
    return x * orders.astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))


def _moved(power: int, kinds: Kinds, band, fields, level, columns, dfields: Fields, dcolumns: Array) -> Array:
    """The change of row sums with keys and columns, at fixed thresholds."""
    every, moving = _moving(kinds, dfields)
    if dfields.scale is not None:
        dcolumns = dcolumns - dfields.scale * _times_order(kinds, columns)
    change = _linear_sums(
        (row_sums, column_sums),
        (power, kinds + every, band, fields, level),
        jnp.concatenate([dcolumns, *(field[..., None] * columns for field in moving)], -1),
        level.shape,
    )
    return change.reshape(*level.shape, 1 + len(moving), -1).sum(-2)


def _linear_sums(fns: tuple[Callable, Callable], args: tuple, x: Array, shape: tuple[int, ...]) -> Array:
    """`fns[0](*args, x)`, of that shape, for JAX to transpose to the other one."""
    push, pull = (lambda y, fn=fn: fn(*args, y) for fn in fns)
    return linear(push, pull, x, jnp.zeros((*shape, x.shape[-1]), x.dtype))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def column_sums(power: int, kinds: Kinds, band: Band, fields: Fields, level: Array, rows: Array) -> Array:
    """For each kind the sums over the rows of weights times its share of rows `(c, k, r)`: `(g, GROUP b, r)`."""
    return _column_sums(power, kinds, band, level, rows)


@column_sums.defjvp
def _column_sums_jvp(power, kinds, primals, tangents):
    band, fields, level, rows = primals
    _, dfields, dlevel, drows = tangents
    every, moving = _moving(kinds, dfields)
    all_rows = jnp.concatenate([rows] * (1 + len(moving)), -1)
    sums, *moved = jnp.split(column_sums(power, kinds + every, band, fields, level, all_rows), 1 + len(moving), -1)
    change = _linear_sums(
        (column_sums, row_sums),
        (power, kinds + tuple(kind.slope() for kind in kinds), band, fields, level),
        jnp.concatenate([drows, -dlevel[..., None] * rows], -1),
        band.peaks.shape,
    )
    change = sum(jnp.split(change, 2, -1)) + sum(field[..., None] * x for field, x in zip(moving, moved, strict=True))
    return sums, change if dfields.scale is None else change - dfields.scale * _times_order(kinds, sums)


# Thresholds and means


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def solved(power: int, band: Band, fields: Fields, columns: Array) -> tuple[Array, Array]:
    """The thresholds of the rows, `(c, k)`, and the means of columns `(g, GROUP b, 1 + r)` but the first, which is of
    ones: `(c, k, r)`."""

    def of_chunk(chunk: Chunks):
        def sweep(fn, start):
            return _groups(chunk, lambda g, state: fn(state, _tile(band, chunk, g)[0], _at(g, columns)), start)

        none = jnp.zeros_like(chunk.leads)[:, None] * jnp.zeros_like(columns[0, :1])
        level, sums = _root(power, sweep, none) if power else _log_sum(sweep, none)
        return level, sums[:, 1:] / jnp.where(sums[:, :1] > 0, sums[:, :1], 1)

    return platform.each(of_chunk, band.chunks, _tile_size(band))


@solved.defjvp
def _solved_jvp(power, primals, tangents):
    """A change of the level scales all weights, or takes from each in proportion to its slope."""
    band, fields, columns = primals
    _, dfields, dcolumns = tangents
    level, mean = solved(power, band, fields, columns)
    mass, centre = 1, mean
    if power:
        slope = row_sums(power, (Kind(order=1),), band, fields, level, columns)
        mass, centre = slope[..., 0], slope[..., 1:] / slope[..., :1]
    change = _moved(power, (Kind(),), band, fields, level, columns, dfields, dcolumns)
    return (level, mean), (change[..., 0] / mass, change[..., 1:] - centre * change[..., :1])


def _lowest(like: Array) -> Array:
    return jnp.zeros_like(like) - float(jnp.finfo(like.dtype).max) / 2


def _log_sum(sweep: Callable, none: Array) -> tuple[Array, Array]:
    def add(state, logits, column):
        top, sums = state
        higher = jnp.maximum(top, logits.max(-1))
        more = _dot_narrow(jnp.exp(logits - higher[:, None]), column)
        return higher, sums * jnp.exp(top - higher)[:, None] + more

    top, sums = sweep(add, (_lowest(none[:, 0]), none))
    return jnp.where(sums[:, 0] > 0, top + jnp.log(jnp.where(sums[:, 0] > 0, sums[:, 0], 1)), 0), sums


def _root(power: int, sweep: Callable, none: Array) -> tuple[Array, Array]:
    """The root t of `sum max(x - t, 0)^power = 1`: the p-norm is convex and falls, Newton's method climbs to it."""
    top = sweep(lambda top, logits, _: jnp.maximum(top, logits.max(-1)), _lowest(none[:, 0]))

    def climb(state):
        t, _, count = state

        def add(sums, logits, _):
            above = jnp.maximum(logits - (top + t)[:, None], 0)
            lower = above ** (power - 1) if power > 1 else (above > 0).astype(above.dtype)
            return sums + jnp.stack([(lower * above).sum(-1), lower.sum(-1)])

        total, slope = sweep(add, jnp.stack([none[:, 0]] * 2))
        step = jnp.maximum(total - total ** (1 - 1 / power), 0) / jnp.where(slope > 0, slope, 1)
        return jnp.minimum(t + step, 0), (step > 4 * jnp.finfo(t.dtype).eps).any(), count + 1

    start = none[:, 0] - 1, (none[:, 0] == 0).any(), jnp.int32(0)
    level = top + lax.while_loop(lambda state: state[1] & (state[2] < 64), climb, start)[0]
    weigh = lambda sums, logits, column: sums + _dot_narrow(_weight(power, Kind(), logits - level[:, None]), column)
    return level, sweep(weigh, none)


def column_tops(band: Band, level: Array) -> Array:
    """The largest logit above the threshold in each column, `(g, GROUP b)`."""

    lowest = jnp.broadcast_to(_lowest(level[0, 0]), band.peaks.shape)

    def highest(g, chunk, level):
        logits = along.held(_tile(band, chunk, g)[0])  # joined with its maximum it is slow
        return (logits - level[:, None]).max(0)

    return _over_columns(band, "max", lowest, highest, level)


# The band of keys and rows; nothing here is differentiated


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
    width = gaps.sum(-1)
    tilt = jnp.round(rises.sum(-1) / jnp.where(width > 0, 2 * width, 1))
    limit = float(m * size)
    tilt = jnp.clip(tilt, -limit, limit).astype(jnp.int32)  # the peak row is this much before the block
    gaps, rises = _split(gaps, width), _split(rises, width)
    terms = (1 + 2 * (inner[None] + tilt[:, None])).astype(width.dtype)[None] * gaps - rises
    offsets, bends = _before(jnp.stack([gaps, terms]))
    blocks = _Blocks(start - tilt, gaps.sum(-1), terms.sum(-1), offsets.sum(0), bends.sum(0), valid)
    chunks, ends = _chunks(blocks, places, count, reaches, whole)
    nowhere = jnp.asarray([float(jnp.finfo(width.dtype).max) ** 0.25, 0], width.dtype)[:, None, None]
    grouped = lambda x: jnp.swapaxes(x.reshape(2, groups, GROUP, size), 0, 1)
    peaks = jnp.broadcast_to(blocks.peaks[:, None], (m, size)).reshape(groups, -1)
    out = Band(grouped(offsets), grouped(jnp.where(valid[None], bends, nowhere)), peaks, chunks)
    return [out.ending(end) for end in ends]


def _split(x: Array, width: Array) -> Array:
    """Multiples of a power of two, some thousandth of the block's width, and the rest: `(2, m, b)`."""
    half = (jnp.finfo(x.dtype).nmant + 1) // 2
    large = (1.5 * 2.0**half) * width[:, None]
    few = (x + large) - large
    return jnp.stack([few, x - few])


class _Blocks(NamedTuple):
    peaks: Array  # (m,)
    width: Array  # (2, m)
    drop: Array  # (2, m), of the logits of the peak row over the block
    offsets: Array  # (m, b)
    bends: Array  # (m, b)
    valid: Array  # (m, b)


def _before(x: Array) -> Array:
    """Sums of what comes before along a short last axis, as a product: it compiles sooner than a scan."""
    places = jnp.arange(x.shape[-1], dtype=jnp.int32)
    return _dot(x, (places[:, None] < places[None]).astype(x.dtype))


def _outwards(steps: Array, centre: Array) -> Array:
    """Sums of `steps` `(..., c, m)` from the centre to before each place; negative towards the left."""
    after = jnp.arange(steps.shape[-1], dtype=jnp.int32)[None] >= centre[:, None]
    after = after.reshape((1,) * (steps.ndim - 2) + after.shape)
    right, left = jnp.where(after, steps, 0), jnp.where(after, 0, steps)
    return _before(right) - jnp.flip(_before(jnp.flip(left, -1)) + jnp.flip(left, -1), -1)


def _chunks(blocks: _Blocks, places: Array, count: Array, reaches: Sequence[float], whole: bool):
    """Chunks, and for each reach their ends. A later row leans to the right, so the first group is that of a chunk's
    first row, the last that of its last."""
    low, high = places[:, 0], places[:, -1]
    origin = (low + high) >> 1
    dtype = blocks.width.dtype
    leans = 2 * (origin[:, None] - blocks.peaks[None]).astype(dtype)
    widths = jnp.broadcast_to(blocks.width[:, None], (2, *leans.shape))
    steps = leans[None] * widths - blocks.drop[:, None]
    rough = jnp.where(blocks.valid[:, 0][None], _before(steps.sum(0)), -jnp.inf)
    centre = _first(rough == rough.max(-1, keepdims=True))
    heads = _outwards(jnp.stack([steps, widths], 1), centre)
    lead = lambda row: 2 * (row - origin[:, None]).astype(dtype)
    leads = jnp.stack([lead(low[:, None]), lead(high[:, None])])
    groups = leans.shape[-1] // GROUP
    ends = []
    for needed in _needed(blocks, heads.sum(0), leans, leads, reaches):
        ends.append((_first(needed[0]), groups - _first(needed[1, :, ::-1])))
    if whole:
        used = blocks.valid[:, 0].reshape(groups, GROUP)[:, 0].sum(dtype=jnp.int32)
        first, last = ends[-1]
        ends[-1] = jnp.where(low == 0, 0, first), jnp.where(high == count - 1, used, last)
    ends = [jnp.stack(end, -1) for end in ends]
    heads = jnp.concatenate([leans[None], heads[:, 0], heads[:, 1]]).reshape(5, -1, groups, GROUP)
    return Chunks(jnp.moveaxis(heads, 0, 2), lead(places), ends[0]), ends


def _first(hit: Array) -> Array:
    """The first place along the last axis that is hit, 0 where none is; argmax takes long to compile."""
    places = jnp.arange(hit.shape[-1], dtype=jnp.int32)
    found = jnp.where(hit, places.reshape((1,) * (hit.ndim - 1) + (-1,)), hit.shape[-1]).min(-1)
    return jnp.where(found < hit.shape[-1], found, 0)


def _needed(blocks: _Blocks, heads: Array, leans: Array, lead: Array, reaches: Sequence[float]) -> list[Array]:
    """For each reach which groups may hold such a weight, `(2, c, g)`: the largest logit of a block is bounded by its
    line."""
    filled = blocks.valid[:, 0][None, None]
    widest = jnp.where(blocks.valid, blocks.offsets, 0).max(-1)[None, None]
    lowest = jnp.where(blocks.valid, blocks.bends, 0).min(-1)[None, None]
    at = heads[:1] + lead * heads[1:]
    top = jnp.where(filled, at, -jnp.inf).max(-1, keepdims=True)
    slack = 1e-4 * (jnp.abs(at) + jnp.abs(top))  # for rounding
    largest = at + jnp.maximum((leans[None] + lead) * widest, 0) - lowest
    near = [filled & (largest >= top - (reach + slack)) for reach in reaches]
    return [hit.reshape(*at.shape[:2], -1, GROUP).any(-1) for hit in near]


def meeting(band: Band, groups: Array) -> Array:
    """The ends of those groups, `(g,)` bool, that each chunk needs, `(c, 2)`; 0 where it needs none."""
    places = jnp.arange(groups.shape[0], dtype=jnp.int32)[None]
    hit = groups[None] & (places >= band.chunks.ends[:, :1]) & (places < band.chunks.ends[:, 1:])
    last = jnp.where(hit, places + 1, 0).max(-1)
    return jnp.stack([_first(hit), last], -1)


def own_weights(band: Band, count: Array, level: Array) -> Array:
    """The logarithm of each key's weight in the row of its place, moved as its block's peak is, `(g, GROUP b)`."""
    groups, _, _, size = band.offsets.shape
    inner = jnp.arange(GROUP * size, dtype=jnp.int32)[None]
    rows = jnp.clip(band.peaks + inner % size, 0, jnp.maximum(count - 1, 0))
    chunk, place = jnp.divmod(rows, level.shape[-1])
    group, block = jnp.arange(groups, dtype=jnp.int32)[:, None], inner // size
    offset, bend = (x.sum(1).reshape(groups, -1) for x in (band.offsets, band.bends))
    head, lead = jnp.moveaxis(band.chunks.heads[chunk, group, :, block], -1, 0), band.chunks.leads[chunk, place]
    lean, line, distance = head[0], head[1] + head[2], head[3] + head[4]
    return line + lean * offset - bend + lead * (distance + offset) - level[chunk, place]


def flat(band: Band, x: Any) -> Array:
    """A field of the keys, `(n, ...)`, as the band has it, `(g, GROUP b, ...)`."""
    x = jnp.pad(x, ((0, band.peaks.size - x.shape[0]), *((0, 0),) * (x.ndim - 1)))
    return x.reshape(*band.peaks.shape, *x.shape[1:])
