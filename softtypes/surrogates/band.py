"""Projections whose weights fill a band: logits of ascending keys that a row's place shifts, in blocks.

The logits of row p (from 0) over ascending keys z, in units of the softness, are

    l_p(j) = (2 p + 1 - n) z_j - A_j,    A_j = sum_i abs(z_j - z_i),

so a later row leans to larger keys, and the places that can carry weight move on from row to row. Keys lie in blocks,
blocks in groups. Within a block logits are differences to its first key, and from block to block they are
summed outwards from where a chunk of rows has its largest: what carries weight is never a difference of large
numbers. Bounds over the blocks tell which groups a chunk of rows needs; sums pass over these only.

Values are found by loops over those groups, derivatives of any order by passes in which the other groups are skipped.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

GROUP = 8  # blocks in a group


class Blocks(NamedTuple):
    """Ascending keys in g groups of blocks of b keys, in units of the softness."""

    offsets: Array  # (g, GROUP, b), of the keys from their block's first
    bends: Array  # (g, GROUP, b), what A grows by over the block, less its share in the tilt
    tilts: Array  # (g, GROUP), the slope of row p at the block's first key, less 2 (p - its place)
    widths: Array  # (g, GROUP), the offset of the next block's first key
    drops: Array  # (g, GROUP), its bend
    valid: Array  # (g, GROUP, b), where there is a key


class Plan(NamedTuple):
    """Rows in c chunks of k, and the groups that they need."""

    places: Array  # (c, k), the rows p
    counted: Array  # (c, k), whether a row is one, or there to fill the chunk
    origin: Array  # (c,), the row of a chunk for which sums over blocks are made
    centre: Array  # (c,), the block that they start from
    first: Array  # (c,), group
    last: Array  # (c,), one beyond the last group


class Kernel(NamedTuple):
    """Weights of logits `x` above a row's threshold: positive, growing, and with sum 1 at the threshold."""

    weight: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    power: int | None  # None: the exponential


def _truncated(power: int) -> Kernel:
    above = lambda x: jnp.where(x > 0, x, 0)  # at 0 maximum would pass on half a gradient
    slope = (lambda x: power * above(x) ** (power - 1)) if power > 1 else lambda x: (x > 0).astype(x.dtype)
    return Kernel(lambda x: above(x) ** power, slope, power)


KERNELS = {"smooth": Kernel(jnp.exp, jnp.exp, None), "c0": _truncated(1), "c1": _truncated(2), "c2": _truncated(3)}


# Logits


class _Tile(NamedTuple):
    """What the logits of a chunk of rows over a group are made of."""

    level: Array  # (GROUP,), at the blocks' first keys, of the chunk's origin
    distance: Array  # (GROUP,), of these from the centre
    lead: Array  # (k,), of the rows before the origin


def _starts(blocks: Blocks) -> Array:
    """The places of the blocks' first keys, `(g, GROUP)`."""
    count, size = blocks.tilts.size, blocks.offsets.shape[-1]
    return (size * jnp.arange(count, dtype=jnp.int32)).reshape(blocks.tilts.shape)


def _outwards(steps: Array, centre: Array) -> Array:
    """Sums of `steps` `(c, m)` from the centre to before each place; negative towards the left."""
    after = jnp.arange(steps.shape[-1]) >= centre[:, None]
    up, down = jnp.where(after, steps, 0), jnp.where(after, 0, steps)
    left = lax.cumsum(down, 1, reverse=True)
    return lax.cumsum(up, 1) - up - left


def _levels(blocks: Blocks, origin: Array, centre: Array) -> tuple[Array, Array]:
    """The logits of the rows `origin` at the blocks' first keys, and these keys, less those at the centre: `(c, m)`."""
    slopes = _slopes(blocks, origin).reshape(origin.shape[0], -1)
    widths = jnp.broadcast_to(blocks.widths.reshape(-1), slopes.shape)
    return _outwards(slopes * widths - blocks.drops.reshape(-1), centre), _outwards(widths, centre)


def _slopes(blocks: Blocks, places: Array) -> Array:
    """`(..., g, GROUP)`: the slopes of rows at the blocks' first keys."""
    steps = places[..., None, None] - _starts(blocks)
    return 2 * steps.astype(blocks.tilts.dtype) + blocks.tilts


def _logits(tile: _Tile, places: Array, starts: Array, group: Blocks) -> Array:
    """`(k, GROUP, b)`."""
    base = tile.level + 2 * tile.lead[:, None] * tile.distance
    slopes = 2 * (places[:, None] - starts).astype(base.dtype) + group.tilts
    return base[..., None] + (slopes[..., None] * group.offsets - group.bends)


# The plan


def plan(blocks: Blocks, places: Array, counted: Array, reach: float) -> Plan:
    """Which groups a chunk needs: all that hold a weight not below `exp(-reach)` of a row's largest.

    A later row leans to the right, so the first group is that of a chunk's first row and the last that of its last.
    """
    blocks = jax.tree.map(lax.stop_gradient, blocks)
    low, high = places.min(-1), places.max(-1)
    origin = (low + high) // 2
    filled = blocks.valid.any(-1).reshape(-1)
    rough, _ = _levels(blocks, origin, jnp.zeros_like(origin))
    centre = jnp.argmax(jnp.where(filled, rough, -jnp.inf), -1).astype(jnp.int32)
    level, distance = _levels(blocks, origin, centre)

    def needed(row):
        at = level + 2 * (row - origin)[:, None].astype(level.dtype) * distance
        slopes = _slopes(blocks, row)
        widest = jnp.where(blocks.valid, blocks.offsets, 0).max(-1)
        rise = jnp.maximum(slopes * widest, 0) - jnp.where(blocks.valid, blocks.bends, 0).min(-1)
        least = jnp.where(filled, at, -jnp.inf).max(-1, keepdims=True)
        slack = reach + 1e-4 * (jnp.abs(at) + jnp.abs(least))
        return (filled & (at + rise.reshape(at.shape) >= least - slack)).reshape(slopes.shape).any(-1)

    first = jnp.argmax(needed(low), -1)
    last = blocks.tilts.shape[0] - jnp.argmax(needed(high)[:, ::-1], -1)
    return Plan(places, counted, origin, centre, first.astype(jnp.int32), last.astype(jnp.int32))


def _chunks(blocks: Blocks, plan: Plan) -> tuple[Array, Array, Array]:
    """Levels and distances `(c, g, GROUP)`, leads `(c, k)`."""
    level, distance = _levels(blocks, plan.origin, plan.centre)
    shape = (-1, *blocks.tilts.shape)
    lead = (plan.places - plan.origin[:, None]).astype(level.dtype)
    return level.reshape(shape), distance.reshape(shape), lead


# Loops over the groups that a chunk needs: values only


def _swept(blocks: Blocks, plan: Plan, chunk_fn: Callable, *of_rows: Array) -> Any:
    """`chunk_fn(sweep, *rows)` for each chunk; `sweep(fn, zero)` folds `fn(state, logits, valid, group)`."""
    blocks = jax.tree.map(lax.stop_gradient, blocks)
    level, distance, lead = _chunks(blocks, plan)
    starts = _starts(blocks)

    def one(args):
        (level, distance, lead, places, first, last), rest = args

        def sweep(fn, zero):
            def body(g, state):
                group = jax.tree.map(lambda x: x[g], blocks)
                x = _logits(_Tile(level[g], distance[g], lead), places, starts[g], group)
                return fn(state, x, group.valid, g)

            return lax.fori_loop(first, last, body, zero)

        return chunk_fn(sweep, *rest)

    return lax.map(one, ((level, distance, lead, plan.places, plan.first, plan.last), of_rows))


def _total(x: Array) -> Array:
    return x.sum((-2, -1))


def _highest(sweep: Callable, like: Array) -> Array:
    step = lambda top, x, valid, g: jnp.maximum(top, jnp.where(valid, x, -jnp.inf).max((-2, -1)))
    top = sweep(step, like - jnp.inf)
    return jnp.where(top > -jnp.inf, top, 0)


def _log_sum(sweep: Callable, zero: Array) -> Array:
    top = _highest(sweep, zero)
    mass = lambda state, x, valid, g: state + _total(jnp.where(valid, jnp.exp(x - top[:, None, None]), 0))
    return top + jnp.log(jnp.maximum(sweep(mass, zero), 1))


def _root(power: int, sweep: Callable, zero: Array) -> Array:
    """The threshold by Newton's method, which climbs to it from below."""
    top = _highest(sweep, zero)

    def sums(t):
        def add(state, x, valid, g):
            gap = jnp.where(valid, jnp.maximum(x - (top + t)[:, None, None], 0), 0)
            lower = gap ** (power - 1) if power > 1 else (gap > 0).astype(gap.dtype)
            return state[0] + _total(lower * gap), state[1] + _total(lower)

        return sweep(add, (zero, zero))

    def climb(state):
        t, _, count = state
        mass, slope = sums(t)
        step = jnp.where(slope > 0, jnp.maximum(mass - 1, 0) / jnp.where(slope > 0, power * slope, 1), 0)
        return jnp.minimum(t + step, 0), (step > 2 * jnp.finfo(t.dtype).eps).any(), count + 1

    start = (zero - 1, zero.sum() == 0, jnp.int32(0))
    return top + lax.while_loop(lambda state: state[1] & (state[2] < 64), climb, start)[0]


# Passes over all groups, of which those not needed are skipped: for derivatives


def _row_sums(term: Callable, blocks: Blocks, columns: Any, rows: Any, plan: Plan) -> Any:
    """Sums over the keys of `term(logits, valid, rows, columns)`, `(c, k)`."""
    level, distance, lead = _chunks(blocks, plan)
    starts, numbers = _starts(blocks), jnp.arange(blocks.tilts.shape[0])
    zero = jnp.zeros_like(lead[0]) * blocks.tilts[0, 0]

    @jax.checkpoint
    def chunk(args):
        level, distance, lead, places, first, last, rows = args

        def add(total, group):
            level, distance, start, own, column, number = group

            def tile(level, distance, lead, own, column, rows):
                x = _logits(_Tile(level, distance, lead), places, start, own)
                return _total(term(x, own.valid, jax.tree.map(lambda r: r[:, None, None], rows), column))

            skip = lambda *_: zero
            needed = (number >= first) & (number < last)
            return total + lax.cond(needed, tile, skip, level, distance, lead, own, column, rows), None

        return lax.scan(add, zero, (level, distance, starts, blocks, columns, numbers))[0]

    return lax.map(chunk, (level, distance, lead, plan.places, plan.first, plan.last, rows))


def _column_sums(term: Callable, blocks: Blocks, columns: Any, rows: Any, plan: Plan) -> Any:
    """Sums over the rows of `term(logits, valid, rows, columns)`, `(g, GROUP, b)`."""
    level, distance, lead = _chunks(blocks, plan)
    numbers = jnp.arange(blocks.tilts.shape[0])
    zero = jnp.zeros_like(blocks.offsets[0])

    @jax.checkpoint
    def group(args):
        level, distance, start, own, column, number = args

        def add(total, chunk):
            level, distance, lead, places, first, last, rows = chunk

            def tile(level, distance, lead, own, column, rows):
                x = _logits(_Tile(level, distance, lead), places, start, own)
                return term(x, own.valid, jax.tree.map(lambda r: r[:, None, None], rows), column)

            def sums(*args):
                return jax.tree.map(lambda t: t.sum(0), tile(*args))

            needed = (number >= first) & (number < last)
            skip = lambda *_: (zero, zero)
            more = lax.cond(needed, sums, skip, level, distance, lead, own, column, rows)
            return jax.tree.map(jnp.add, total, more), None

        return lax.scan(add, (zero, zero), (level, distance, lead, plan.places, plan.first, plan.last, rows))[0]

    by_group = [jnp.moveaxis(x, 1, 0) for x in (level, distance)]
    return lax.map(group, (*by_group, _starts(blocks), blocks, columns, numbers))


# Thresholds and means


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def thresholds(kernel: Kernel, blocks: Blocks, plan: Plan) -> Array:
    """The threshold of each row, `(c, k)`: where its weights sum to 1."""
    find = _log_sum if kernel.power is None else partial(_root, kernel.power)
    zeros = jnp.zeros(plan.places.shape, blocks.tilts.dtype) * blocks.tilts[0, 0]
    return _swept(blocks, plan, find, zeros)


@thresholds.defjvp
def _thresholds_jvp(kernel, primals, tangents):
    (blocks, plan), (dblocks, _) = primals, tangents
    level = thresholds(kernel, blocks, plan)

    def sums(fn):
        return lambda blocks: _row_sums(
            lambda x, valid, rows, _: jnp.where(valid, fn(jnp.where(valid, x - rows, 0)), 0), blocks, (), level, plan
        )

    return level, _pushed(sums(kernel.weight), (blocks,), (dblocks,)) / _positive(sums(kernel.slope)(blocks))


def _pushed(fn, primals, tangents):
    return jax.jvp(fn, primals, tangents)[1]


def _positive(x: Array) -> Array:
    return jnp.where(x > 0, x, 1)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def means(kernel: Kernel, blocks: Blocks, values: Array, levels: Array, plan: Plan) -> Array:
    """The weighted mean of values `(g, GROUP, b)` of each row, `(c, k)`, under thresholds `levels`."""

    def mean(sweep, level):
        def add(state, x, valid, g):
            weight = jnp.where(valid, kernel.weight(x - level[:, None, None]), 0)
            return state[0] + _total(weight), state[1] + _total(weight * values[g])

        mass, total = sweep(add, (0 * level, 0 * level))
        return total / _positive(mass)

    return _swept(blocks, plan, mean, levels)


@means.defjvp
def _means_jvp(kernel, primals, tangents):
    blocks, values, levels, plan = primals
    mean = means(kernel, blocks, values, levels, plan)

    def excess(blocks, values, levels):
        """The sum of weights times what values are above the mean; the sum of the weights is 1."""

        def term(x, valid, rows, column):
            level, mean = rows
            weight = jnp.where(valid, kernel.weight(jnp.where(valid, x - level, 0)), 0)
            return weight * (column - mean)

        return _row_sums(term, blocks, values, (levels, mean), plan)

    if kernel.power is None:  # a change of the level scales all weights alike
        return mean, _pushed(lambda blocks, values: excess(blocks, values, levels), primals[:2], tangents[:2])
    return mean, _pushed(excess, primals[:3], tangents[:3])


def mean_places(kernel: Kernel, blocks: Blocks, levels: Array, plan: Plan, like: Array) -> tuple[Array, Array]:
    """Of each key the weights' sum over the rows, and their mean of the places less `like`, `(g, GROUP, b)`."""

    def term(x, valid, rows, column):
        level, place, counted = rows
        weight = jnp.where(valid & counted, kernel.weight(jnp.where(valid, x - level, 0)), 0)
        return weight, weight * (place - column)

    counted = plan.counted
    rows = (levels, plan.places.astype(levels.dtype), counted)
    mass, moment = _column_sums(term, blocks, like, rows, plan)
    return mass, moment / _positive(mass)
