"""Soft sorting and ranking by projection onto the permutahedron.

The permutahedron `P(w)` is the convex hull of all permutations of `w`. The
projection of `z / softness` onto it solves

    argmax_y  <y, z> - softness * R(y)   subject to   y in P(w)

and, once both are sorted, becomes an isotonic regression of dual variables `v`:
the elements fall into blocks of one common `v` each, and inside a block

    y_i = phi(z_i / softness - v),   sum_i phi(z_i / softness - v) = sum_i w_i,

where `phi` inverts the gradient of the regulariser `R`:

    c0      phi(t) = t           Euclidean
    c1      phi(t) = t abs(t)    p-norm, p = 3/2
    c2      phi(t) = t^3         p-norm, p = 4/3
    smooth  phi(t) = exp(t)      log-KL: the projection of exp(z / softness)
                                 onto P(exp(w)), and `y` is its logarithm

The smooth mode thus keeps `sum(exp(y))`, the others `sum(y)`.

Sources: Blondel, Teboul, Berthet, Djolonga, "Fast Differentiable Sorting and
Ranking", 2020 (c0 and smooth, propositions 3 and 4); Sander, Puigcerver,
Djolonga, Peyre, Blondel, "Fast, Differentiable and Sparse Top-k", 2023 (p-norms).

Everything acts on the last axis. `softness` is a number or an array that
broadcasts to the batch shape. `mask` (bool, shape of `z`) drops elements: they
are sorted behind the others, belong to no block and get no gradient.
"""

from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates import along
from softtypes.surrogates.along import at, inverse
from softtypes.surrogates.blocks import Sorted, positions
from softtypes.surrogates.isotonic import pool
from softtypes.surrogates.regularisers import REGULARISERS

# A number, or an array that broadcasts to the batch shape.
Softness: TypeAlias = float | Array

MODES = tuple(REGULARISERS)


def _block_ends(joined: Array) -> Array:
    """Index of the last element of each element's block."""
    ends = jnp.where(joined, joined.shape[-1] - 1, positions(joined.shape))
    return along.following_min(ends)


def block_sum(x: Array, ends: Array) -> Array:
    """Sum of `x` over each element's block."""
    if not x.size:
        return x
    n = x.shape[-1]
    rows = jnp.arange(x.size // n, dtype=ends.dtype).reshape(*x.shape[:-1], 1)
    labels = (ends + n * rows).ravel()
    return jax.ops.segment_sum(x.ravel(), labels, x.size)[labels].reshape(x.shape)


def block_mean(x: Array, ends: Array) -> Array:
    """Mean of `x` over each element's block."""
    return block_sum(x, ends) / block_sum(jnp.ones_like(x), ends)


def _at_end(x: Array, ends: Array) -> Array:
    return sorted_by(ends, x)[0]


def _alone(ends: Array) -> Array:
    """Whether an element is the whole of its block."""
    last = ends == positions(ends.shape)
    return last & jnp.pad(last, [(0, 0)] * (last.ndim - 1) + [(1, 0)], constant_values=True)[..., :-1]


# Derivatives -----------------------------------------------------------------


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _dual(mode: str, z: Array, w: Array, softness: Array, t: Array, ends: Array) -> Array:
    """`t = z / softness - v` as solved for vertices `w`; its derivative is that of the block equations."""
    return t


@_dual.defjvp
def _dual_jvp(mode, primals, tangents):
    z, w, softness, _, ends = primals
    dz, dw, dsoftness = tangents[:3]
    t = _dual(mode, *primals)
    # Only differences of z inside a block count: with an origin there, and 0 for a
    # block of one, nothing of size z / softness is left to cancel.
    drift = (z - _at_end(z, ends)) / softness * dsoftness
    du = jnp.where(_alone(ends), 0, (dz - drift) / softness)
    top = along.held(_at_end(lax.stop_gradient(t), ends))
    by_position, by_value = REGULARISERS[mode].sensitivity(t, w, top)
    total = block_sum(by_position, ends)
    dv = block_sum(by_position * du - by_value * dw, ends) / jnp.where(total > 0, total, 1)
    return t, du - dv


@jax.custom_jvp
def tied(x: Array, ends: Array) -> Array:
    """`x`, its derivative averaged over ties: the mean over the orders they could take."""
    return x


@tied.defjvp
def _tied_jvp(primals, tangents):
    return tied(*primals), block_mean(tangents[0], primals[1])


def tie_ends(x: Array, valid: Array) -> Array:
    """Blocks of equal neighbours in sorted order."""
    following = jnp.roll(x, -1, axis=-1)
    joined = (x == following) & valid & jnp.roll(valid, -1, axis=-1)
    return _block_ends(joined & (positions(x.shape) < x.shape[-1] - 1))


def _solve(problem: Sorted, mode: str) -> tuple[Array, Array]:
    """`t = z / softness - v` of the sorted problem, differentiable, and its blocks."""
    t, ends = pool(lax.stop_gradient(problem), REGULARISERS[mode])
    return _dual(mode, problem.z, problem.w / problem.unit, problem.softness, t, ends), ends


def _project_sorted(problem: Sorted, mode: str) -> Array:
    """Projection of `z / softness` onto the permutahedron of `w / unit`, times `unit`."""
    t, ends = _solve(problem, mode)
    return jnp.where(_alone(ends), problem.w, REGULARISERS[mode].value(t) * problem.unit)


# Public ----------------------------------------------------------------------


def working_copies(z: Array, softness: Softness, mask: Array | None) -> tuple[Array, Array, Array]:
    """Working copies: at least float32, masked elements 0, softness with a last axis."""
    dtype = z.dtype if z.dtype.itemsize >= 4 else jnp.dtype(jnp.float32)
    mask = jnp.ones(z.shape, bool) if mask is None else jnp.broadcast_to(mask, z.shape)
    z = jnp.where(mask, z, 0).astype(dtype)
    return z, per_row(softness, z), mask


def per_row(softness: Softness, z: Array) -> Array:
    """The softness `(..., 1)`; below the smallest normal number a division would overflow on ordinary gaps."""
    softness = jnp.maximum(jnp.asarray(softness, z.dtype), jnp.finfo(z.dtype).tiny)
    return softness.reshape((1,) * (z.ndim - 1 - softness.ndim) + (*softness.shape, 1))


def ascending_order(z: Array, mask: Array) -> Array:
    """Indices that sort `z`, masked elements last in their original order."""
    operands = ((~mask).astype(jnp.int32), lax.stop_gradient(z), positions(z.shape))
    return lax.sort(operands, num_keys=2)[2] if z.size else operands[2]


def sorted_by(order: Array, *arrays: Array) -> tuple[Array, ...]:
    return tuple(at(x, order) for x in arrays)


def grid(z: Array, count: Array) -> tuple[Array, Array]:
    """`0 .. n-1` in the shape of `z`, and `max(count - 1, 1)`."""
    return positions(z.shape).astype(z.dtype), jnp.maximum(count - 1, 1).astype(z.dtype)


def count_of(mask: Array) -> Array:
    return mask.sum(-1, keepdims=True, dtype=jnp.int32)


def isotonic_regression(s: Array, w: Array, mode: str = "c0") -> Array:
    """Ascending dual variables `v` of the projection of ascending `s` onto `P(w)`.

    c0: the isotonic regression `argmin_v sum (v - (s - w))^2`, `v` ascending.
    smooth: `argmin_v sum exp(s - v) + exp(w) v`. c1, c2: likewise with the p-norm dual.

    Args:
        s: ascending positions, `(..., n)`.
        w: ascending vertices, `(..., n)`.
        mode: one of `MODES`.

    Returns:
        `(..., n)`, constant on every pooled block.
    """
    one = jnp.ones((1,) * s.ndim, s.dtype)
    t, _ = _solve(Sorted(s, w, jnp.full_like(one, s.shape[-1], dtype=jnp.int32), one, one), mode)
    return s - t


def project(z: Array, w: Array, softness: Softness = 0.1, mode: str = "smooth", mask: Array | None = None) -> Array:
    """Projection of `z / softness` onto the permutahedron of `w` (see the module).

    Args:
        z: points, `(..., n)`.
        w: vertices, `(..., n)`, in any order.
        softness: positive, in the unit of `z` over the unit of `w`.
        mode: one of `MODES`.
        mask: `(..., n)`, False drops the element from both `z` and `w`.

    Returns:
        `(..., n)`, ordered as `z`; 0 where masked.
    """
    dtype = jnp.result_type(z, w)
    z, w = jnp.broadcast_arrays(z.astype(dtype), w.astype(dtype))
    z, softness, mask = working_copies(z, softness, mask)
    w = jnp.where(mask, w, 0).astype(z.dtype)
    order = ascending_order(z, mask)
    z, valid = sorted_by(order, z, mask)
    (w,) = sorted_by(ascending_order(w, mask), w)
    problem = Sorted(z, tied(w, tie_ends(w, valid)), count_of(mask), softness, jnp.ones_like(softness))
    (y,) = sorted_by(inverse(order), _project_sorted(problem, mode))
    return jnp.where(mask, y, 0).astype(dtype)


def sorted_values(z: Array, count: Array, softness: Array, mode: str) -> Array:
    """`soft_sort` of values that stand in order: `(..., n)`, ascending, of which the first `count` count, `(..., 1)`.

    `softness`: `(..., 1)`. Returns zeros after the values that count.
    """
    index, steps = grid(z, count)
    valid = positions(z.shape) < count
    problem = Sorted(index, tied(z, tie_ends(z, valid)), count, steps * softness, jnp.ones_like(steps))
    return jnp.where(valid, _project_sorted(problem, mode), 0)


def ranks_in_order(z: Array, count: Array, softness: Array, mode: str) -> Array:
    """`soft_rank` of values that stand in order, as in `sorted_values`."""
    index, steps = grid(z, count)
    return _project_sorted(Sorted(z, index + 1, count, softness, steps), mode)


def soft_sort(
    z: Array,
    softness: Softness = 0.1,
    mode: str = "smooth",
    mask: Array | None = None,
) -> Array:
    """Soft values of `sort(z)`, ascending: `i / (n-1)` projected onto `P(z)`.

    Args:
        z: values, `(..., n)`.
        softness: positive; inverse unit of `z` (of 1 for standardised data).
        mode: one of `MODES`.
        mask: `(..., n)`, False drops the element.

    Returns:
        `(..., n)`: the `m` unmasked values ascending, then zeros.
    """
    dtype = z.dtype
    z, softness, mask = working_copies(z, softness, mask)
    (z,) = sorted_by(ascending_order(z, mask), z)
    return sorted_values(z, count_of(mask), softness, mode).astype(dtype)


def soft_rank(
    z: Array,
    softness: Softness = 0.1,
    mode: str = "smooth",
    mask: Array | None = None,
) -> Array:
    """Soft ascending ranks, 1-based: `z` projected onto `P(1, ..., n) / (n-1)`, times `n-1`.

    Args:
        z: values, `(..., n)`.
        softness: positive, in the unit of `z`.
        mode: one of `MODES`.
        mask: `(..., n)`, False drops the element.

    Returns:
        `(..., n)`: ranks among the unmasked; 0 where masked.
    """
    dtype = z.dtype
    z, softness, mask = working_copies(z, softness, mask)
    order = ascending_order(z, mask)
    (z,) = sorted_by(order, z)
    (ranks,) = sorted_by(inverse(order), ranks_in_order(z, count_of(mask), softness, mode))
    return jnp.where(mask, ranks, 0).astype(dtype)
