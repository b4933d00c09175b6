"""Fast soft sort (Blondel, Teboul, Berthet, Djolonga, 2020): projections onto the permutahedron."""

from jax import Array

from softtypes.surrogates import along, permutahedron
from softtypes.surrogates.algorithm import Algorithm, Row, per_batch
from softtypes.surrogates.modes import Mode
from softtypes.surrogates.permutahedron import per_row
from softtypes.surrogates.ratio import Softness


class FastSoftSort(Algorithm):
    """Sorted keys and ranks by isotonic regression; it has no weights over the entries."""

    has_weights = False
    has_values = True

    def values(self, row: Row, softness: Softness, mode: Mode) -> Array:
        keys = along.moved_down(row.keys, row.start)  # what comes before the counted entries comes last
        return permutahedron.sorted_values(keys, row.count, per_row(per_batch(softness), keys), mode.name)

    def ranks(self, row: Row, softness: Softness, mode: Mode) -> Array:
        keys = along.moved_down(row.keys, row.start)
        ranks = permutahedron.ranks_in_order(keys, row.count, per_row(per_batch(softness), keys), mode.name)
        return along.held(along.moved_down(along.held(ranks), keys.shape[-1] - row.start))
