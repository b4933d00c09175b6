"""The soft sorting network (Petersen, Borgelt, Kuehne, Deussen, 2021) as an ordering algorithm."""

import jax.numpy as jnp
from jax import Array

from softtypes.surrogates import network, steps
from softtypes.surrogates.algorithm import Algorithm, Request, Row
from softtypes.surrogates.modes import Mode
from softtypes.surrogates.ratio import Softness


class SortingNetwork(Algorithm):
    """Compare-and-swap mixed by the step function; the weights of all order statistics are doubly stochastic."""

    def weights(self, row: Row, request: Request, softness: Softness, mode: Mode) -> Array:
        places = jnp.arange(row.keys.shape[-1])
        wanted = (request.positions[..., :, None] == jnp.expand_dims(places, range(row.keys.ndim))).astype(
            row.keys.dtype
        )
        return network.combine(row.keys, lambda x: steps.step(x, softness, mode.step), wanted, row.counted)

    def ranks(self, row: Row, softness: Softness, mode: Mode) -> Array:
        return network.soft_rank(row.keys, lambda x: steps.step(x, softness, mode.step), row.counted)
