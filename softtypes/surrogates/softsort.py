"""SoftSort (Prillo, Eisenschlos, 2020): project negative distances to the order statistics."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates import simplex
from softtypes.surrogates.algorithm import Algorithm, Request, Row, per_matrix, positions_along
from softtypes.surrogates.laplace import laplace_sums
from softtypes.surrogates.modes import Mode
from softtypes.surrogates.ratio import Softness, ratio
from softtypes.surrogates.sparse_means import POWERS, sparse_means

SMALL = 16  # up to this many entries the matrix of weights is as quick, and compiles sooner


class SoftSort(Algorithm):
    """Row k of the weights projects `-abs(z_(k) - z_j)` over j."""

    def weights(self, row: Row, request: Request, softness: Softness, mode: Mode) -> Array:
        if mode.name != "smooth":
            return self._projected(mode.project, row, request, softness)
        return simplex.falling(_gaps(row, request), row.counted[..., None, :], per_matrix(softness))

    def log_weights(self, row: Row, request: Request, softness: Softness, mode: Mode) -> Array | None:
        return mode.log_project and self._projected(mode.log_project, row, request, softness)

    def _projected(self, project: Callable, row: Row, request: Request, softness: Softness) -> Array:
        logits = jnp.where(row.counted[..., None, :], _gaps(row, request), -jnp.inf)
        return project(logits, per_matrix(softness))

    def expected(self, row: Row, request: Request, values: Array, softness: Softness, mode: Mode) -> Array:
        if request.kind == "sort" and row.keys.shape[-1] > SMALL:
            return _averaged(row, values, softness, mode)
        if mode.name == "smooth":
            gaps, counted = _gaps(row, request), row.counted[..., None, :]
            return simplex.falling_mean(gaps, counted, per_matrix(softness), values[..., None, :])
        return super().expected(row, request, values, softness, mode)

    def ranks(self, row: Row, softness: Softness, mode: Mode) -> Array:
        """Each entry projects `-abs(z_j - z_(k))` over k, and averages the ranks."""
        places = positions_along(row)
        if row.keys.shape[-1] > SMALL:
            return _averaged(row, (1 + places - row.start).astype(row.keys.dtype), softness, mode)
        distances = _distances(row, jnp.minimum(places, row.count - 1) * jnp.ones_like(row.order))
        gaps = -jnp.swapaxes(distances, -1, -2)
        logits = jnp.where((places < row.count)[..., None, :], gaps, -jnp.inf)
        return jnp.dot(
            mode.project(logits, per_matrix(softness)), 1.0 + jnp.arange(row.keys.shape[-1], dtype=gaps.dtype)
        )


def _gaps(row: Row, request: Request) -> Array:
    """Minus the distances to the order statistics, `(..., k, n)`."""
    if request.kind == "extreme":  # every distance to the first has one sign, so ties keep their gradient
        return (lax.stop_gradient(row.statistics(request.positions)) - row.keys)[..., None, :]
    return -_distances(row, request.positions)


def _distances(row: Row, positions: Array) -> Array:
    """`abs(z_(k) - z_j)`, `(..., k, n)`; its derivative at a tie is that of the order, as in the neighbourhood."""
    gaps = row.statistics(positions)[..., :, None] - row.keys[..., None, :]
    return _length(gaps, row.before(positions))


@jax.custom_jvp
def _length(gap: Array, forwards: Array) -> Array:
    return jnp.abs(gap)


@_length.defjvp
def _length_jvp(primals, tangents):
    forwards, change = primals[1], tangents[0]
    return _length(*primals), jnp.where(forwards, change, -change)


def _averaged(row: Row, values: Array, softness: Softness, mode: Mode) -> Array:
    """The mean of a row in order under the weights of each order statistic, without the matrix of the weights."""
    softness, values = jnp.asarray(softness, row.keys.dtype), jnp.where(row.counted, values, 0)
    masses = row.counted.astype(row.keys.dtype)
    if mode.name != "smooth":
        return sparse_means(POWERS[mode.name], row.ascending(), softness, values, masses)
    sums, totals = laplace_sums(ratio(_rises(row), softness), values, masses)
    return sums / jnp.where(totals > 0, totals, 1)


def _rises(row: Row) -> Array:
    """From the entry before to each one in order; 0 where one of them does not count."""
    before = jnp.concatenate([row.keys[..., :1], row.keys[..., :-1]], -1)
    return jnp.where(row.counted & (positions_along(row) > row.start), row.keys - before, 0)
