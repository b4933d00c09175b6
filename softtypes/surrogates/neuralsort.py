"""NeuralSort (Grover, Wang, Zweig, Ermon, 2019): project a sum of distances."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates import along, band, band_means, band_sums, leans, profiles, steps, tiles
from softtypes.surrogates.algorithm import Algorithm, Request, Row, mean_near, per_matrix, positions_along
from softtypes.surrogates.distances import Points, lacks
from softtypes.surrogates.modes import Mode
from softtypes.surrogates.ratio import Softness, ratio
from softtypes.surrogates.straight_through import straight_through

SMALL = 64  # up to this many entries matrices of distances and of weights are as quick, and compile sooner
CHUNK = 64  # rows of which tiles fit into a cache; but where there are many more keys, more, or heads would not be O(n)
FAINT = 8.0  # minus the logarithm of a column's weight from which on ranks look for it in more rows
FAR = 1024.0  # softnesses: neighbours farther apart than this don't see each other in any dtype


class NeuralSort(Algorithm):
    """Row k (from 1) of the weights projects `-((n + 1 - 2k) z_j + A_j)` over j, `A_j = sum_i abs(z_j - z_i)`."""

    def orders(self, n: int) -> bool:
        return n > SMALL

    def prepared(self, row: Row, softness: Softness, mode: Mode) -> Row:
        """With what depends on the row alone: the sums of distances, or the profile of its logits."""
        common = _profile if row.keys.shape[-1] > SMALL else _distances
        return row._replace(shared=common(row, softness, mode))

    def weights(self, row: Row, request: Request, softness: Softness, mode: Mode) -> Array:
        return _projected(mode.project, row, request, softness, mode)

    def log_weights(self, row: Row, request: Request, softness: Softness, mode: Mode) -> Array | None:
        return mode.log_project and _projected(mode.log_project, row, request, softness, mode)

    def expected(self, row: Row, request: Request, values: Array, softness: Softness, mode: Mode) -> Array:
        if request.kind != "sort" or _small(row):
            return super().expected(row, request, values, softness, mode)
        keys, values = _ascending(row, row.keys, values)
        banded = _in_bands(mode, _ordered(row, keys, softness, mode), values)
        means = _of_rows(_means(mode, banded), keys)
        return along.moved_down(means, means.shape[-1] - row.start)

    def ranks(self, row: Row, softness: Softness, mode: Mode) -> Array:
        """The columns of the weights, renormalised, average the ranks; an empty column leaves the exact rank."""
        if _small(row):
            return self._ranks_by_matrix(row, softness, mode)
        keys = _ascending(row, row.keys)[0]
        banded = _in_bands(mode, _ordered(row, keys, softness, mode))
        peaks, total, lean = (_of_rows(x, keys) for x in (banded.band.peaks, *_leans(mode, banded)))
        mean = 1 + peaks.astype(lean.dtype) + ratio(lean, jnp.where(total > 0, total, 1)) / 2
        ranks = jnp.where(total > 0, mean, 1 + positions_along(row).astype(mean.dtype))
        return along.moved_down(ranks, ranks.shape[-1] - row.start)

    def _ranks_by_matrix(self, row: Row, softness: Softness, mode: Mode) -> Array:
        places, exact = positions_along(row) * jnp.ones_like(row.order), positions_along(row) - row.start
        weights = self.weights(row, Request("sort", jnp.minimum(places, row.count - 1)), softness, mode)
        weights = jnp.where((places < row.count)[..., :, None], weights, 0)
        total = weights.sum(-2, keepdims=True)
        shares = jnp.swapaxes(weights / jnp.where(total > 0, total, 1), -1, -2)
        numbers, near = (1 + x.astype(weights.dtype) for x in (places, exact))
        return mean_near(shares, numbers[..., None, :], near)


def _small(row: Row) -> bool:
    return row.keys.shape[-1] <= SMALL or not row.keys.size


def _projected(project: Callable, row: Row, request: Request, softness: Softness, mode: Mode) -> Array:
    if not (isinstance(row.shared, profiles.Profile) or _few(row, request)):
        return project(_logits(row, request.positions, softness, mode), per_matrix(softness))
    profile = _profile(row, softness, mode) if row.shared is None else row.shared
    logits = profiles.logits(profile, request.positions)
    return project(jnp.where(row.counted[..., None, :], logits, -jnp.inf), 1.0)


def _few(row: Row, request: Request) -> bool:
    """Whether few rows of many are asked for: each alone takes longer than a row of the matrix."""
    n = row.keys.shape[-1]
    return request.kind != "sort" and n > max(SMALL, 8 * request.positions.shape[-1])


class Distances(NamedTuple):
    """The sums of distances `A_j`, of which the derivatives are used, and what logits are made of, in two parts: few
    digits, whose sums and products are exact, and the rest. Differences of sums alone would have few digits left."""

    sums: Array  # (..., n)
    keys: tuple[Array, Array]  # (..., n) each
    parts: tuple[Array, Array]  # (..., n) each, of the sums


def _distances(row: Row, softness: Softness, mode: Mode) -> Distances:
    """Over the entries that count."""
    gaps = _between(row.keys)
    distances = steps.absolute(gaps, per_matrix(softness), mode.step)
    total = lambda x: jnp.where(row.counted[..., None, :], x, 0).sum(-1)
    few, rest = keys = _split(lax.stop_gradient(row.keys))
    lack = jnp.abs(gaps) - distances
    rests = jnp.sign(gaps) * _between(rest) - lack
    parts = total(jnp.abs(_between(few))), total(lax.stop_gradient(rests))
    return Distances(total(distances), keys, parts)


def _between(x: Array) -> Array:
    return x[..., :, None] - x[..., None, :]


def _split(x: Array) -> tuple[Array, Array]:
    """Multiples of a power of two, so large that sums of n distances and n times a key are exact, and the rest."""
    large = 6.0 * max(x.shape[-1], 1) * along.largest_magnitude(x)
    few = (x + large) - large
    return few, x - few


def _logits(row: Row, positions: Array, softness: Softness, mode: Mode) -> Array:
    distances = _distances(row, softness, mode) if row.shared is None else row.shared
    slope = (row.count - 1 - 2 * positions).astype(row.keys.dtype)[..., :, None]
    counted = row.counted[..., None, :]
    line = lambda keys, sums: -(slope * keys[..., None, :] + sums[..., None, :])
    few, rest = map(line, distances.keys, distances.parts)
    top = jnp.where(counted, few, -jnp.inf).max(-1, keepdims=True)
    logits = straight_through((few - jnp.where(jnp.isfinite(top), top, 0)) + rest, line(row.keys, distances.sums))
    return jnp.where(counted, logits, -jnp.inf)


# Many entries: no matrix


class Ordered(NamedTuple):
    """Keys in ascending order, those that count first, in units of the softness."""

    places: Array  # (..., n), the keys, but not their change with the softness
    bends: Array  # (..., n), what changes the logits as keys do, in the row of a key's own place
    gaps: Array  # (..., n), from each to the next; not to be differentiated, as the rest
    rises: Array  # (..., n), of what soft distances lack of hard ones
    count: Array  # (..., 1)
    scale: Array | None  # (..., 1), minus the logarithm of the softness, if that is no constant


def _ascending(row: Row, *arrays: Array) -> list[Array]:
    """Arrays of a row in order from the first entry that counts, the last of them repeated."""
    counted, last = positions_along(row) < row.count, row.start + jnp.maximum(row.count - 1, 0)
    at_last = lambda x: lax.stop_gradient(jnp.take_along_axis(x, last, -1, mode="clip"))
    return [jnp.where(counted, along.moved_down(x, row.start), at_last(x)) for x in arrays]


def _ordered(row: Row, keys: Array, softness: Softness, mode: Mode) -> Ordered:
    """Logits change by `(2 p + 1 - n) du_j - dA_j`, and by a constant of the row, which its weights don't see."""
    counted = (positions_along(row) < row.count).astype(keys.dtype)
    unit = jnp.asarray(softness, keys.dtype)
    visible = jnp.abs(keys) < unit * float(jnp.finfo(keys.dtype).max) * 1e-7  # or else they overflow
    scaled = _scaled(jnp.where(visible, keys, 0), unit)
    scale = None if isinstance(softness, float | int) else -_logarithm(unit) * jnp.ones_like(keys[..., :1])
    gaps = _gaps(keys, unit, FAR)
    sums, rises = lacks(keys, Points(gaps, scaled, scale), counted, unit, mode)
    gaps, rises = along.held(lax.stop_gradient((gaps, rises)))
    bends = (sums if scale is None else _fixed(sums, scale)) + 2 * jnp.cumsum(scaled, -1) - scaled
    return Ordered(scaled, bends, gaps, rises, row.count, scale)


def _gaps(keys: Array, unit: Array, far: float) -> Array:
    """From each key to the next in softnesses, cut where they are far."""
    gap = jnp.diff(keys, append=keys[..., -1:], axis=-1)
    near = gap < far * unit
    return jnp.where(near, ratio(jnp.where(near, gap, 0), unit), far)


@jax.custom_jvp
def _scaled(keys: Array, unit: Array) -> Array:
    """`keys / unit`, without its change with the unit: that is left to the scale."""
    return keys / unit


@_scaled.defjvp
def _scaled_jvp(primals, tangents):
    return _scaled(*primals), ratio(tangents[0], primals[1])


@jax.custom_jvp
def _fixed(sums: Array, scale: Array) -> Array:
    """The sums, with their change relative to those that the scale would scale."""
    return sums


@_fixed.defjvp
def _fixed_jvp(primals, tangents):
    return _fixed(*primals), tangents[0] - primals[0] * tangents[1]


def _logarithm(unit: Array) -> Array:
    """Its derivative alone is used: of no softness none."""
    return jnp.log(jnp.where(unit > 0, unit, 1))


def _profile(row: Row, softness: Softness, mode: Mode) -> profiles.Profile:
    """For few rows, asked of entries in any order; logarithms of their weights show far neighbours, too."""
    keys = row.statistics(jnp.minimum(positions_along(row), jnp.maximum(row.count - 1, 0)))
    ordered = _ordered(row, keys, softness, mode)
    index = along.inverse(row.order) - row.start
    places, bends = (jnp.take_along_axis(x, index, -1, mode="clip") for x in (ordered.places, ordered.bends))
    gaps = _gaps(keys, jnp.asarray(softness, keys.dtype), float(jnp.finfo(keys.dtype).max) ** 0.4)
    return profiles.Profile(places, bends, index, lax.stop_gradient(gaps), ordered.rises, ordered.scale)


class Banded(NamedTuple):
    """What the weights of a row are made of; or of a batch, in chunks and groups of them all."""

    band: tiles.Band
    beyond: list[tiles.Ends]  # of wider bands
    fields: band_sums.Fields
    rows: Array  # (c, k), 1 for those that there are
    there: Array  # (g, GROUP b), whether there is such a key
    averaged: list[Array]  # values in the order of the keys, (g, GROUP b), and the one of each row, (c, k); or none


def _in_bands(mode: Mode, ordered: Ordered, values: Array | None = None) -> Banded:
    """`_banded` of each row of a batch, with the bands as one: its chunks and groups are those of all rows."""
    prepare, batch = partial(_banded, mode), ordered.places.shape[:-1]
    rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[len(batch) :]), (ordered, values))
    if math.prod(batch) == 1:
        return prepare(*jax.tree.map(lambda x: x[0], rows))
    many = jax.vmap(prepare)(*rows)
    chunks = many.band.chunks
    base = many.band.peaks.shape[1] * lax.broadcasted_iota(jnp.int32, chunks.base.shape, 0)
    many = many._replace(band=many.band._replace(chunks=chunks._replace(base=base)))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), many)


def _of_rows(x: Array, keys: Array) -> Array:
    """From those of all groups, or chunks, those of each row, `(..., n)`."""
    return x.reshape(*keys.shape[:-1], -1)[..., : keys.shape[-1]]


def _banded(mode: Mode, keys: Ordered, values: Array | None) -> Banded:
    """The band of a row, to average values; or without them, to average ranks, of the whole of it, and also a wider
    one, where there is no end to weights."""
    whole = values is None
    n, dtype, count = keys.places.shape[0], keys.places.dtype, keys.count.reshape(())
    block = band.shape_of(n)[1]
    size = min(2 * block, max(CHUNK, block // 2), n)
    places = jnp.arange(-(-n // size) * size, dtype=jnp.int32).reshape(-1, size)
    least = 4 - math.log(float(jnp.finfo(dtype).eps))  # as a logarithm; smaller ones are lost in rounding
    reaches = [FAINT + least, -0.7 * math.log(float(jnp.finfo(dtype).tiny))] if whole else [least]
    reaches = [1.0] if mode.step.reach else reaches  # below its largest logit by 1 a sparse row has no weights
    existing = jnp.minimum(places, jnp.maximum(count - 1, 0))
    out, *wider = band.banded(keys.gaps, keys.rises, count, existing, *reaches, whole=whole)
    own = tiles.flat(out, jnp.arange(n, dtype=jnp.int32))
    scaled = tiles.flat(out, keys.places)
    bends = 2 * (out.peaks - own).astype(scaled.dtype) * scaled + tiles.flat(out, keys.bends)
    scale = None if keys.scale is None else jnp.broadcast_to(keys.scale, (out.peaks.shape[0], 1))
    fields, rows = band_sums.Fields(scaled, bends, scale), (places < count).astype(dtype)
    there = jnp.arange(out.peaks.size, dtype=jnp.int32).reshape(out.peaks.shape) < count
    by_row = lambda x: jnp.pad(x, (0, places.size - n)).reshape(places.shape)
    averaged = [] if values is None else [tiles.flat(out, values), by_row(values)]
    return Banded(out, [other.chunks.ends for other in wider], fields, rows, there, averaged)


def _means(mode: Mode, banded: Banded) -> Array:
    return band_means.means(band_sums.POWERS[mode.name], banded.band, banded.fields, *banded.averaged)


def _leans(mode: Mode, banded: Banded) -> tuple[Array, Array]:
    """The sums of the columns, and those of their leans, of which half of the mean counts from the peak row."""
    sums = (_sums if banded.fields.scale is None else _sums_in_steps)(band_sums.POWERS[mode.name], banded)
    return sums[:, 0], sums[:, 1]


def _sums_in_steps(power: int, banded: Banded) -> Array:
    scaled, level = _scaled_up(power, banded)
    return leans.sums(power, scaled.band, banded.fields, level, banded.rows)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _sums(power: int, banded: Banded) -> Array:
    """With a derivative of all steps at once, for a softness that is a constant."""
    return _sums_in_steps(power, banded)


@_sums.defjvp
def _sums_jvp(power, primals, tangents):
    (banded,), moved = primals, tangents[0].fields
    scaled, level = _scaled_up(power, banded)
    args = banded.fields, level, banded.rows
    change = leans.change(power, scaled, *args, jnp.stack([moved.bends, moved.places], 1))
    return leans.sums(power, scaled.band, *args), change


def _scaled_up(power: int, banded: Banded) -> tuple[leans.Scaled, Array]:
    """The band, its columns that hardly weigh anything scaled up, and the thresholds of the rows."""
    lifted, level = band_means.thresholds(power, banded.band, banded.fields)
    scaled = leans.Scaled(lifted, jnp.ones_like(banded.fields.places))
    for ends in banded.beyond:
        scaled = _with_faint_columns(lifted, lifted.ending(ends), banded.there, level)
    return scaled, level


def _with_faint_columns(out: tiles.Band, wide: tiles.Band, there: Array, level: Array) -> leans.Scaled:
    """Groups with columns that may weigh less than `exp(-FAINT)`, such as those of outliers, are looked at in all rows
    of the wide band, and their columns are scaled up."""
    level = lax.stop_gradient(level)
    faint = (there & ~(band.own_weights(out, level) > -FAINT)).any(-1)
    near, far = out.chunks.ends, band.meeting(wide, faint)
    tops = band_means.column_tops(out.ending(far), level)
    scaled = faint[:, None] & (tops > -(float(jnp.finfo(level.dtype).max) ** 0.2))
    tops = jnp.where(scaled, tops, 0)
    ends = tiles.Ends(jnp.minimum(near.first, far.first), jnp.maximum(near.after, far.after))
    bends = out.bends.at[:, 1].add(tops)
    return leans.Scaled(out._replace(bends=bends).ending(ends), jnp.exp(tops))
