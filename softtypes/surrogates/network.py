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

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import Array, lax

Step: TypeAlias = Callable[[Array], Array]


class _Stage(NamedTuple):
    """Comparators that act at once: each wire's partner and the middle of its merge."""

    partner: Array
    middle: Array


class _Exchange(NamedTuple):
    """What a stage does to a row: how much each wire takes from its partner."""

    p: Array
    partner: Array


def _stages(n: int) -> _Stage | None:
    """The stages of the network, stacked: `p (p + 1) / 2` of them for `2^(p-1) < n <= 2^p`."""
    wires = jnp.arange(n)
    sizes = [2 << p for p in range(max(n - 1, 0).bit_length())]
    stages = [stage for size in sizes for stage in _merge(wires, size)]
    return _Stage(*map(jnp.stack, zip(*stages, strict=True))) if stages else None


def _merge(wires: Array, size: int) -> Iterator[_Stage]:
    """Stages that merge the sorted halves of blocks of `size`."""
    start = wires - wires % size
    middle = start + size // 2
    yield _Stage(2 * start + size - 1 - wires, middle)
    distance = size // 4
    while distance:
        yield _Stage(wires ^ distance, middle)
        distance //= 2


def _exchange(p: Array, x: Array, partner: Array) -> Array:
    """Mix the last axis of `x` with its partners; exact where `p` is 0 or 1."""
    return (1 - p) * x + p * jnp.take(x, partner, axis=-1)


def _run(z: Array, step: Step, count: int | Array) -> tuple[Array, _Exchange | None]:
    """Send `z` through the network: sorted values and the exchange of every stage."""
    n = z.shape[-1]
    stages = _stages(n)
    if stages is None:
        return z, None
    wires = lax.broadcasted_iota(stages.partner.dtype, (1,) * (z.ndim - 1) + (n,), z.ndim - 1)

    def advance(x: Array, stage: _Stage) -> tuple[Array, _Exchange]:
        partner, middle = (wire.reshape(wires.shape) for wire in stage)
        used = (jnp.maximum(partner, wires) < count) & (middle < count)
        beside = jnp.minimum(stage.partner, n - 1)
        rise = x - jnp.take(x, beside, axis=-1)
        p = jnp.where(used, step(jnp.where(wires < partner, rise, -rise)), 0)
        return _exchange(p, x, beside), _Exchange(p, beside)

    return lax.scan(advance, z, stages)


def _functionals(exchanges: _Exchange | None, rows: Array) -> Array:
    """`rows @ P`: every stage is symmetric, so they apply in reverse to the rows."""

    def retreat(rows: Array, exchange: _Exchange) -> tuple[Array, None]:
        return _exchange(exchange.p[..., None, :], rows, exchange.partner), None

    return rows if exchanges is None else lax.scan(retreat, rows, exchanges, reverse=True)[0]


def _partition(z: Array, mask: Array | None) -> tuple[Array, int | Array, Array | None]:
    """Unmasked elements first, zeros after them, their number, and where each one went."""
    if mask is None:
        return z, z.shape[-1], None
    order = jnp.argsort(~mask, axis=-1, stable=True)
    place = jnp.argsort(order, axis=-1)
    count = mask.sum(-1, keepdims=True)
    return jnp.take_along_axis(jnp.where(mask, z, 0), order, axis=-1), count, place


def _widen(z: Array) -> Array:
    return z if z.dtype.itemsize >= 4 else z.astype(jnp.float32)


def soft_sort(z: Array, step: Step, mask: Array | None = None) -> Array:
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


def combine(z: Array, step: Step, rows: Array, mask: Array | None = None) -> Array:
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
    # The same on both sides: under `shard_map` the loop's state must vary over the mesh axes of `z` from the start.
    rows = jnp.where((values == values)[..., None, :], rows, rows)
    weights = _functionals(exchanges, rows)
    if mask is None or place is None:
        return weights.astype(z.dtype)
    weights = jnp.take_along_axis(weights, place[..., None, :], axis=-1)
    return jnp.where(mask[..., None, :], weights, 0).astype(z.dtype)


def soft_permutation(z: Array, step: Step, mask: Array | None = None) -> Array:
    """The doubly stochastic matrix `P`, row `k` the weights of the `k`-th smallest.

    Arguments as in `soft_sort`. Returns `(..., n, n)`; with a mask of `k` elements the
    first `k` rows count, the others are 0.
    """
    return combine(z, step, jnp.eye(z.shape[-1]), mask)


def soft_rank(z: Array, step: Step, mask: Array | None = None) -> Array:
    """Soft ascending ranks, 1-based: `(1, ..., n) @ P`; 0 where masked.

    Arguments as in `soft_sort`. Returns `(..., n)`.
    """
    return combine(z, step, jnp.arange(1.0, z.shape[-1] + 1)[None], mask)[..., 0, :]
