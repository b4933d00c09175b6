"""Pooling adjacent violators of one row, block by block.

The block at hand takes in the one before it or the element after it, until it violates neither order; the next is the
first element from there on that violates that of its follower. A step is a few dozen operations on numbers, and XLA's
CPU runs the loop as one kernel: that is sooner than lanes are, unless most elements are pooled, where it takes up to
twice as long. There are at most about as many steps as elements.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates import along
from softtypes.surrogates.blocks import Blocks, Elements, Sorted
from softtypes.surrogates.regularisers import Moments, Solved


class _Block(NamedTuple):
    """The one at hand; beyond the row if all are solved."""

    first: Array
    last: Array
    e: Array
    moments: Moments


def pooled(elements: Elements) -> Blocks:
    """The blocks of the only row that there is."""
    shape = elements.r.shape
    z, w, *numbers = elements.problem
    row = Elements(Sorted(z.ravel(), w.ravel(), *(x.reshape(()) for x in numbers)), elements.regulariser)
    following, n = _following_violations(row), shape[-1]

    def alone(place: Array) -> _Block:
        """The first element from a place on that violates the order of its follower."""
        seam = jnp.where(place + 1 < n, _at(following, place + 1), n)
        first = jnp.where(seam < row.problem.count, seam - 1, n)
        return _Block(first, first, jnp.zeros_like(row.r[0]), row.regulariser.moments(_at(row.r, first)))

    start = alone(jnp.zeros_like(row.place[0])), row.alone()
    step = lambda state: _step(row, alone, *state)
    other, e, moments = lax.while_loop(lambda state: state[0].first < n, step, start)[1]
    return Blocks(other.reshape(shape), e.reshape(shape), tuple(x.reshape(shape) for x in moments))


def _following_violations(row: Elements) -> Array:
    """The next element from each on that violates the order of the one before it, `(n,)`; n if there is none.

    Of few operations, or XLA's CPU would share them among threads, which takes longer.
    """
    before = lambda x: jnp.concatenate([x[:1], x[:-1]])
    gap = lambda x: x - before(x)
    violates = row.rise_over(gap(row.problem.z), gap(row.problem.w), row.r, before(row.r)) < 0
    return along.following_min(along.held(jnp.where(violates, row.place, row.place.size)))


def _step(row: Elements, alone: Callable, block: _Block, blocks: Blocks) -> tuple[_Block, Blocks]:
    """The block takes in another one, or gives place to the next. It is noted each time: it might be done."""
    first, last, e, moments = block
    left = _at(blocks.other, jnp.maximum(first - 1, 0))
    there = left, _at(blocks.e, left), tuple(_at(x, left) for x in blocks.moments)
    (left, left_e, left_moments), blocks = lax.optimization_barrier((there, blocks))  # read, before they are written
    note = lambda x, value: lax.dynamic_update_index_in_dim(x, value, first, 0)
    other = lax.dynamic_update_index_in_dim(note(blocks.other, last), first, last, 0)
    blocks = Blocks(other, note(blocks.e, e), tuple(map(note, blocks.moments, moments)))

    size = lambda first, last: (last + 1 - first).astype(row.r.dtype)
    before = Solved(size(left, first - 1), left_moments)
    here = Solved(size(first, last), moments)
    right = last + 1
    after = Solved(jnp.ones_like(here.size), row.regulariser.moments(_at(row.r, right)))
    falls = e - left_e - _rise(row, left, first), -e - _rise(row, first, right)  # of the value: v = d - e
    violated = (first > 0) & (falls[0] > 0), (right < row.problem.count) & (falls[1] > 0)
    if row.regulariser.divides_signs:
        violated = violated[0] & (first != row.wall[0]), violated[1] & (right != row.wall[0])

    either = lambda x, y: jax.tree.map(partial(jnp.where, violated[0]), x, y)
    shift = either(_gap(row.problem.w, left, first), _gap(row.problem.w, first, right)) / row.problem.unit
    both = either(before, here), either(here, after), either(*falls), shift
    lower, upper, fall, shift = lax.optimization_barrier(both)  # or else each result would calculate it all anew
    drop = lax.optimization_barrier(row.regulariser.drop(lower, upper, fall, shift))
    moments = row.regulariser.joined(lower, upper, drop, fall, shift)
    joined = _Block(either(left, first), either(last, right), either(left_e, e) + drop, moments)
    return jax.tree.map(partial(jnp.where, violated[0] | violated[1]), joined, alone(right)), blocks


def _rise(row: Elements, i: Array, j: Array) -> Array:
    gap = lambda x: _gap(x, i, j)
    return row.rise_over(gap(row.problem.z), gap(row.problem.w), _at(row.r, j), _at(row.r, i))


def _gap(x: Array, i: Array, j: Array) -> Array:
    return _at(x, j) - _at(x, i)


def _at(x: Array, index: Array) -> Array:
    """An entry of `x`, `(n,)`; beyond its end the last."""
    return lax.dynamic_index_in_dim(x, index, keepdims=False)
