"""Fast soft sort (Blondel, Teboul, Berthet, Djolonga, 2020): projections onto the permutahedron."""

from jax import Array

from softtypes.surrogates import permutahedron
from softtypes.surrogates.algorithm import Algorithm, Row, per_batch
from softtypes.surrogates.modes import Mode
from softtypes.surrogates.ratio import Softness


class FastSoftSort(Algorithm):
    """Sorted keys and ranks by isotonic regression; it has no weights over the entries."""

    has_weights = False
    has_values = True

    def values(self, row: Row, softness: Softness, mode: Mode) -> Array:
        return permutahedron.soft_sort(row.keys, per_batch(softness), mode.name, row.counted)

    def ranks(self, row: Row, softness: Softness, mode: Mode) -> Array:
        return permutahedron.soft_rank(row.keys, per_batch(softness), mode.name, row.counted)
