"""The soft sorting network (Petersen, Borgelt, Kuehne, Deussen, 2021) as an ordering algorithm."""

from jax import Array

from softtypes.surrogates import network, steps
from softtypes.surrogates.algorithm import Algorithm, Request, Row, positions_along
from softtypes.surrogates.modes import Mode
from softtypes.surrogates.ratio import Softness


class SortingNetwork(Algorithm):
    """Compare-and-swap mixed by the step function; the weights of all order statistics are doubly stochastic.

    Values are the keys that the network sorts, as the peer has it: with `standardize` they are not the weighted sums
    of the data, since the way back from the keys is not linear.
    """

    has_values = True
    symmetric = False

    def values(self, row: Row, softness: Softness, mode: Mode) -> Array:
        step = lambda x: steps.step(x, softness, mode.step)
        return network.soft_sort(row.keys, step, row.counted)

    def weights(self, row: Row, request: Request, softness: Softness, mode: Mode) -> Array:
        keys, positions = row.keys, request.positions
        if row.mirrored:  # a network of the reversed data is another network: max would not be sort[-1]
            keys, positions = -keys, row.count - 1 - positions
        wanted = positions[..., :, None] == positions_along(row)[..., None, :]
        step = lambda x: steps.step(x, softness, mode.step)
        return network.combine(keys, step, wanted.astype(keys.dtype), row.counted)

    def ranks(self, row: Row, softness: Softness, mode: Mode) -> Array:
        keys = -row.keys if row.mirrored else row.keys
        ranks = network.soft_rank(keys, lambda x: steps.step(x, softness, mode.step), row.counted)
        return row.count.astype(ranks.dtype) + 1 - ranks if row.mirrored else ranks
