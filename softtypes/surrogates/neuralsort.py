"""NeuralSort (Grover, Wang, Zweig, Ermon, 2019): project a sum of distances."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from softtypes.surrogates import steps
from softtypes.surrogates.algorithm import Algorithm, Request, Row, per_matrix, positions_along
from softtypes.surrogates.modes import Mode
from softtypes.surrogates.ratio import Softness


class NeuralSort(Algorithm):
    """Row k (from 1) of the weights projects `-((n + 1 - 2k) z_j + A_j)` over j, `A_j = sum_i abs(z_j - z_i)`."""

    def prepared(self, row: Row, softness: Softness, mode: Mode) -> Row:
        """With the sums of distances."""
        return row._replace(shared=_distances(row, softness, mode))

    def weights(self, row: Row, request: Request, softness: Softness, mode: Mode) -> Array:
        return mode.project(_logits(row, request.positions, softness, mode), per_matrix(softness))

    def log_weights(self, row: Row, request: Request, softness: Softness, mode: Mode) -> Array | None:
        project: Callable | None = mode.log_project
        return project and project(_logits(row, request.positions, softness, mode), per_matrix(softness))

    def ranks(self, row: Row, softness: Softness, mode: Mode) -> Array:
        """The columns of the weights, renormalised, average the ranks; an empty column leaves the exact rank."""
        places = positions_along(row) * jnp.ones_like(row.order)
        weights = self.weights(row, Request("sort", jnp.minimum(places, row.count - 1)), softness, mode)
        weights = jnp.where((places < row.count)[..., :, None], weights, 0)
        total = weights.sum(-2)
        numbers = jnp.expand_dims(1 + places.astype(weights.dtype), -1)
        exact = jnp.argsort(row.order, -1).astype(row.start.dtype) - row.start + 1
        mean = (weights * numbers).sum(-2) / jnp.where(total > 0, total, 1)
        return jnp.where(total > 0, mean, exact.astype(mean.dtype))


def _logits(row: Row, positions: Array, softness: Softness, mode: Mode) -> Array:
    total = _distances(row, softness, mode) if row.shared is None else row.shared
    slope = (row.count - 1 - 2 * positions).astype(total.dtype)
    logits = -(slope[..., :, None] * row.keys[..., None, :] + total[..., None, :])
    return jnp.where(row.counted[..., None, :], logits, -jnp.inf)


def _distances(row: Row, softness: Softness, mode: Mode) -> Array:
    """`A_j`, over the entries that count."""
    gaps = row.keys[..., :, None] - row.keys[..., None, :]
    distances = steps.absolute(gaps, per_matrix(softness), mode.step)
    return jnp.where(row.counted[..., None, :], distances, 0).sum(-1)
