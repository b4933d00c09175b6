"""An isotonic regression in ascending order: its elements, and the blocks that pool them."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates.along import at
from softtypes.surrogates.platform import nothing
from softtypes.surrogates.regularisers import Moments, Regulariser


class Sorted(NamedTuple):
    """The ascending problem: positions `z / softness`, vertices `w / unit`, and how many elements count, the first.

    The divisions are left to the gaps, which are exact where the quotients would not be.
    """

    z: Array  # (..., n)
    w: Array  # (..., n)
    count: Array  # (..., 1)
    softness: Array  # (..., 1)
    unit: Array  # (..., 1)


class Blocks(NamedTuple):
    """What is known of a block is kept at its first element; both its end elements name the other one.

    An element alone in its block has `t = r = phi^-1(w)`. Kept is `e = t - r`, never `v = z / softness - t` itself:
    that number may be 1e3 where gaps of 1e-6 decide, beyond float32.
    """

    other: Array  # (..., n)
    e: Array  # (..., n)
    moments: Moments  # (..., n) each


class Elements:
    """A problem with what its elements have alone: `r`, and the value `d = z / softness - r`."""

    def __init__(self, problem: Sorted, regulariser: Regulariser):
        self.problem, self.regulariser = problem, regulariser
        zero = nothing((), *problem)
        self.r = regulariser.inverse(problem.w / problem.unit) + zero
        self.place = positions(self.r.shape) + zero.astype(jnp.int32)
        self.counted = self.place < problem.count
        self.wall = (self.counted & (problem.w < 0)).sum(-1, keepdims=True, dtype=jnp.int32)

    def rise(self, i: Array, j: Array | None = None) -> Array:
        """`d_j - d_i`; `j` is every place if it is not given."""
        there = lambda x: x if j is None else at(x, j)
        gap = lambda x: there(x) - at(x, i)
        return self.rise_over(gap(self.problem.z), gap(self.problem.w), there(self.r), at(self.r, i))

    def rise_over(self, z_gap: Array, w_gap: Array, r: Array, origin: Array) -> Array:
        """The same of the gaps between two elements."""
        return z_gap / self.problem.softness - self.regulariser.inverse_gap(w_gap / self.problem.unit, r, origin)

    def alone(self) -> Blocks:
        """Each in a block of its own."""
        return Blocks(self.place, jnp.zeros_like(self.r), self.regulariser.moments(self.r))


def positions(shape: tuple[int, ...]) -> Array:
    """`0 .. n-1` along the last axis."""
    return lax.broadcasted_iota(jnp.int32, shape, len(shape) - 1)
