"""Soft sorting by a bitonic sorting network.

Every comparator of wires `i < j` mixes its inputs by a step function `S`:

    p = S(x_i - x_j),    x_i <- (1 - p) x_i + p x_j,    x_j <- (1 - p) x_j + p x_i.

Its matrix is symmetric and doubly stochastic, and so the matrix `P` of the network
is doubly stochastic. `S` must satisfy `S(-x) = 1 - S(x)`.

The network is bitonic, written so that every comparator puts the smaller value on the
lower wire: each merge begins by comparing a block with its own mirror image. Wires
after the last one would hold +infinity and never exchange anything, so leaving out
their comparators gives a network for every `n`; merges with an empty right half are
left out too, so that `n` elements meet the same comparators under any padding. For a
power of two it is the usual network with its descending blocks read backwards.

Sources: Batcher, "Sorting Networks and their Applications", 1968; Petersen, Borgelt,
Kuehne, Deussen, "Differentiable Sorting Networks for Scalable Sorting and Ranking
Supervision", 2021.

Everything acts on the last axis, ascending. `mask` (bool, shape of `z`) drops
elements: they move, in order, behind the others, and no comparator touches them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class _Stage(NamedTuple):
    """Comparators that act at once: each wire's partner and the middle of its merge."""

    partner: jax.Array
    middle: jax.Array


def _stages(n):
    """The stages of the network, stacked: `p (p + 1) / 2` of them for `2^(p-1) < n <= 2^p`."""
    wires = jnp.arange(n)
    sizes = [2 << p for p in range(max(n - 1, 0).bit_length())]
    stages = [stage for size in sizes for stage in _merge(wires, size)]
    return _Stage(*map(jnp.stack, zip(*stages))) if stages else None


def _merge(wires, size):
    """Stages that merge the sorted halves of blocks of `size`."""
    start = wires - wires % size
    middle = start + size // 2
    yield _Stage(2 * start + size - 1 - wires, middle)
    distance = size // 4
    while distance:
        yield _Stage(wires ^ distance, middle)
        distance //= 2


def _exchange(p, x, partner):
    """Mix the last axis of `x` with its partners; exact where `p` is 0 or 1."""
    return (1 - p) * x + p * jnp.take(x, partner, axis=-1)


def _run(z, step, count):
    """Send `z` through the network: sorted values and the exchange of every stage."""
    n = z.shape[-1]
    stages = _stages(n)
    if stages is None:
        return z, None
    wires = jnp.arange(n)

    def advance(x, stage):
        partner = jnp.minimum(stage.partner, n - 1)
        used = (jnp.maximum(stage.partner, wires) < count) & (stage.middle < count)
        rise = x - jnp.take(x, partner, axis=-1)
        p = jnp.where(used, step(jnp.where(wires < partner, rise, -rise)), 0)
        return _exchange(p, x, partner), (p, partner)

    return lax.scan(advance, z, stages)


def _functionals(exchanges, rows):
    """`rows @ P`: every stage is symmetric, so they apply in reverse to the rows."""

    def retreat(rows, exchange):
        p, partner = exchange
        return _exchange(p[..., None, :], rows, partner), None

    return rows if exchanges is None else lax.scan(retreat, rows, exchanges, reverse=True)[0]


def _partition(z, mask):
    """Unmasked elements first, zeros after them, their number, and where each one went."""
    if mask is None:
        return z, z.shape[-1], None
    order = jnp.argsort(~mask, axis=-1, stable=True)
    place = jnp.argsort(order, axis=-1)
    count = mask.sum(-1, keepdims=True)
    return jnp.take_along_axis(jnp.where(mask, z, 0), order, axis=-1), count, place


def _widen(z):
    return z.astype(jnp.promote_types(z.dtype, jnp.float32))


def soft_sort(z, step, mask=None):
    """Soft values of `sort(z)`: `P z`.

    Args:
        z: values, `(..., n)`.
        step: the step function `S`, elementwise on `(..., n)`.
        mask: `(..., n)`, False drops the element.

    Returns:
        `(..., n)`: the unmasked values ascending, then zeros.
    """
    values, count, _ = _partition(_widen(z), mask)
    return _run(values, step, count)[0].astype(z.dtype)


def combine(z, step, rows, mask=None):
    """Linear combinations of the rows of `P`: `rows @ P`, without forming `P`.

    Args:
        z: values, `(..., n)`.
        step: the step function `S`, elementwise on `(..., n)`.
        rows: weights of the ascending order statistics, `(..., m, n)`; one-hot for a
            single one. With a mask of `k` elements, the first `k` order statistics.
        mask: `(..., n)`, False drops the element.

    Returns:
        `(..., m, n)`: weights of the elements of `z`. Masked elements have weight 0.
    """
    values, count, place = _partition(_widen(z), mask)
    _, exchanges = _run(values, step, count)
    rows = jnp.broadcast_to(rows, (*z.shape[:-1], *rows.shape[-2:])).astype(values.dtype)
    weights = _functionals(exchanges, rows)
    if mask is None:
        return weights.astype(z.dtype)
    weights = jnp.take_along_axis(weights, place[..., None, :], axis=-1)
    return jnp.where(mask[..., None, :], weights, 0).astype(z.dtype)


def soft_permutation(z, step, mask=None):
    """The doubly stochastic matrix `P`, row `k` the weights of the `k`-th smallest.

    Arguments as in `soft_sort`. Returns `(..., n, n)`; with a mask of `k` elements the
    first `k` rows count, the others are 0.
    """
    return combine(z, step, jnp.eye(z.shape[-1]), mask)


def soft_rank(z, step, mask=None):
    """Soft ascending ranks, 1-based: `(1, ..., n) @ P`; 0 where masked.

    Arguments as in `soft_sort`. Returns `(..., n)`.
    """
    return combine(z, step, jnp.arange(1.0, z.shape[-1] + 1)[None], mask)[..., 0, :]
