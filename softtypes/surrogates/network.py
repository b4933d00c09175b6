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

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates import along

Step: TypeAlias = Callable[[Array], Array]


class _Stage(NamedTuple):
    """Comparators that act at once, in merges of so many wires: wire `i` meets wire `i ^ mask`."""

    size: Array
    mask: Array
    kind: Array  # which mask, of all that the network has


class _Exchange(NamedTuple):
    """What a stage does to a row: how much each wire takes from its partner."""

    p: Array
    kind: Array


def _stages(n: int) -> tuple[_Stage, list[int]] | None:
    """The stages of the network, `p (p + 1) / 2` of them for `2^(p-1) < n <= 2^p`, and all masks.

    A merge begins by comparing its lower half with the mirror image of the upper one.
    """
    depth = max(n - 1, 0).bit_length()
    stages = [(2 << p, mask) for p in range(depth) for mask in ((2 << p) - 1, *(1 << q for q in reversed(range(p))))]
    masks = sorted({mask for _, mask in stages})
    columns = ([size for size, _ in stages], [mask for _, mask in stages], [masks.index(mask) for _, mask in stages])
    return (_Stage(*(jnp.asarray(column, jnp.int32) for column in columns)), masks) if stages else None


def _beside(x: Array, kind: Array, masks: list[int]) -> Array:
    """Each wire's partner, 0 where that lies beyond the last wire; by moves of whole runs, not entry by entry."""
    n = x.shape[-1]
    wide = 1 << max(n - 1, 0).bit_length()

    def swapped(mask: int) -> Callable[[Array], Array]:
        low = mask & -mask  # wires in a run
        runs = (mask + low) // low  # in a block that is turned round

        def swap(x: Array) -> Array:
            x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, wide - n)])
            blocks = x.reshape(*x.shape[:-1], wide // (runs * low), runs, low)
            return jnp.flip(blocks, -2).reshape(x.shape)[..., :n]

        return swap

    return lax.switch(kind, list(map(swapped, masks)), x)


def _mixed(p: Array, x: Array, other: Array) -> Array:
    """Exact where `p` is 0 or 1."""
    return (1 - p) * x + p * other


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _exchanged(
    step: Callable, masks: list[int], x: Array, consts: list[Array], stage: _Stage, used: Array, lower: Array
) -> tuple[Array, Array]:
    """The row after a stage, and `p`; the step is one of a difference and of constants."""
    other = _beside(x, stage.kind, masks)
    p = jnp.where(used, step(jnp.where(lower, x - other, other - x), *consts), 0)
    return _mixed(p, x, other), p


@_exchanged.defjvp
def _exchanged_jvp(step, masks, primals, tangents):
    """Of the row `(1 - w) dx_i + w dx_j` with `w = p + u S'(u)`, the same for both wires: so its transpose is itself,
    and a stage keeps one row for the gradient, `w`, from which no step has to be taken again. A difference may overflow
    where the step is flat."""
    (x, consts, stage, used, lower), (dx, dconsts) = primals, tangents[:2]
    other, dother = (_beside(row, stage.kind, masks) for row in (x, dx))
    u, du = jnp.where(lower, x - other, other - x), jnp.where(lower, dx - dother, dother - dx)
    p, slope = (jnp.where(used, y, 0) for y in jax.jvp(lambda u: step(u, *consts), (u,), (jnp.ones_like(u),)))
    moved, dp = _mixed_by(p + jnp.where(slope != 0, u, 0) * slope, dx, dother), slope * du
    if consts:
        of_consts = jnp.where(used, jax.jvp(partial(step, u), tuple(consts), tuple(dconsts))[1], 0)
        moved, dp = moved + (of_consts * other - of_consts * x), dp + of_consts
    return (_mixed(p, x, other), p), (moved, dp)


@partial(jax.checkpoint, prevent_cse=False)  # or else the gradient keeps `1 - w`, too
def _mixed_by(w: Array, x: Array, other: Array) -> Array:
    return _mixed(w, x, other)


def _run(z: Array, step: Step, count: int | Array, keeps: bool) -> tuple[Array, _Exchange | None]:
    """Send `z` through the network: sorted values and, if it keeps them, the exchange of every stage."""
    network = _stages(z.shape[-1])
    if network is None:
        return z, None
    stages, masks = network
    wires = lax.broadcasted_iota(jnp.int32, (1,) * (z.ndim - 1) + z.shape[-1:], z.ndim - 1)
    step, consts = jax.closure_convert(step, z)

    def advance(x: Array, stage: _Stage) -> tuple[Array, _Exchange | None]:
        partner = wires ^ stage.mask
        middle = (wires & -stage.size) + stage.size // 2
        used = (jnp.maximum(partner, wires) < count) & (middle < count)
        x, p = _exchanged(step, masks, x, consts, stage, used, wires < partner)
        return x, _Exchange(p, stage.kind) if keeps else None

    # with its exchanges a stage would keep several rows for the gradient
    return lax.scan(jax.checkpoint(advance, prevent_cse=False) if keeps else advance, z, stages)


def _functionals(exchanges: _Exchange | None, rows: Array) -> Array:
    """`rows @ P`: every stage is symmetric, so they apply in reverse to the rows."""
    network = _stages(rows.shape[-1])
    if exchanges is None or network is None:
        return rows

    @partial(jax.checkpoint, prevent_cse=False)
    def retreat(rows: Array, exchange: _Exchange) -> tuple[Array, None]:
        return _mixed(exchange.p[..., None, :], rows, _beside(rows, exchange.kind, network[1])), None

    return lax.scan(retreat, rows, exchanges, reverse=True)[0]


def _partition(z: Array, mask: Array | None) -> tuple[Array, int | Array, Array | None]:
    """Unmasked elements first, zeros after them, their number, and where each one went."""
    if mask is None:
        return z, z.shape[-1], None
    order = jnp.argsort(~mask, axis=-1, stable=True)
    place = jnp.argsort(order, axis=-1)
    count = mask.sum(-1, keepdims=True, dtype=jnp.int32)
    return along.at(jnp.where(mask, z, 0), order), count, place


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
    return _run(values, step, count, keeps=False)[0].astype(z.dtype)


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
    _, exchanges = _run(values, step, count, keeps=True)
    rows = jnp.broadcast_to(rows, (*z.shape[:-1], *rows.shape[-2:])).astype(values.dtype)
    # The same on both sides: under `shard_map` the loop's state must vary over the mesh axes of `z` from the start.
    rows = jnp.where((values == values)[..., None, :], rows, rows)
    weights = _functionals(exchanges, rows)
    if mask is None or place is None:
        return weights.astype(z.dtype)
    weights = along.at(weights, place[..., None, :])
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
