"""The interface of an ordering algorithm: what an operator may ask of it.

An algorithm sees the finite entries of a row only, as ascending keys. NaN, infinities and masked entries have been
taken out before: they are ordered exactly.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates.along import at
from softtypes.surrogates.modes import MODES, Mode
from softtypes.surrogates.ratio import Softness
from softtypes.surrogates.standardize import Moments
from softtypes.surrogates.straight_through import straight_through


class Row(NamedTuple):
    """Keys along the last axis; only entries that count are to be ordered."""

    keys: Array  # (..., n), finite; 0 where an entry does not count
    counted: Array  # (..., n), bool
    order: Array  # (..., n), the exact stable order of all entries: ascending, the counted ones together; or its start
    data: Array  # (..., n), what the keys were made of, in the same order but apart where keys are rounded together
    start: Array  # (..., 1), how many entries the order puts before the counted ones
    count: Array  # (..., 1), how many these are
    mirrored: bool = False  # whether the keys are those of the data reversed, for an algorithm that is not symmetric
    in_order: bool = False  # whether the entries stand in their exact order
    moments: Moments | None = None  # of the data, if the keys are standardised
    shared: Any = None  # arrays that an algorithm has computed of the whole row for several requests

    def statistics(self, positions: Array) -> Array:
        """The order statistics at positions among the counted entries, `(..., k)`."""
        return at(self.keys, self.index(positions))

    def index(self, positions: Array) -> Array:
        """Which entries those are, `(..., k)`."""
        return jnp.take_along_axis(self.order, self.start + positions, -1, mode="clip")

    def ascending(self) -> Array:
        """The keys of a row that is in order, those that don't count replaced by the nearest that does."""
        places = positions_along(self)
        first, last = (self.statistics(end) for end in (jnp.zeros_like(self.start), jnp.maximum(self.count - 1, 0)))
        return jnp.where(places < self.start, first, jnp.where(places < self.start + self.count, self.keys, last))

    def before(self, positions: Array) -> Array:
        """Whether an entry comes before the order statistics at positions, `(..., k, n)`."""
        index = self.index(positions)
        there, here = at(self.data, index)[..., :, None], self.data[..., None, :]
        return (here < there) | ((here == there) & (positions_along(self)[..., None, :] < index[..., :, None]))


class Request(NamedTuple):
    """Which order statistics are wanted: `sort` all, `extreme` the first, `top` the first k, `between` pairs of
    neighbours (positions `(..., 2 q)`: the lower of each pair first, then the upper ones), `single` any."""

    kind: str
    positions: Array  # (..., k), ascending among the counted entries


class Algorithm:
    """One way to relax an order.

    `softness` is a float or an array `(..., 1)`. Values are the weighted sums of the data, unless the algorithm sorts
    the keys themselves. All values and all ranks are asked of a row whose entries stand in their exact order, if the
    algorithm is symmetric in them.
    """

    modes: tuple[str, ...] = tuple(MODES)
    has_weights: bool = True
    has_values: bool = False
    symmetric: bool = True  # whether it does not matter in which order the entries come
    standardizes: bool = True  # whether it takes keys that are standardised, if that is asked for

    def orders(self, n: int) -> bool:
        """Whether it needs the whole order of a row of n entries, whatever is asked of it."""
        return False

    def prepared(self, row: Row, softness: Softness, mode: Mode) -> Row:
        """The row with what several requests have in common as `shared`."""
        return row

    def weights(self, row: Row, request: Request, softness: Softness, mode: Mode) -> Array:
        """Weights `(..., k, n)` of the requested order statistics over the entries; 0 where one does not count."""
        raise NotImplementedError

    def log_weights(self, row: Row, request: Request, softness: Softness, mode: Mode) -> Array | None:
        """Their logarithms, where the algorithm has them exactly."""
        return None

    def expected(self, row: Row, request: Request, values: Array, softness: Softness, mode: Mode) -> Array:
        """The weights' means of values `(..., n)`, finite and 0 where an entry does not count: `(..., k)`."""
        exact = at(values, row.index(request.positions))
        return mean_near(self.weights(row, request, softness, mode), values[..., None, :], exact)

    def values(self, row: Row, softness: Softness, mode: Mode) -> Array:
        """Relaxed sorted keys `(..., n)`, those of counted entries first; only with `has_values`."""
        raise NotImplementedError

    def ranks(self, row: Row, softness: Softness, mode: Mode) -> Array:
        """Relaxed ranks `(..., n)` from 1, of the counted entries among themselves."""
        raise NotImplementedError


def mean_near(weights: Array, values: Array, near: Array) -> Array:
    """The means `(..., k)` of values under weights `(..., k, n)` that add up to 1, each near a value `(..., k)`.

    They are those of distances, in the derivative from the mean itself: derivatives of weights add up to 0, and what
    these weigh should be as small as can be. Halves of distances, since data may span more than the dtype holds.
    """
    halves = lambda centre: values / 2 - lax.stop_gradient(centre)[..., None] / 2
    exact = near + 2 * (weights * halves(near)).sum(-1)
    return straight_through(lax.stop_gradient(exact), 2 * (weights * halves(exact)).sum(-1))


def per_batch(softness: Softness) -> Softness:
    """A softness per row, in the shape of the batch of rows."""
    return softness if isinstance(softness, float | int) or softness.ndim == 0 else softness[..., 0]


def per_matrix(softness: Softness) -> Softness:
    """A softness per row, for a matrix per row."""
    return softness if isinstance(softness, float | int) or softness.ndim == 0 else softness[..., None]


def positions_along(row: Row) -> Array:
    """`0 .. n-1`, shaped to broadcast against a row."""
    n = row.keys.shape[-1]
    return jnp.arange(n, dtype=jnp.int32).reshape((1,) * (row.keys.ndim - 1) + (n,))
