"""Order statistics by regularised transport to anchors (Cuturi, Teboul, Vert, 2019)."""

import jax.numpy as jnp
from jax import Array

from softtypes.surrogates.algorithm import Algorithm, Request, Row, mean_near, per_batch, positions_along
from softtypes.surrogates.modes import Mode
from softtypes.surrogates.ratio import Softness
from softtypes.surrogates.transport import transport_weights


class OptimalTransport(Algorithm):
    """The plan's share of each entry in the mass of an anchor; the anchors depend on what is asked for."""

    def weights(self, row: Row, request: Request, softness: Softness, mode: Mode) -> Array:
        plan = lambda anchors, masses: transport_weights(
            row.keys, anchors, masses, per_batch(softness), mode.name, row.counted
        )
        return {"extreme": _top, "top": _top, "sort": _sorted, "between": _between, "single": _single}[request.kind](
            plan, row, request.positions
        )

    def ranks(self, row: Row, softness: Softness, mode: Mode) -> Array:
        """The weights of all order statistics, doubly stochastic, average the ranks."""
        places, exact = positions_along(row) * jnp.ones_like(row.order), positions_along(row) - row.start
        weights = self.weights(row, Request("sort", places), softness, mode)
        numbers, near = (1 + x.astype(weights.dtype) for x in (places, exact))
        return mean_near(jnp.swapaxes(weights, -1, -2), numbers[..., None, :], near)


def _share(row: Row) -> Array:
    """The mass of one entry, `(..., 1)`."""
    return 1 / jnp.maximum(row.count, 1).astype(row.keys.dtype)


def _top(plan, row: Row, positions: Array) -> Array:
    """Anchors `0, 1/k, ..., 1`: one entry's mass on each of the first k, the rest on the last."""
    k = positions.shape[-1]
    anchors = jnp.arange(k + 1, dtype=row.keys.dtype) / k
    mass = _share(row)
    first = jnp.where(positions < row.count, mass, 0)
    masses = jnp.concatenate([first, 1 - first.sum(-1, keepdims=True)], -1)
    return plan(anchors, jnp.maximum(masses, 0))[..., :k, :]


def _sorted(plan, row: Row, positions: Array) -> Array:
    """As many anchors as entries that count, evenly spaced from 0 to 1."""
    steps = jnp.maximum(row.count - 1, 1).astype(row.keys.dtype)
    places = positions_along(row)
    anchors = jnp.minimum(places.astype(row.keys.dtype) / steps, 1)
    masses = jnp.where(places < row.count, _share(row), 0)
    rows = plan(anchors, masses)
    return jnp.take_along_axis(rows, positions[..., :, None], -2)


def _between(plan, row: Row, positions: Array) -> Array:
    """Anchors 0, 1/3, 2/3, 1 for the pair of neighbours at k and k + 1: masses k/n, 1/n, 1/n and the rest."""
    low, _ = jnp.split(positions, 2, -1)
    pairs = [_around(plan, row, low[..., i : i + 1], 2) for i in range(low.shape[-1])]
    return jnp.concatenate([pair[..., j : j + 1, :] for j in (0, 1) for pair in pairs], -2)


def _single(plan, row: Row, positions: Array) -> Array:
    """Anchors 0, 1/2, 1 for the statistic at k: masses k/n, 1/n and the rest."""
    return jnp.concatenate([_around(plan, row, positions[..., i : i + 1], 1) for i in range(positions.shape[-1])], -2)


def _around(plan, row: Row, low: Array, width: int) -> Array:
    """Weights of `width` neighbours from position `low`, between what is below and what is above."""
    mass = _share(row)
    low = jnp.clip(low, 0, jnp.maximum(row.count - width, 0))
    below = low.astype(mass.dtype) * mass
    masses = jnp.concatenate([below, *[mass] * width, jnp.maximum(1 - below - width * mass, 0)], -1)
    anchors = jnp.arange(width + 2, dtype=mass.dtype) / (width + 1)
    return plan(anchors, masses)[..., 1 : width + 1, :]
