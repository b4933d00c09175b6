"""SoftSort (Prillo, Eisenschlos, 2020): project negative distances to the order statistics."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from softtypes.surrogates.algorithm import Algorithm, Request, Row, per_matrix, positions_along
from softtypes.surrogates.modes import Mode
from softtypes.surrogates.ratio import Softness


class SoftSort(Algorithm):
    """Row k of the weights projects `-abs(z_(k) - z_j)` over j."""

    def weights(self, row: Row, request: Request, softness: Softness, mode: Mode) -> Array:
        return self._projected(mode.project, row, request, softness)

    def log_weights(self, row: Row, request: Request, softness: Softness, mode: Mode) -> Array | None:
        return mode.log_project and self._projected(mode.log_project, row, request, softness)

    def _projected(self, project: Callable, row: Row, request: Request, softness: Softness) -> Array:
        if request.kind == "extreme":  # every distance to the first has one sign, so ties keep their gradient
            return project(jnp.where(row.counted, -row.keys, -jnp.inf), softness)[..., None, :]
        wanted = row.statistics(request.positions)[..., :, None]
        logits = jnp.where(row.counted[..., None, :], -jnp.abs(wanted - row.keys[..., None, :]), -jnp.inf)
        return project(logits, per_matrix(softness))

    def ranks(self, row: Row, softness: Softness, mode: Mode) -> Array:
        """Each entry projects `-abs(z_j - z_(k))` over k, and averages the ranks."""
        places = positions_along(row)
        ordered = row.statistics(jnp.minimum(places, row.count - 1) * jnp.ones_like(row.order))
        gaps = -jnp.abs(row.keys[..., :, None] - ordered[..., None, :])
        logits = jnp.where((places < row.count)[..., None, :], gaps, -jnp.inf)
        return jnp.dot(
            mode.project(logits, per_matrix(softness)), 1.0 + jnp.arange(row.keys.shape[-1], dtype=gaps.dtype)
        )
