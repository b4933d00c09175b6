"""Isotonic regression by pooling adjacent violators.

The elements start as blocks of one. Two neighbouring blocks whose values violate the order are pooled, in whatever
order, until none do: of one row block by block, of many rows in many runs at a time.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates import along, lanes, platform, walk
from softtypes.surrogates.along import at
from softtypes.surrogates.blocks import Elements, Sorted
from softtypes.surrogates.regularisers import Power, Regulariser, quotient

_MAX_STEPS = 240  # bisection every fourth step bounds their number by four times the digits


def pool(problem: Sorted, regulariser: Regulariser) -> tuple[Array, Array]:
    """`t = z / softness - v` of the isotonic regression, and the last element of each element's block.

    Not to be differentiated. Rows under `vmap` are a batch.
    """

    @jax.custom_batching.custom_vmap
    def run(problem: Sorted) -> tuple[Array, Array]:
        return _solved(Elements(problem, regulariser))

    @run.def_vmap
    def of_batch(size, batched, problem):
        whole = lambda x, one: x if one else jnp.broadcast_to(x, (size, *x.shape))
        return pool(jax.tree.map(whole, problem, batched[0]), regulariser), (True, True)

    return run(problem)


def _solved(elements: Elements) -> tuple[Array, Array]:
    if not elements.r.size:
        return elements.r, elements.place
    one = elements.r.size == elements.r.shape[-1]
    blocks = (walk if one and platform.in_turn() else lanes).pooled(elements)
    last = along.running_max(blocks.other)  # blocks nest: beyond the last of any pooled into it
    first = at(blocks.other, last)
    e = at(blocks.e, first) + elements.rise(first)
    if isinstance(elements.regulariser, Power) and elements.regulariser.divides_signs:
        e, last = _with_signs_joined(elements, elements.regulariser, e, last)
    return along.held(elements.r + jnp.where(elements.counted, e, 0)), last


# One seam a row, between vertices below 0 and those from 0 on


def _with_signs_joined(elements: Elements, power: Power, e: Array, last: Array) -> tuple[Array, Array]:
    """Pool the blocks on both sides of the wall: the only one that may hold both signs."""
    n = elements.r.shape[-1]
    wall = jnp.broadcast_to(jnp.minimum(elements.wall, n - 1), elements.r.shape)
    d = elements.rise(wall)
    v = d - e
    edge = lambda place: at(v, place[..., :1])
    low, high = edge(wall), edge(jnp.maximum(wall - 1, 0))
    meets = (elements.wall > 0) & (elements.wall < elements.problem.count) & (low < high)
    within = lambda value: jnp.where(elements.place < elements.wall, v > value, v < value) & elements.counted
    value = _root(elements, power, d, within, low, high, meets)
    pooled = within(value) & meets
    end = jnp.max(jnp.where(pooled, elements.place, 0), -1, keepdims=True)
    return jnp.where(pooled, d - value, e), jnp.where(pooled, end, last)


def _root(
    elements: Elements,
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
        rises = power.rise(elements.r, e)
        slope = total(jnp.where(within(value), power.slope(elements.r + e), 0))
        rise = total(rises)
        low, high = jnp.where(rise > 0, value, low), jnp.where(rise < 0, value, high)
        newton, middle = value + quotient(rise, slope), low + (high - low) / 2
        inside = (newton >= low) & (newton <= high) & (count % 4 < 3) & (slope > 0)
        settled = (jnp.abs(rise) <= rounding * total(jnp.abs(rises))) | (middle <= low) | (middle >= high)
        value = jnp.where(going, jnp.where(inside | settled, newton, middle), value)
        return count + 1, low, high, value, going & ~settled

    still = lambda state: jnp.any(state[4]) & (state[0] < _MAX_STEPS)
    return lax.while_loop(still, step, (0, low, high, low + (high - low) / 2, going))[3]
