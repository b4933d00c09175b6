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

from softtypes.surrogates.tiles import Parts, tile_sums

GROUP = 8  # blocks in a group


class Blocks(NamedTuple):
    """Ascending keys in g groups of blocks of b keys, in units of the softness."""

    offsets: Array  # (g, GROUP, b), of the keys from their block's first
    bends: Array  # (g, GROUP, b), what A grows by over the block, less its share in the tilt
    tilts: Array  # (g, GROUP), the slope of row p at the block's first key, less 2 (p - its place)
    widths: Array  # (g, GROUP), the offset of the next block's first key
    drops: Array  # (g, GROUP), its bend


class Band(NamedTuple):
    """The logits of c chunks of k rows: `line + lead * lean`, where a block's line is `level + slope * offset - bend`.

    The lean is twice the distance of a key from where the chunk has its largest logits.
    """

    levels: Array  # (c, g, GROUP), at the blocks' first keys
    slopes: Array  # (c, g, GROUP)
    distances: Array  # (c, g, GROUP), of the blocks' first keys
    offsets: Array  # (g, GROUP, b)
    bends: Array  # (g, GROUP, b)


class Plan(NamedTuple):
    """Which groups the chunks need, and what is not differentiated."""

    leads: Array  # (c, k), of the rows before the chunk's origin
    first: Array  # (c,), group
    last: Array  # (c,), one beyond the last group
    valid: Array  # (g, GROUP b), where there is a key


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


def sums_before(x: Array) -> Array:
    """Cumulative sums along a short last axis, as a product: it compiles sooner than a scan."""
    return jnp.dot(x, jnp.triu(jnp.ones((x.shape[-1],) * 2, x.dtype), 1), precision="highest")


def sums_from(x: Array) -> Array:
    """Those of an entry and all after it."""
    return jnp.dot(x, jnp.tril(jnp.ones((x.shape[-1],) * 2, x.dtype)), precision="highest")


# Logits


def outwards(steps: Array, centre: Array) -> Array:
    """Sums of `steps` `(c, m)` from the centre to before each place; negative towards the left."""
    after = jnp.arange(steps.shape[-1], dtype=jnp.int32)[None] >= centre[:, None]
    return sums_before(jnp.where(after, steps, 0)) - sums_from(jnp.where(after, 0, steps))


def _slopes(blocks: Blocks, places: Array) -> Array:
    """`(c, m)`: the slopes of rows at the blocks' first keys."""
    m, size = blocks.tilts.size, blocks.offsets.shape[-1]
    steps = places[:, None] - size * jnp.arange(m, dtype=jnp.int32)[None]
    return 2 * steps.astype(blocks.tilts.dtype) + blocks.tilts.reshape(1, -1)


def _levels(blocks: Blocks, slopes: Array, centre: Array) -> Array:
    """The logits at the blocks' first keys, less that at the centre: `(c, m)`."""
    return outwards(slopes * blocks.widths.reshape(1, -1) - blocks.drops.reshape(1, -1), centre)


def banded(blocks: Blocks, valid: Array, places: Array, reach: float) -> tuple[Band, Plan]:
    """The logits of rows `places` `(c, k)`, and the groups that hold weights from `exp(-reach)` of a row's largest up.

    A later row leans to the right, so the first group is that of a chunk's first row and the last that of its last.
    """
    low, high = places.min(-1), places.max(-1)
    origin = (low + high) // 2
    slopes = _slopes(blocks, origin)
    filled = valid.any(-1).reshape(1, -1)
    rough = lax.stop_gradient(_levels(blocks, slopes, jnp.zeros_like(origin)))
    centre = jnp.argmax(jnp.where(filled, rough, -jnp.inf), -1).astype(jnp.int32)
    levels = _levels(blocks, slopes, centre)
    distances = outwards(jnp.broadcast_to(blocks.widths.reshape(-1), slopes.shape), centre)
    lead = lambda row: (row - origin[..., None]).astype(levels.dtype)
    fixed = [lax.stop_gradient(x) for x in (levels, slopes, distances)]
    still = jax.tree.map(lax.stop_gradient, blocks)
    needed = lambda row: _needed(still, fixed[0], fixed[1], fixed[2], valid, lead(row[:, None]), reach)
    first = jnp.argmax(needed(low), -1).astype(jnp.int32)
    last = blocks.tilts.shape[0] - jnp.argmax(needed(high)[:, ::-1], -1).astype(jnp.int32)
    levels, slopes, distances = (x.reshape(-1, *blocks.tilts.shape) for x in (levels, slopes, distances))
    nowhere = float(jnp.finfo(levels.dtype).max) ** 0.5
    plan = Plan(lead(places), first, last, valid.reshape(valid.shape[0], -1))
    return Band(levels, slopes, distances, blocks.offsets, jnp.where(valid, blocks.bends, nowhere)), plan


def _needed(blocks: Blocks, levels, slopes, distances, valid: Array, lead: Array, reach: float) -> Array:
    """Which groups may hold such a weight, `(c, g)`: the largest logit of a block is bounded by its line."""
    filled = valid.any(-1).reshape(1, -1)
    widest = jnp.where(valid, blocks.offsets, 0).max(-1).reshape(1, -1)
    lowest = jnp.where(valid, blocks.bends, 0).min(-1).reshape(1, -1)
    at = levels + 2 * lead * distances
    rise = jnp.maximum((slopes + 2 * lead) * widest, 0) - lowest
    least = jnp.where(filled, at, -jnp.inf).max(-1, keepdims=True)
    slack = reach + 1e-4 * (jnp.abs(at) + jnp.abs(least))  # for rounding
    return (filled & (at + rise >= least - slack)).reshape(-1, *blocks.tilts.shape).any(-1)


def _product(a: Array, b: Array) -> Array:
    return jnp.dot(a, b, precision="highest")


def _logits(leads: Array, heads: tuple[Array, Array, Array], offsets: Array, bends: Array) -> Array:
    """Those of a chunk over a group, `(k, GROUP b)`."""
    level, slope, distance = heads
    line = level[:, None] + (slope[:, None] * offsets - bends)
    lean = 2 * (distance[:, None] + offsets)
    return _product(jnp.stack([jnp.ones_like(leads), leads], -1), jnp.stack([line.reshape(-1), lean.reshape(-1)]))


# Loops over the groups that a chunk needs: values only


def _swept(band: Band, plan: Plan, chunk_fn: Callable, rows: Array) -> Array:
    """`chunk_fn(sweep, rows)` for each chunk; `sweep(fn, zero)` folds `fn(state, logits, group)`."""
    band = jax.tree.map(lax.stop_gradient, band)

    def chunk(args):
        heads, leads, first, last, row = args

        def sweep(fn, zero):
            def body(g, state):
                head = jax.tree.map(lambda x: x[g], heads)
                return fn(state, _logits(leads, head, band.offsets[g], band.bends[g]), g)

            return lax.fori_loop(first, last, body, zero)

        return chunk_fn(sweep, row)

    heads = band.levels, band.slopes, band.distances
    return lax.map(chunk, (heads, plan.leads, plan.first, plan.last, rows))


def _log_sum(sweep: Callable, zero: Array) -> Array:
    def add(state, x, g):
        top, mass = state
        higher = jnp.maximum(top, x.max(-1))
        return higher, mass * jnp.exp(top - higher) + jnp.exp(x - higher[:, None]).sum(-1)

    least = zero - float(jnp.finfo(zero.dtype).max) / 2
    top, mass = sweep(add, (least, zero))
    return jnp.where(mass > 0, top + jnp.log(jnp.where(mass > 0, mass, 1)), 0)


def _root(power: int, sweep: Callable, zero: Array) -> Array:
    """The threshold by Newton's method, which climbs to it from below."""
    least = zero - float(jnp.finfo(zero.dtype).max) / 2
    top = sweep(lambda top, x, g: jnp.maximum(top, x.max(-1)), least)

    def sums(t):
        def add(state, x, g):
            gap = jnp.maximum(x - top[:, None] - t[:, None], 0)
            lower = gap ** (power - 1) if power > 1 else (gap > 0).astype(gap.dtype)
            return state[0] + (lower * gap).sum(-1), state[1] + lower.sum(-1)

        return sweep(add, (zero, zero))

    def climb(state):
        t, _, count = state
        mass, slope = sums(t)
        step = jnp.where(slope > 0, jnp.maximum(mass - 1, 0) / jnp.where(slope > 0, power * slope, 1), 0)
        return jnp.minimum(t + step, 0), (step > 2 * jnp.finfo(t.dtype).eps).any(), count + 1

    start = (zero - 1, zero.sum() == 0, jnp.int32(0))
    return top + lax.while_loop(lambda state: state[1] & (state[2] < 64), climb, start)[0]


# Sums over the band, with their derivatives


def _parts(band: Band, plan: Plan, of_chunk: Any, of_group: Any) -> Parts:
    heads = band.levels, band.slopes, band.distances
    return Parts((plan.leads, of_chunk), heads, (band.offsets, band.bends, of_group))


def _row_sums(weight: Callable, band: Band, columns: Array, levels: Array, plan: Plan) -> Array:
    """Sums over the keys of their weights times each of their columns `(g, GROUP b, r)`, `(c, k, r)`."""

    def tile(parts: Parts) -> Parts:
        (leads, level), heads, (offsets, bends, column) = parts
        return Parts(_product(weight(_logits(leads, heads, offsets, bends) - level[:, None]), column))

    return tile_sums(tile, _parts(band, plan, levels, columns), plan.first, plan.last).chunk


def column_sums(weight: Callable, band: Band, columns: Array, levels: Array, plan: Plan) -> Array:
    """Sums over the rows of their weights times each of their columns `(c, r, k)`, `(g, r, GROUP b)`."""

    def tile(parts: Parts) -> Parts:
        (leads, (level, column)), heads, (offsets, bends, _) = parts
        return Parts(group=_product(column, weight(_logits(leads, heads, offsets, bends) - level[:, None])))

    return tile_sums(tile, _parts(band, plan, (levels, columns), ()), plan.first, plan.last).group


# Thresholds and means


def _pushed(fn: Callable, primals: Any, tangents: Any) -> Array:
    return jax.jvp(fn, primals, tangents)[1]


def positive(x: Array) -> Array:
    return jnp.where(x > 0, x, 1)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def thresholds(kernel: Kernel, band: Band, plan: Plan) -> Array:
    """The threshold of each row, `(c, k)`: where its weights sum to 1."""
    find = _log_sum if kernel.power is None else partial(_root, kernel.power)
    return _swept(band, plan, find, 0 * plan.leads)


@thresholds.defjvp
def _thresholds_jvp(kernel, primals, tangents):
    (band, plan), (dband, _) = primals, tangents
    levels = thresholds(kernel, band, plan)
    one = jnp.ones_like(plan.valid, plan.leads.dtype)[..., None]
    sums = lambda fn: lambda band: _row_sums(fn, band, one, levels, plan)[..., 0]
    return levels, _pushed(sums(kernel.weight), (band,), (dband,)) / positive(sums(kernel.slope)(band))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def means(kernel: Kernel, band: Band, values: Array, levels: Array, plan: Plan) -> Array:
    """The weighted mean of values `(g, GROUP b)` of each row, `(c, k)`, under thresholds `levels`."""

    def mean(sweep, level):
        def add(state, x, g):
            weight = kernel.weight(x - level[:, None])
            return state + _product(weight, jnp.stack([jnp.ones_like(values[g]), values[g]], -1))

        sums = sweep(add, jnp.zeros((*level.shape, 2), level.dtype) * level[0])
        return sums[:, 1] / positive(sums[:, 0])

    return _swept(band, plan, mean, levels)


@means.defjvp
def _means_jvp(kernel, primals, tangents):
    band, values, levels, plan = primals
    mean = means(kernel, band, values, levels, plan)

    def excess(band, values, levels):
        """The sum of weights times what values are above the mean; the sum of the weights is 1."""
        sums = _row_sums(kernel.weight, band, jnp.stack([jnp.ones_like(values), values], -1), levels, plan)
        return sums[..., 1] - mean * sums[..., 0]

    if kernel.power is None:  # a change of the level scales all weights alike
        return mean, _pushed(lambda band, values: excess(band, values, levels), primals[:2], tangents[:2])
    return mean, _pushed(excess, primals[:3], tangents[:3])
