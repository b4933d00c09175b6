"""Pooling adjacent violators in many runs of many rows at a time.

A *lane* walks along the seams between the solved runs that it joins; all lanes of all rows take a step together, of a
few gathers and scatters each, and the runs grow by a constant factor a level. On most data a level takes some 30
steps. Their number is bounded by a small multiple of `n`: so many take rows where one element pools the others one by
one.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates.along import at
from softtypes.surrogates.blocks import Blocks, Elements, positions
from softtypes.surrogates.regularisers import Solved

_FIRST = 16  # elements that a lane of the first level joins
_FACTOR = 8  # runs that a lane of the later levels joins


def pooled(elements: Elements) -> Blocks:
    """The blocks. One compiled loop serves the first level, with most lanes, another one all others."""
    n = elements.r.shape[-1]
    blocks = _level(elements, elements.alone(), jnp.int32(1), _FIRST, -(-n // _FIRST))
    levels = math.ceil(math.log(max(n / _FIRST, 1), _FACTOR) - 1e-9)
    if not levels:
        return blocks
    lanes = -(-n // (_FIRST * _FACTOR))
    later = lambda k, blocks: _level(elements, blocks, _FIRST * _power(_FACTOR, k), _FACTOR, lanes)
    return lax.fori_loop(0, levels, later, blocks)


def _power(base: int, k: Array) -> Array:
    return jnp.left_shift(jnp.int32(1), k.astype(jnp.int32) * (base.bit_length() - 1))


class _Lanes(NamedTuple):
    start: Array  # (..., lanes)
    end: Array
    width: Array  # 0-d, elements of a solved run


def _level(elements: Elements, blocks: Blocks, width: Array, factor: int, number: int) -> Blocks:
    """Join solved runs of `width` elements into runs of `factor * width`."""
    n = elements.r.shape[-1]
    lane = positions((*elements.r.shape[:-1], number)) + jnp.zeros_like(elements.place[..., :1])
    start = jnp.where(lane <= n // (factor * width), lane * (factor * width), n)
    lanes = _Lanes(start, jnp.minimum(start + factor * width, elements.problem.count), width)
    going = lambda state: jnp.any(state[0] < lanes.end)
    return lax.while_loop(going, lambda state: _step(elements, lanes, *state), (start + width, blocks))[1]


def _step(elements: Elements, lanes: _Lanes, seam: Array, blocks: Blocks) -> tuple[Array, Blocks]:
    """Pool the blocks that meet at the seam, if they violate the order; on to the next seam to be looked at."""
    n, width, regulariser = elements.r.shape[-1], lanes.width, elements.regulariser
    going = seam < lanes.end
    right = jnp.minimum(seam, n - 1)
    last = at(blocks.other, right)
    left = at(blocks.other, jnp.maximum(right - 1, 0))
    e = at(blocks.e, left)
    fall = at(blocks.e, right) - e - elements.rise(left, right)  # of the value: v = d - e
    violated = going & (seam > lanes.start) & (fall > 0)
    if regulariser.divides_signs:
        violated &= seam != elements.wall
    # without barriers every one of the scatters would gather and calculate it all anew
    left, last, fall, e, violated = lax.optimization_barrier((left, last, fall, e, violated))
    shift = (at(elements.problem.w, right) - at(elements.problem.w, left)) / elements.problem.unit
    pair = _solved(elements, blocks, left, right), _solved(elements, blocks, right, last + 1)
    drop = lax.optimization_barrier(regulariser.drop(*pair, fall, shift))
    moments = regulariser.joined(*pair, drop, fall, shift)
    into = lambda index: jnp.where(violated, index, n)
    other = _put(_put(blocks.other, into(left), last), into(last), left)
    put = lambda x, values: _put(x, into(left), values)
    blocks = Blocks(other, put(blocks.e, e + drop), tuple(map(put, blocks.moments, moments)))
    # a block within a solved run stands in order to its next one
    inside = seam // width == last // width
    seam = jnp.where(going, jnp.where(inside, (last // width + 1) * width, last + 1), seam)
    return jnp.where(violated, left, seam), blocks


def _solved(elements: Elements, blocks: Blocks, first: Array, after: Array) -> Solved:
    return Solved((after - first).astype(elements.r.dtype), tuple(at(x, first) for x in blocks.moments))


def _put(x: Array, index: Array, values: Array) -> Array:
    """`x` with `values` at `index`, which are dropped beyond the end."""
    return jnp.put_along_axis(x, index, values, -1, inplace=False, mode="drop")
