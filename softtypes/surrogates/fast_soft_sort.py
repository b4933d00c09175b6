"""Fast soft sort (Blondel, Teboul, Berthet, Djolonga, 2020): projections onto the permutahedron."""

import jax.numpy as jnp
from jax import Array

from softtypes.surrogates import permutahedron
from softtypes.surrogates.algorithm import Algorithm, Row, per_batch, positions_along
from softtypes.surrogates.modes import Mode
from softtypes.surrogates.ratio import Softness


class FastSoftSort(Algorithm):
    """Sorted keys and ranks by isotonic regression; it has no weights over the entries."""

    has_weights = False
    has_values = True

    def values(self, row: Row, softness: Softness, mode: Mode) -> Array:
        return permutahedron.soft_sort(row.keys, per_batch(softness), mode.name, row.counted, _counted_first(row))

    def ranks(self, row: Row, softness: Softness, mode: Mode) -> Array:
        return permutahedron.soft_rank(row.keys, per_batch(softness), mode.name, row.counted, _counted_first(row))


def _counted_first(row: Row) -> Array:
    """The row's order, turned so that what comes before the counted entries comes last."""
    places = positions_along(row) + row.start
    n = row.keys.shape[-1]
    return jnp.take_along_axis(row.order, jnp.where(places < n, places, places - n), -1, mode="promise_in_bounds")
