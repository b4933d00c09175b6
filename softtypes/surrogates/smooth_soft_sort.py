"""Smooth sort: sorted keys and ranks by smooth bounds of the permutahedron, as an ordering algorithm."""

from jax import Array

from softtypes.surrogates import smooth_sort
from softtypes.surrogates.algorithm import Algorithm, Row, per_batch
from softtypes.surrogates.modes import Mode
from softtypes.surrogates.ratio import Softness


class SmoothSort(Algorithm):
    """C-infinity values and ranks of the data as they are; it has no weights over the entries."""

    modes = ("smooth",)
    has_weights = False
    has_values = True
    standardizes = False

    def values(self, row: Row, softness: Softness, mode: Mode) -> Array:
        return smooth_sort.soft_sort(row.keys, per_batch(softness), row.counted)

    def ranks(self, row: Row, softness: Softness, mode: Mode) -> Array:
        return smooth_sort.soft_rank(row.keys, per_batch(softness), row.counted)
