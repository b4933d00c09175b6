"""Isotonic regression by pooling adjacent violators, in many runs of a row at a time.

The elements start as blocks of one. Two neighbouring blocks whose values violate the order are pooled, in whatever
order, until none do. A *lane* walks along the seams between the solved runs that it joins; all lanes of all rows take a
step together, of a few gathers and scatters each, and the runs grow by a constant factor a level. On most data a level
takes some 30 steps. Their number is bounded by a small multiple of `n`: so many take rows where one element pools the
others one by one.
"""

import math
from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates import along
from softtypes.surrogates.regularisers import Moments, Power, Regulariser, Solved, quotient

_FIRST = 16  # elements that a lane of the first level joins
_FACTOR = 8  # runs that a lane of the later levels joins
_MAX_STEPS = 240  # bisection every fourth step bounds their number by four times the digits


class Sorted(NamedTuple):
    """The ascending problem: positions `z / softness`, vertices `w / unit`, and how many elements count, the first.

    The divisions are left to the gaps, which are exact where the quotients would not be.
    """

    z: Array  # (..., n)
    w: Array  # (..., n)
    count: Array  # (..., 1)
    softness: Array  # (..., 1)
    unit: Array  # (..., 1)


class _Blocks(NamedTuple):
    """What is known of a block is kept at its first element; both its end elements name the other one.

    An element alone in its block has `t = r = phi^-1(w)`. Kept is `e = t - r`, never `v = z / softness - t` itself:
    that number may be 1e3 where gaps of 1e-6 decide, beyond float32.
    """

    other: Array  # (..., n)
    e: Array  # (..., n)
    moments: Moments  # (..., n) each


def pool(problem: Sorted, regulariser: Regulariser) -> tuple[Array, Array]:
    """`t = z / softness - v` of the isotonic regression, and the last element of each element's block."""
    return _Regression(problem, regulariser).solve()


def positions(shape: tuple[int, ...]) -> Array:
    """`0 .. n-1` along the last axis."""
    return lax.broadcasted_iota(jnp.int32, shape, len(shape) - 1)


def zeros_along(*arrays: Array) -> Array:
    """Zeros that, under `shard_map`, vary over every mesh axis that one of the arrays varies over: a loop's state."""
    varying = reduce(jnp.logical_and, [x == x for x in arrays])
    return jnp.where(varying, jnp.zeros((), arrays[0].dtype), jnp.zeros((), arrays[0].dtype))


def _at(x: Array, index: Array) -> Array:
    return jnp.take_along_axis(x, index, -1, mode="promise_in_bounds")


def _put(x: Array, index: Array, values: Array) -> Array:
    """`x` with `values` at `index`, which are dropped beyond the end."""
    return jnp.put_along_axis(x, index, values, -1, inplace=False, mode="drop")


class _Regression:
    """A problem with what its elements have alone: `r`, and the value `d = z / softness - r`."""

    def __init__(self, problem: Sorted, regulariser: Regulariser):
        self.problem, self.regulariser = problem, regulariser
        self.r = regulariser.inverse(problem.w / problem.unit) + zeros_along(*problem)
        self.place = positions(self.r.shape)
        self.counted = self.place < problem.count
        self.wall = (self.counted & (problem.w < 0)).sum(-1, keepdims=True, dtype=jnp.int32)

    def solve(self) -> tuple[Array, Array]:
        if not self.r.size:
            return self.r, self.place
        blocks = _Blocks(self.place + zeros_along(self.wall), zeros_along(self.r), self.regulariser.moments(self.r))
        blocks = self.levels(blocks)
        last = along.running_max(blocks.other)  # blocks nest: beyond the last of any pooled into it
        first = _at(blocks.other, last)
        e = _at(blocks.e, first) + self.rise(first)
        if isinstance(self.regulariser, Power) and self.regulariser.divides_signs:
            e, last = self.join_signs(self.regulariser, e, last)
        return self.r + jnp.where(self.counted, e, 0), last

    def rise(self, i: Array, j: Array | None = None) -> Array:
        """`d_j - d_i`; `j` is every place if it is not given."""
        z, w, _, softness, unit = self.problem
        there = lambda x: x if j is None else _at(x, j)
        gap = self.regulariser.inverse_gap((there(w) - _at(w, i)) / unit, there(self.r), _at(self.r, i))
        return (there(z) - _at(z, i)) / softness - gap

    # Lanes

    def levels(self, blocks: _Blocks) -> _Blocks:
        """One compiled loop serves the first level, with most lanes, another one all others."""
        n = self.r.shape[-1]
        blocks = self.level(blocks, jnp.int32(1), _FIRST, -(-n // _FIRST))
        later = lambda k, blocks: self.level(blocks, _FIRST * _power(_FACTOR, k), _FACTOR, -(-n // (_FIRST * _FACTOR)))
        levels = math.ceil(math.log(max(n / _FIRST, 1), _FACTOR) - 1e-9)
        return lax.fori_loop(0, levels, later, blocks) if levels else blocks

    def level(self, blocks: _Blocks, width: Array, factor: int, lanes: int) -> _Blocks:
        """Join solved runs of `width` elements into runs of `factor * width`."""
        n = self.r.shape[-1]
        lane = positions((*self.r.shape[:-1], lanes))
        start = jnp.where(lane <= n // (factor * width), lane * (factor * width), n)
        end = jnp.minimum(start + factor * width, self.problem.count)
        going = lambda state: jnp.any(state[0] < end)
        step = lambda state: self.step(state[0], state[1], start, end, width)
        return lax.while_loop(going, step, (start + width + zeros_along(self.wall), blocks))[1]

    def step(self, seam: Array, blocks: _Blocks, start: Array, end: Array, width: Array) -> tuple[Array, _Blocks]:
        """Pool the blocks that meet at the seam, if they violate the order; on to the next seam to be looked at."""
        n = self.r.shape[-1]
        going = seam < end
        right = jnp.minimum(seam, n - 1)
        last = _at(blocks.other, right)
        left = _at(blocks.other, jnp.maximum(right - 1, 0))
        e = _at(blocks.e, left)
        fall = _at(blocks.e, right) - e - self.rise(left, right)  # of the value: v = d - e
        violated = going & (seam > start) & (fall > 0)
        if self.regulariser.divides_signs:
            violated &= seam != self.wall
        # without barriers every one of the scatters would gather and calculate it all anew
        left, last, fall, e, violated = lax.optimization_barrier((left, last, fall, e, violated))
        shift = (_at(self.problem.w, right) - _at(self.problem.w, left)) / self.problem.unit
        pair = self.solved(blocks, left, right), self.solved(blocks, right, last + 1)
        drop = lax.optimization_barrier(self.regulariser.drop(*pair, fall, shift))
        moments = self.regulariser.joined(*pair, drop, fall, shift)
        into = lambda index: jnp.where(violated, index, n)
        other = _put(_put(blocks.other, into(left), last), into(last), left)
        put = lambda x, values: _put(x, into(left), values)
        blocks = _Blocks(other, put(blocks.e, e + drop), tuple(map(put, blocks.moments, moments)))
        # a block within a solved run stands in order to its next one
        inside = seam // width == last // width
        seam = jnp.where(going, jnp.where(inside, (last // width + 1) * width, last + 1), seam)
        return jnp.where(violated, left, seam), blocks

    def solved(self, blocks: _Blocks, first: Array, after: Array) -> Solved:
        return Solved((after - first).astype(self.r.dtype), tuple(_at(x, first) for x in blocks.moments))

    # One seam a row, between vertices below 0 and those from 0 on

    def join_signs(self, power: Power, e: Array, last: Array) -> tuple[Array, Array]:
        """Pool the blocks on both sides of the wall: the only one that may hold both signs."""
        n = self.r.shape[-1]
        wall = jnp.broadcast_to(jnp.minimum(self.wall, n - 1), self.r.shape)
        d = self.rise(wall)
        v = d - e
        edge = lambda place: _at(v, place[..., :1])
        low, high = edge(wall), edge(jnp.maximum(wall - 1, 0))
        meets = (self.wall > 0) & (self.wall < self.problem.count) & (low < high)
        within = lambda value: jnp.where(self.place < self.wall, v > value, v < value) & self.counted
        value = self.root(power, d, within, low, high, meets)
        pooled = within(value) & meets
        end = jnp.max(jnp.where(pooled, self.place, 0), -1, keepdims=True)
        return jnp.where(pooled, d - value, e), jnp.where(pooled, end, last)

    def root(
        self,
        power: Power,
        d: Array,
        within: Callable[[Array], Array],
        low: Array,
        high: Array,
        going: Array,
    ) -> Array:
        """Root in `[low, high]` of `sum phi(r + d - value) - phi(r)` over what it pools: falling, so bracketed."""
        rounding = jnp.finfo(d.dtype).eps * (4 + d.shape[-1] ** 0.5)
        total = lambda x: x.sum(-1, keepdims=True)

        def step(state):
            count, low, high, value, going = state
            e = jnp.where(within(value), d - value, 0)
            rises = power.rise(self.r, e)
            slope = total(jnp.where(within(value), power.slope(self.r + e), 0))
            rise = total(rises)
            low, high = jnp.where(rise > 0, value, low), jnp.where(rise < 0, value, high)
            newton, middle = value + quotient(rise, slope), low + (high - low) / 2
            inside = (newton >= low) & (newton <= high) & (count % 4 < 3) & (slope > 0)
            settled = (jnp.abs(rise) <= rounding * total(jnp.abs(rises))) | (middle <= low) | (middle >= high)
            value = jnp.where(going, jnp.where(inside | settled, newton, middle), value)
            return count + 1, low, high, value, going & ~settled

        still = lambda state: jnp.any(state[4]) & (state[0] < _MAX_STEPS)
        return lax.while_loop(still, step, (0, low, high, low + (high - low) / 2, going))[3]


def _power(base: int, k: Array) -> Array:
    return jnp.left_shift(jnp.int32(1), k.astype(jnp.int32) * (base.bit_length() - 1))
