"""Sums over the rows and over the columns of banded weights, with their derivatives.

A change of keys changes the logits of row p by `lean du_j + dk_j`, with the lean `2 (p - r)` from the row r that is
nearest to where the key's block has its peak, and fields u and k that only their derivatives are used of. So the
derivatives of sums over tiles are sums over tiles, of weights' slopes times powers of the lean.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from softtypes.surrogates import platform, tiles
from softtypes.surrogates.adjoint import linear
from softtypes.surrogates.tiles import Band


class Fields(NamedTuple):
    """What the logits' derivatives are made of: a change of the logarithm of the scale changes them by themselves."""

    places: Array  # (g, GROUP b)
    bends: Array  # (g, GROUP b)
    scale: Array | None  # (g, 1); None if it is not differentiated


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


def weight(power: int, kind: Kind, x: Array) -> Array:
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
        weights = weight(power, kind, logits) * (lean**kind.lean if kind.lean else 1)
        sums = product(weights, jnp.concatenate([other[:, i * width : (i + 1) * width] for i in here], -1))
        out |= dict(zip(here, jnp.split(sums, len(here), axis), strict=True))
    return jnp.concatenate([out[i] for i in range(len(kinds))], axis)


def _row_sums(power: int, kinds: Kinds, band: Band, level: Array, columns: Array) -> Array:
    def of_chunk(args):
        chunk, level = args

        def add(g, sums):
            logits, middle = tiles.logits_of(band, chunk, g)
            above, lean, column = logits - level[:, None], chunk.leads[:, None] + middle, tiles.at(g, columns)
            return sums + _weighted(power, kinds, above, lean, tiles.dot_narrow, column, 1)

        return tiles.over_groups(chunk, add, platform.nothing((len(level), columns.shape[-1]), level, columns))

    return platform.each(of_chunk, (band.chunks, level), tiles.entries(band))


def _column_sums(power: int, kinds: Kinds, band: Band, level: Array, rows: Array) -> Array:
    """The sums are kept transposed: the product with the transposed weights takes six times as long."""
    product = lambda weights, row: tiles.dot_few(row.T, weights)

    def of_tile(g, chunk, level, row):
        logits, middle = tiles.logits_of(band, chunk, g)
        return _weighted(power, kinds, logits - level[:, None], chunk.leads[:, None] + middle, product, row, 0)

    groups, keys = band.peaks.shape
    zeros = platform.nothing((groups, rows.shape[-1], keys), level, rows)
    return jnp.swapaxes(tiles.over_columns(band, "add", zeros, of_tile, level, rows), 1, 2)


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
    return sums, moved(power, kinds, band, fields, level, columns, dfields, dcolumns) - slopes * dlevel[..., None]


def _moving(kinds: Kinds, fields: Fields) -> tuple[Kinds, list[Array]]:
    """The kinds that fields move, and the fields: `x f' = (x f)' - f`, of which the last is left to the caller."""
    moves = [(1, 0), (0, 0), (0, 1)][: 2 if fields.scale is None else 3]
    every = tuple(kind.slope(*move) for move in moves for kind in kinds)
    return every, [fields.places, fields.bends, *([] if fields.scale is None else [fields.scale])]


def _times_order(kinds: Kinds, x: Array) -> Array:
    """By one more than the order of each kind's share."""
    orders = np.repeat([1.0 + kind.order for kind in kinds], x.shape[-1] // len(kinds))
    return x * orders.astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))


def moved(power: int, kinds: Kinds, band, fields, level, columns, dfields: Fields, dcolumns: Array) -> Array:
    """The change of row sums with keys and columns, at fixed thresholds."""
    every, moving = _moving(kinds, dfields)
    if dfields.scale is not None:
        dcolumns = dcolumns - dfields.scale[..., None] * _times_order(kinds, columns)
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
    return sums, change if dfields.scale is None else change - dfields.scale[..., None] * _times_order(kinds, sums)
