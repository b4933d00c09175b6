"""Sums of the columns of banded weights, and of their leans, with a derivative of their own.

With the weights `k(x_pj - t_p)` of logits x above thresholds t, where those of a row p add up to 1, the sums

    y_aj = sum_p L_pj^a k(x_pj - t_p),   a = 0 and 1,   L the lean,

change with fields b and u, of which `dx_pj = db_j + L_pj du_j`, by

    dy_aj = sum_p L_pj^a k'_pj (dx_pj - m_p),   m_p = sum_j k'_pj dx_pj / sum_j k'_pj.

From b to y_0 and from u to y_1 this is symmetric: its transpose is the same two passes over the tiles of each chunk.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from softtypes.surrogates import platform, tiles
from softtypes.surrogates.adjoint import derived, linear
from softtypes.surrogates.band_sums import Fields, Kind, column_sums, row_sums, weight
from softtypes.surrogates.tiles import Band, Chunks


class Scaled(NamedTuple):
    """A band with the weights of its columns scaled up, and the factors that bring them back."""

    band: Band
    shares: Array  # (g, GROUP b)


def _sums(power: int, band: Band, fields: Fields, level: Array, rows: Array) -> Array:
    """By sums whose derivatives have derivatives."""
    kinds = Kind(), Kind(lean=1)
    return jnp.swapaxes(column_sums(power, kinds, band, fields, level, jnp.stack([rows, rows], -1)), 1, 2)


@derived(_sums)
def sums(power: int, band: Band, fields: Fields, level: Array, rows: Array) -> Array:
    """y over rows `(c, k)`, 1 or 0, at fixed thresholds: `(g, 2, GROUP b)`."""

    def of_tile(g: Array, chunk: Chunks, level: Array, rows: Array) -> Array:
        logits, middle = tiles.logits_of(band, chunk, g)
        return tiles.down(chunk, middle, rows, weight(power, Kind(), logits - level[:, None]))

    groups, keys = band.peaks.shape
    return tiles.over_columns(band, "add", platform.nothing((groups, 2, keys), level, rows), of_tile, level, rows)


def change(power: int, scaled: Scaled, fields: Fields, level: Array, rows: Array, dfields: Array) -> Array:
    """The change of `sums` with that of the fields b and u, `(g, 2, GROUP b)`."""
    plain = jnp.ones_like(scaled.shares)
    there, back = (scaled.shares, plain), (plain, scaled.shares)
    push, pull = (lambda x, s=s: centred(power, scaled.band, fields, level, rows, s, x) for s in (there, back))
    return linear(push, pull, dfields, jnp.zeros_like(dfields))


def _slope(power: int, logits: Array, level: Array) -> Array:
    return weight(power, Kind(order=1), logits - level[:, None])


def _mean(total: Array, mass: Array) -> Array:
    """The mass is that of the slopes, `(..., 1)`; exponentials are their own slopes, and add up to 1, `(..., 0)`."""
    return total / jnp.where(mass[..., 0] > 0, mass[..., 0], 1) if mass.shape[-1] else total


def _centred(power: int, band: Band, fields: Fields, level: Array, rows: Array, shares: tuple, x: Array) -> Array:
    """By sums whose derivatives have derivatives."""
    b, u = x[:, 0], x[:, 1]
    slopes = tuple(Kind(order=1, lean=lean) for lean in range(3))
    columns = [shares[0] * b, shares[0] * u, *([jnp.ones_like(u)] if power else [])]
    kinds = (slopes[0], slopes[1], slopes[0])[: len(columns)]
    sums = row_sums(power, kinds, band, fields, level, jnp.stack(columns, -1))
    mean = rows * _mean(sums[..., 0] + sums[..., 1], sums[..., 2:])
    sums = column_sums(power, slopes + slopes[:2], band, fields, level, jnp.stack([rows] * 3 + [mean] * 2, -1))
    moved = lambda a: sums[..., a] * b + sums[..., a + 1] * u - shares[1] * sums[..., 3 + a]
    return jnp.stack([moved(0), moved(1)], 1)


@derived(_centred)
def centred(power: int, band: Band, fields: Fields, level: Array, rows: Array, shares: tuple, x: Array) -> Array:
    """The change at fixed shares, `(g, GROUP b)`, of a column in the means m, and of the means in a column."""

    def with_mean(chunk: Chunks, level: Array, rows: Array) -> tuple[Array, Array, Array]:
        def add(g: Array, sums: Array) -> Array:
            logits, middle = tiles.logits_of(band, chunk, g)
            b, u = tiles.at(g, x) * tiles.at(g, shares[0])[None]
            columns = [b + middle[0] * u, u, *([jnp.ones_like(u)] if power else [])]
            return sums + tiles.dot_narrow(_slope(power, logits, level), jnp.stack(columns, -1))

        sums = tiles.over_groups(chunk, add, platform.nothing((len(level), 3 if power else 2), level, x))
        return level, rows, _mean(sums[:, 0] + chunk.leads * sums[:, 1], sums[:, 2:])

    def of_tile(g: Array, chunk: Chunks, level: Array, rows: Array, mean: Array) -> Array:
        logits, middle = tiles.logits_of(band, chunk, g)
        b, u = tiles.at(g, x)
        moved = (b + middle[0] * u)[None] + chunk.leads[:, None] * u[None]
        moved = moved - mean[:, None] * tiles.at(g, shares[1])[None]
        return tiles.down(chunk, middle, rows, _slope(power, logits, level) * moved)

    return tiles.over_columns(band, "add", platform.nothing(x.shape, level, x), of_tile, level, rows, prepare=with_mean)
