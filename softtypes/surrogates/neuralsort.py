"""NeuralSort (Grover, Wang, Zweig, Ermon, 2019): project a sum of distances."""

import math
from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates import band, steps
from softtypes.surrogates.algorithm import Algorithm, Request, Row, per_matrix, positions_along
from softtypes.surrogates.distances import blocks_of
from softtypes.surrogates.modes import Mode
from softtypes.surrogates.ratio import Softness

SMALL = 256  # up to this many entries the matrix of weights is as quick, and compiles sooner


class NeuralSort(Algorithm):
    """Row k (from 1) of the weights projects `-((n + 1 - 2k) z_j + A_j)` over j, `A_j = sum_i abs(z_j - z_i)`."""

    def weights(self, row: Row, request: Request, softness: Softness, mode: Mode) -> Array:
        return mode.project(_logits(row, request.positions, softness, mode), per_matrix(softness))

    def log_weights(self, row: Row, request: Request, softness: Softness, mode: Mode) -> Array | None:
        project: Callable | None = mode.log_project
        return project and project(_logits(row, request.positions, softness, mode), per_matrix(softness))

    def expected(self, row: Row, request: Request, values: Array, softness: Softness, mode: Mode) -> Array:
        if row.keys.shape[-1] <= SMALL:
            return super().expected(row, request, values, softness, mode)
        keys, counted, values = _ascending(row, request.kind, row.keys, values)
        return _by_row(partial(_means, mode), keys, counted, values, request.positions, softness=softness)

    def ranks(self, row: Row, softness: Softness, mode: Mode) -> Array:
        """The columns of the weights, renormalised, average the ranks; an empty column leaves the exact rank."""
        inverse = jnp.argsort(row.order, -1).astype(row.start.dtype)
        if row.keys.shape[-1] <= SMALL:
            return self._ranks_by_matrix(row, softness, mode, inverse)
        keys, counted = _ascending(row, "rank", row.keys)
        ranks = _by_row(partial(_ranks, mode), keys, counted, softness=softness)
        return jnp.take_along_axis(ranks, (inverse - row.start) % keys.shape[-1], -1)

    def _ranks_by_matrix(self, row: Row, softness: Softness, mode: Mode, inverse: Array) -> Array:
        places = positions_along(row) * jnp.ones_like(row.order)
        weights = self.weights(row, Request("sort", jnp.minimum(places, row.count - 1)), softness, mode)
        weights = jnp.where((places < row.count)[..., :, None], weights, 0)
        total = weights.sum(-2)
        numbers = jnp.expand_dims(1 + places.astype(weights.dtype), -1)
        exact = inverse - row.start + 1
        mean = (weights * numbers).sum(-2) / jnp.where(total > 0, total, 1)
        return jnp.where(total > 0, mean, exact.astype(mean.dtype))


def _logits(row: Row, positions: Array, softness: Softness, mode: Mode) -> Array:
    gaps = row.keys[..., :, None] - row.keys[..., None, :]
    distances = steps.absolute(gaps, per_matrix(softness), mode.step)
    total = jnp.where(row.counted[..., None, :], distances, 0).sum(-1)
    slope = (row.count - 1 - 2 * positions).astype(gaps.dtype)
    logits = -(slope[..., :, None] * row.keys[..., None, :] + total[..., None, :])
    return jnp.where(row.counted[..., None, :], logits, -jnp.inf)


# Many entries: no matrix


def _ascending(row: Row, kind: str, *arrays: Array) -> tuple[Array, ...]:
    """The arrays in ascending order of the keys, and between the first two whether entries count; those come first."""
    places = positions_along(row)
    if kind == "extreme":  # only the first entry's place is known
        order = jnp.argsort(jnp.where(row.counted, lax.stop_gradient(row.keys), jnp.inf), -1)
    else:
        order = jnp.take_along_axis(row.order, (row.start + places) % places.shape[-1], -1)
    first, *rest = (jnp.take_along_axis(x, order, -1) for x in arrays)
    return (first, places < row.count, *rest)


def _by_row(fn: Callable, *arrays: Array, softness: Softness) -> Array:
    """`fn(softness, *arrays)` for each row of the batch, one after the other."""
    batch = arrays[0].shape[:-1]
    if math.prod(batch) == 1:
        shared = softness if isinstance(softness, float | int) else softness.reshape(())
        return fn(shared, *(x.reshape(-1) for x in arrays)).reshape(*batch, -1)
    flat = [x.reshape(-1, x.shape[-1]) for x in arrays]
    if isinstance(softness, float | int) or softness.ndim == 0:
        out = lax.map(lambda row: fn(softness, *row), flat)
    else:
        each = jnp.broadcast_to(softness, (*batch, 1)).reshape(-1)
        out = lax.map(lambda row: fn(*row), (each, *flat))
    return out.reshape(*batch, out.shape[-1])


def _reach(mode: Mode, dtype, *, of_columns: bool = False) -> float:
    """How far below a row's largest logit a weight counts: a sparse one's is 0 from 1 on."""
    if mode.step.reach is not None:
        return 1.0
    return -math.log(float(jnp.finfo(dtype).tiny)) if of_columns else 12 - 2 * math.log(float(jnp.finfo(dtype).eps)) / 2


def _chunked(places: Array, size: int) -> tuple[Array, Array]:
    """Places in chunks, `(c, k)`, the last one filled with its last place, and which were there."""
    k = places.shape[0]
    size = min(size, k)
    filled = jnp.pad(places, (0, -k % size), mode="edge").reshape(-1, size)
    return filled, (jnp.arange(filled.size, dtype=jnp.int32) < k).reshape(filled.shape)


def _means(mode: Mode, softness: Softness, keys, counted, values, positions) -> Array:
    blocks, valid = blocks_of(keys, counted, softness, mode)
    places, _ = _chunked(positions, 2 * valid.shape[-1])
    logits, plan = band.banded(blocks, valid, places, _reach(mode, keys.dtype))
    kernel = band.KERNELS[mode.name]
    levels = band.thresholds(kernel, logits, plan)
    values = jnp.pad(values, (0, valid.size - values.shape[0])).reshape(plan.valid.shape)
    return band.means(kernel, logits, values, levels, plan).reshape(-1)[: positions.shape[0]]


def _ranks(mode: Mode, softness: Softness, keys, counted) -> Array:
    n = keys.shape[0]
    blocks, valid = blocks_of(keys, counted, softness, mode)
    last = counted.sum(dtype=jnp.int32) - 1
    places, there = _chunked(jnp.arange(n, dtype=jnp.int32), 2 * valid.shape[-1])
    there &= places <= last
    logits, plan = band.banded(blocks, valid, jnp.clip(places, 0, last), _reach(mode, keys.dtype, of_columns=True))
    kernel = band.KERNELS[mode.name]
    levels = band.thresholds(kernel, logits, plan)
    numbers = jnp.where(there, 1 + places, 0).astype(keys.dtype)
    rows = jnp.stack([there.astype(keys.dtype), numbers], 1)
    sums = band.column_sums(kernel.weight, logits, rows, levels, plan)
    mass, total = (sums[:, i].reshape(-1)[:n] for i in (0, 1))
    exact = 1 + jnp.arange(n, dtype=keys.dtype)
    return jnp.where(mass > 0, total / band.positive(mass), exact)
