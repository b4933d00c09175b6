"""Thresholds of banded weights, and means of values under them, with a derivative of their own.

With the weights `k(x_pj - t_p)` of logits x above thresholds t, where those of a row p add up to 1, a mean is that of
distances from a number r_p, which is near,

    m_p = r_p + sum_j k_pj (v_j - r_p),

and changes with values and logits by

    dm_p = sum_j k_pj dv_j + sum_j k'_pj (v_j - c_p) dx_pj,   c_p = sum_j k'_pj v_j / sum_j k'_pj,

which scales a row's weights, or takes from each in proportion to its slope. The distances from c_p are made in the
tiles: of sums with v_j less those with c_p single precision would keep few digits.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates import along, platform, tiles
from softtypes.surrogates.adjoint import derived, linear
from softtypes.surrogates.band_sums import Fields, Kind, column_sums, moved, row_sums, weight
from softtypes.surrogates.tiles import Band, Chunks


class Values(NamedTuple):
    """Whose means are wanted, and what these are near: no derivative is taken of the latter."""

    values: Array  # (g, GROUP b)
    near: Array  # (c, k)


# Thresholds


def thresholds(power: int, band: Band, fields: Fields) -> tuple[Band, Array]:
    """Of the rows, `(c, k)`, for the band with their logits lifted."""
    solve = lambda chunk: _solved(power, band, chunk, None)[:2]
    lifts, level = platform.each(solve, band.chunks, tiles.entries(band))
    band = band.lifted(lifts)
    return band, _level(power, band, fields, level)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _level(power: int, band: Band, fields: Fields, level: Array) -> Array:
    """The thresholds that were found, to be differentiated."""
    return level


@_level.defjvp
def _level_jvp(power, primals, tangents):
    band, fields, level = primals
    level, ones = _level(power, *primals), jnp.ones((*band.peaks.shape, 1), level.dtype)
    change = moved(power, (Kind(),), band, fields, level, ones, tangents[1], jnp.zeros_like(ones))[..., 0]
    return level, change / row_sums(power, (Kind(order=1),), band, fields, level, ones)[..., 0] if power else change


def _solved(power: int, band: Band, chunk: Chunks, apart: Callable | None) -> tuple[Array, Array, Array]:
    """The lifts of a chunk's rows, and their thresholds; and, `(k, r)`, the sums of their weights, of these times
    distances, which `apart(g)` makes, and those of slopes, if they are others than the weights.

    A lift is the largest logit, but for its rounding. Counted from there, the two parts of a logit make one of which no
    digit is lost.
    """

    def sweep(chunk: Chunks, step: Callable, start):
        return tiles.over_groups(chunk, lambda g, state: step(g, state, tiles.logits_of(band, chunk, g)[0]), start)

    def sums(g: Array, *weights: Array) -> Array:
        if apart is None:
            return _over_keys(weights[0])[:, None]
        return jnp.stack([_over_keys(x) for w in weights for x in (w, w * apart(g))], -1)

    shape = len(chunk.leads), 1 if apart is None else 4 if power else 2
    none = platform.nothing(shape, chunk.leads, chunk.heads)
    top = sweep(chunk, lambda _, top, logits: jnp.maximum(top, logits.max(-1)), _lowest(none[:, 0]))
    lifts = jnp.where(top > _lowest(top), top, 0)
    lifted = partial(sweep, chunk._replace(lifts=lifts))
    slack = 8 * float(jnp.finfo(top.dtype).eps) * jnp.abs(lifts)
    return lifts, *(partial(_root, power, slack) if power else _log_sum)(lifted, sums, none)


def _over_keys(terms: Array) -> Array:
    """Their sums, as a product: a CPU takes longer over sums in order."""
    return tiles.dot(terms, jnp.ones_like(terms[0]))


def _lowest(like: Array) -> Array:
    return jnp.zeros_like(like) - float(jnp.finfo(like.dtype).max) / 2


def _log_sum(sweep: Callable, sums_of: Callable, none: Array) -> tuple[Array, Array]:
    sums = sweep(lambda g, sums, logits: sums + sums_of(g, jnp.exp(logits)), none)
    return jnp.log(jnp.where(sums[:, 0] > 0, sums[:, 0], 1)), sums


def _root(power: int, slack: Array, sweep: Callable, sums_of: Callable, none: Array) -> tuple[Array, Array]:
    """The root t of `sum max(x - t, 0)^power = 1`: the p-norm is convex and falls, Newton's method climbs to it. The
    largest x is 0 but for some slack."""

    def climb(state):
        t, _, count = state

        def add(_, sums, logits):
            above = jnp.maximum(logits - t[:, None], 0)
            lower = above ** (power - 1) if power > 1 else (above > 0).astype(above.dtype)
            return sums + jnp.stack([_over_keys(lower * above), _over_keys(lower)])

        total, slope = sweep(add, jnp.stack([none[:, 0]] * 2))
        step = jnp.maximum(total - total ** (1 - 1 / power), 0) / jnp.where(slope > 0, slope, 1)
        return jnp.minimum(t + step, slack), (step > 4 * jnp.finfo(t.dtype).eps).any(), count + 1

    start = none[:, 0] - 1 - slack, (none[:, 0] == 0).any(), jnp.int32(0)
    level = lax.while_loop(lambda state: state[1] & (state[2] < 64), climb, start)[0]

    def weigh(g, sums, logits):
        above = logits - level[:, None]
        return sums + sums_of(g, weight(power, Kind(), above), weight(power, Kind(order=1), above))

    return level, sweep(weigh, none)


def column_tops(band: Band, level: Array) -> Array:
    """The largest logit above the threshold in each column, `(g, GROUP b)`."""

    lowest = jnp.broadcast_to(_lowest(level[0, 0]), band.peaks.shape)

    def highest(g, chunk, level):
        logits = along.held(tiles.logits_of(band, chunk, g)[0])  # joined with its maximum it is slow
        return (logits - level[:, None]).max(0)

    return tiles.over_columns(band, "max", lowest, highest, level)


# Means


def means(power: int, band: Band, fields: Fields, values: Array, near: Array) -> Array:
    """The means of values `(g, GROUP b)` over the rows, near the numbers `(c, k)`, of which no derivative is taken."""
    halves = Values(values / 2, lax.stop_gradient(near / 2))  # data may span more than the dtype holds
    return lax.stop_gradient(near) + 2 * _distances(power, band, fields, halves).mean


class Found(NamedTuple):
    """The means of distances; and, with no derivative of their own, lifts, thresholds, and the means by slopes."""

    mean: Array  # (c, k), as all of them
    lifts: Array
    level: Array
    centre: Array


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _distances(power: int, band: Band, fields: Fields, x: Values) -> Found:
    def of_chunk(args):
        chunk, near = args
        lifts, level, sums = _solved(power, band, chunk, lambda g: tiles.at(g, x.values)[None] - near[:, None])
        return Found(_mean(sums[:, :2]), lifts, level, _mean(sums[:, -2:]))

    return platform.each(of_chunk, (band.chunks, x.near), tiles.entries(band))


@_distances.defjvp
def _distances_jvp(power, primals, tangents):
    band, fields, x = primals
    _, dfields, dx = tangents
    found = _distances(power, band, fields, x)
    band = band.lifted(found.lifts)
    level = _level(power, band, fields, found.level)
    centre = _centre(power, band, fields, level, x, found.centre) if power else found.mean
    args = band, fields, level, x, centre
    push, pull = (lambda y, fn=fn: fn(power, *args, y) for fn in (_pushed, _pulled))
    none = jnp.zeros_like(level)
    return found, Found(linear(push, pull, Moved(dx.values, dfields), none), none, none, none)


def _mean(sums: Array) -> Array:
    return sums[..., 1] / jnp.where(sums[..., 0] > 0, sums[..., 0], 1)


class Moved(NamedTuple):
    """A change of values and of fields."""

    values: Array
    fields: Fields


def _terms(power: int, band: Band, chunk: Chunks, g: Array, level: Array, centre: Sequence[Array], values: Array):
    """Of a tile: weights, slopes times distances from the centre, logits above the threshold, the middle leans."""
    logits, middle = tiles.logits_of(band, chunk, g)
    above = logits - level[:, None]
    weights = weight(power, Kind(), above)
    slopes = weight(power, Kind(order=1), above) if power else weights
    return weights, slopes * (tiles.at(g, values)[None] - centre[0][:, None] - centre[1][:, None]), above, middle


# The change of means, by sums whose derivatives have derivatives


def _centre_by_sums(power: int, band: Band, fields: Fields, level: Array, x: Values, _: Array) -> Array:
    columns = jnp.stack([jnp.ones_like(x.values), x.values], -1)
    return _mean(row_sums(power, (Kind(order=1),), band, fields, level, columns)) - x.near


def _kinds(fields: Fields) -> tuple[Kind, ...]:
    """Of values, bends and places; and of the scale, `x k' = (x k)' - k`."""
    scaled = () if fields.scale is None else (Kind(order=1, logit=1), Kind())
    return Kind(), Kind(order=1), Kind(order=1, lean=1), *scaled


def _pushed_by_sums(power: int, band: Band, fields: Fields, level: Array, x: Values, centre: Array, y: Moved) -> Array:
    kinds, scale = _kinds(fields), y.fields.scale
    moving = [y.fields.bends, y.fields.places, *([] if scale is None else [scale, -scale])]
    by_values = [column for field in moving for column in (field * x.values, jnp.broadcast_to(field, x.values.shape))]
    columns = jnp.stack([y.values, jnp.zeros_like(y.values), *by_values], -1)
    sums = row_sums(power, kinds, band, fields, level, columns).reshape(*level.shape, len(kinds), 2)
    return (sums[..., 0] - (x.near + centre)[..., None] * sums[..., 1]).sum(-1)


def _pulled_by_sums(power: int, band: Band, fields: Fields, level: Array, x: Values, centre: Array, y: Array) -> Moved:
    kinds = _kinds(fields)
    rows = jnp.stack([y, y * (x.near + centre)] * len(kinds), -1)
    sums = column_sums(power, kinds, band, fields, level, rows).reshape(*x.values.shape, len(kinds), 2)
    _, bends, places, *scaled = jnp.moveaxis(x.values[..., None] * sums[..., 0] - sums[..., 1], -1, 0)
    scale = (scaled[0] - scaled[1]).sum(-1, keepdims=True) if scaled else None
    return Moved(sums[..., 0, 0], Fields(places, bends, scale))


# The same in one pass


@derived(_centre_by_sums)
def _centre(power: int, band: Band, fields: Fields, level: Array, x: Values, centre: Array) -> Array:
    """The means by slopes that were found."""
    return centre


@derived(_pushed_by_sums)
def _pushed(power: int, band: Band, fields: Fields, level: Array, x: Values, centre: Array, y: Moved) -> Array:
    """The change of the means, `(c, k)`, of which the centres are known."""

    def of_chunk(args):
        chunk, level, *centre = args

        def add(g, sums):
            weights, apart, above, middle = _terms(power, band, chunk, g, level, centre, x.values)
            values, (places, bends, scale) = jax.tree.map(partial(tiles.at, g), y)
            near = tiles.dot(weights, values) + tiles.dot(apart, bends + middle[0] * places)
            near = near if scale is None else near + _over_keys(apart * above) * scale
            return sums + jnp.stack([near, tiles.dot(apart, places)])

        near, leaning = tiles.over_groups(chunk, add, platform.nothing((2, len(level)), level, y.values))
        return near + chunk.leads * leaning

    return platform.each(of_chunk, (band.chunks, level, x.near, centre), tiles.entries(band))


@derived(_pulled_by_sums)
def _pulled(power: int, band: Band, fields: Fields, level: Array, x: Values, centre: Array, y: Array) -> Moved:
    """Its transpose, of `(c, k)`."""

    def of_tile(g, chunk, level, near, centre, y):
        weights, apart, above, middle = _terms(power, band, chunk, g, level, (near, centre), x.values)
        scaled = [] if fields.scale is None else [tiles.dot(y, apart * above)]
        return jnp.stack([tiles.dot(y, weights), *tiles.down(chunk, middle, y, apart), *scaled])

    groups, keys = band.peaks.shape
    none = platform.nothing((groups, 3 if fields.scale is None else 4, keys), y, level, x.values)
    sums = tiles.over_columns(band, "add", none, of_tile, level, x.near, centre, y)
    scale = None if fields.scale is None else sums[:, 3].sum(-1, keepdims=True)
    return Moved(sums[:, 0], Fields(sums[:, 2], sums[:, 1], scale))
