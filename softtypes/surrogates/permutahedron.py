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

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax

# A number, or an array that broadcasts to the batch shape.
Softness: TypeAlias = float | Array

# Bisection every fourth step bounds the number of steps by four times the digits.
_MAX_STEPS = 240


# The four regularisers -------------------------------------------------------


class _Power:
    """`phi(t) = sign(t) abs(t)^order`, the dual of the p-norm, p = 1 + 1 / order."""

    def __init__(self, order: int):
        self.order = order

    def inverse(self, w: Array) -> Array:
        return jnp.sign(w) * jnp.abs(w) ** (1 / self.order) if self.order > 1 else w

    def value(self, t: Array) -> Array:
        return t * jnp.abs(t) ** (self.order - 1) if self.order > 1 else t

    def slope(self, t: Array) -> Array:
        return self.order * jnp.abs(t) ** (self.order - 1) if self.order > 1 else jnp.ones_like(t)

    def rise(self, r: Array, e: Array) -> Array:
        """`phi(r + e) - phi(r)` without cancellation."""
        t = r + e
        if self.order == 1:
            return e
        if self.order == 3:
            return e * (t * t + t * r + r * r)
        return jnp.where(t * r >= 0, e * (jnp.abs(t) + jnp.abs(r)), self.value(t) - self.value(r))

    def inverse_gap(self, gap: Array, r: Array, origin: Array) -> Array:
        """`phi^-1(w) - phi^-1(w_o)` from `gap = w - w_o` without cancellation."""
        if self.order == 1:
            return gap
        if self.order == 3:
            return _ratio(gap, r * r + r * origin + origin * origin)
        return jnp.where(r * origin >= 0, _ratio(gap, jnp.abs(r) + jnp.abs(origin)), r - origin)

    def correction(self, r: Array, e: Array, pooled: Array, blocks: "_Blocks") -> tuple[Array, Array]:
        """Newton step of the pooled value, and the size of the terms it cancels."""
        rise = jnp.where(pooled, self.rise(r, e), 0)
        slope = jnp.where(pooled, self.slope(r + e), 0)
        total, noise, slope = blocks.sums(rise, jnp.abs(rise), slope)
        return _ratio(total, slope), _ratio(noise, slope)

    def sensitivity(self, t: Array, w: Array, top: Array) -> tuple[Array, Array]:
        """Weights of `dz / softness` and of `dw` in the derivative of `v`."""
        return self.slope(t), jnp.ones_like(w)


class _Entropic:
    """`phi = exp`; `y` stays in the logarithmic domain."""

    def inverse(self, w: Array) -> Array:
        return w

    def inverse_gap(self, gap: Array, r: Array, origin: Array) -> Array:
        return gap

    def value(self, t: Array) -> Array:
        return t

    def correction(self, r: Array, e: Array, pooled: Array, blocks: "_Blocks") -> tuple[Array, Array]:
        """Exact step of the pooled value, and the size of the terms it cancels."""
        top = blocks.maximum(jnp.where(pooled, r, -jnp.inf))[..., None]
        r = jnp.where(pooled, r - top, 0)
        small = jnp.exp(r) * jnp.expm1(jnp.minimum(e, 1))
        rise = jnp.where(pooled, jnp.where(e < 1, small, jnp.exp(r + e) - jnp.exp(r)), 0)
        total, noise, weight = blocks.sums(rise, jnp.abs(rise), jnp.where(pooled, jnp.exp(r), 0))
        return jnp.log1p(_ratio(total, weight)), _ratio(noise, weight)

    def sensitivity(self, t: Array, w: Array, top: Array) -> tuple[Array, Array]:
        """Weights of `dz / softness` and of `dw` in the derivative of `v`."""
        # Exactly, t - top <= 0 and w - top <= log n; data of size 1e30 round above that.
        return jnp.exp(jnp.minimum(t - top, 1)), jnp.exp(jnp.minimum(w - top, 1 + math.log(t.shape[-1] or 1)))


Regulariser: TypeAlias = _Power | _Entropic

_REGULARISERS: dict[str, Regulariser] = {"smooth": _Entropic(), "c0": _Power(1), "c1": _Power(2), "c2": _Power(3)}
MODES = tuple(_REGULARISERS)


def _ratio(numerator: Array, denominator: Array) -> Array:
    """`numerator / denominator`; 0 / 0 is 0, so that an empty block asks for no step."""
    empty = (denominator == 0) & (numerator == 0)
    return jnp.where(empty, 0, numerator / jnp.where(empty, 1, denominator))


# Isotonic regression ---------------------------------------------------------
#
# An element alone in its block has t = r = phi^-1(w). The solver keeps e = t - r
# and reads positions relative to the seam where two halves meet, never z / softness
# itself: that number may be 1e3 where gaps of 1e-6 decide, beyond float32.


class _Sorted(NamedTuple):
    """The ascending problem: positions `z / softness`, vertices `w / unit`, validity.

    The divisions are left to the gaps, which are exact where the quotients would not be.
    """

    z: Array
    w: Array
    valid: Array
    softness: Array
    unit: Array


class _Search(NamedTuple):
    """State of the search for the pooled value at every seam of a level."""

    low: Array
    high: Array
    value: Array
    open: Array


# Rows are laid out as (..., chunks, width); a block is a run of `2 * half` chunks. One
# compiled loop serves the log2(_CHUNKS) levels of a layout, since XLA needs some 0.2 s
# to compile each loop.
_CHUNKS = 32


class _Blocks:
    """Pairs of neighbouring runs of `2^k` chunks, which meet at a seam."""

    def __init__(self, shape: tuple[int, ...], k: Array):
        *batch, chunks, width = shape
        chunk = lax.iota(k.dtype, chunks)
        parent = chunk >> (k + 1)
        right = ((chunk >> k) & 1) == 1
        leading = (1,) * len(batch)
        self.seam = ((parent << 1) | 1) << k
        self.same = parent[:, None] == parent[None, :]
        self.left = ~right.reshape(*leading, chunks, 1)
        self.last = _next_starts(parent).reshape(*leading, chunks, 1) & (positions((*leading, 1, width)) == width - 1)

    def before(self, x: Array) -> Array:
        """Value of the last left element, per chunk."""
        return x[..., -1].at[..., self.seam - 1].get(mode="promise_in_bounds")

    def after(self, x: Array) -> Array:
        """Value of the first right element, per chunk."""
        return x[..., 0].at[..., self.seam].get(mode="promise_in_bounds")

    def sums(self, *terms: Array) -> tuple[Array, ...]:
        """Sums over each block, per chunk."""
        stacked = jnp.stack([x.sum(-1) for x in terms])
        return tuple(jnp.dot(stacked, self.same.astype(stacked.dtype), precision=lax.Precision.HIGHEST))

    def maximum(self, x: Array) -> Array:
        """Maximum over each block, per chunk."""
        same = self.same.reshape((1,) * (x.ndim - 2) + self.same.shape)
        return jnp.where(same, x.max(-1)[..., None, :], -jnp.inf).max(-1)


def _next_starts(parent: Array) -> Array:
    """Whether the next chunk lies in another block, or nowhere."""
    return jnp.concatenate([parent[1:] != parent[:-1], jnp.ones(1, bool)])


def _pool(problem: _Sorted, regulariser: Regulariser) -> tuple[Array, ...]:
    """Isotonic regression by merging solved halves, `log2 n` levels.

    Returns `e` and `joined`: whether an element shares its block with the next one.
    """
    n = problem.z.shape[-1]
    size = 1 << max(n - 1, 0).bit_length()
    problem = problem._replace(**{name: _pad(getattr(problem, name), size) for name in ("z", "w", "valid")})
    e = zeros_along(problem.z, problem.w, problem.softness, problem.unit)
    state, width = (e, e > 0), 1
    while width < size:
        chunks = min(_CHUNKS, size // width)
        state = _merge_chunks(problem, state, chunks, width, regulariser)
        width *= chunks
    return tuple(x[..., :n] for x in state)


def zeros_along(*arrays: Array) -> Array:
    """Zeros that, under `shard_map`, vary over every mesh axis that one of the arrays varies over: a loop's state."""
    varying = reduce(jnp.logical_and, [x == x for x in arrays])
    return jnp.where(varying, jnp.zeros((), arrays[0].dtype), jnp.zeros((), arrays[0].dtype))


def _pad(x: Array, size: int) -> Array:
    """Pad the last axis to `size` with zeros, which are invalid as a mask."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, size - x.shape[-1])])


def _merge_chunks(problem, state, chunks, width, regulariser):
    """Merge solved runs of `width` into solved runs of `chunks * width`."""
    shape = problem.z.shape
    layout = (*shape[:-1], -1, chunks, width)
    arrays = (x.reshape(layout) for x in problem[:3])
    level = _Sorted._make((*arrays, *(x[..., None, None] for x in problem[3:])))

    def merge(k, state):
        e, joined = state
        return _merge(level, e, joined, _Blocks(level.z.shape, k), regulariser)

    state = lax.fori_loop(0, chunks.bit_length() - 1, merge, tuple(x.reshape(layout) for x in state))
    return tuple(x.reshape(shape) for x in state)


def _merge(level, e, joined, blocks, regulariser):
    """Pool what violates the order across the seam of every block."""
    r = regulariser.inverse(level.w / level.unit)
    origin = _Sorted(*(blocks.before(x)[..., None] for x in level[:2]), *level[2:])
    gap = (level.w - origin.w) / level.unit
    gap = regulariser.inverse_gap(gap, r, regulariser.inverse(origin.w / level.unit))
    # At +infinity an invalid element is in nobody's way.
    d = jnp.where(level.valid, (level.z - origin.z) / level.softness - gap, jnp.inf)
    v = d - e
    low, high = blocks.after(v), blocks.before(v)
    pooled_at = partial(_pooled, v, blocks.left)
    correction = partial(regulariser.correction, r, blocks=blocks)
    value = _pooled_value(d, correction, pooled_at, _Search(low, high, low, low < high))
    pooled = pooled_at(value) & (low < high)[..., None]
    joined |= pooled & _next(pooled) & ~blocks.last
    return jnp.where(pooled, d - value[..., None], e), joined


def _next(flags: Array) -> Array:
    """The flag of the following element, of any after the last in a row."""
    flat = flags.reshape(*flags.shape[:-2], -1)
    return jnp.roll(flat, -1, axis=-1).reshape(flags.shape)


def _pooled(v: Array, left: Array, value: Array) -> Array:
    """Left elements above `value` and right elements below it."""
    value = value[..., None]
    return jnp.where(left, v > value, v < value)


def _pooled_value(d, correction, pooled_at, start):
    """Root in `[low, high]` of `sum phi(r + d - value) - phi(r)` over what it pools.

    The sum falls with `value`, so a bracketed Newton search finds the root.
    """
    rounding = jnp.finfo(d.dtype).eps * (4 + (d.shape[-1] * d.shape[-2]) ** 0.5)

    def step(count, search):
        change, noise = correction(d - search.value[..., None], pooled_at(search.value))
        low = jnp.where(change > 0, search.value, search.low)
        high = jnp.where(change < 0, search.value, search.high)
        middle = low + (high - low) / 2
        newton = search.value + change
        outside = ~((newton >= low) & (newton <= high))
        settled = jnp.abs(change) <= rounding * noise
        bisect = (outside | (count % 4 == 3)) & ~settled
        value = jnp.where(bisect, middle, jnp.where(outside, search.value, newton))
        value = jnp.where(search.open, value, search.value)
        return _Search(low, high, value, search.open & ~settled & (low < middle) & (middle < high))

    middle = jnp.where(start.open, start.low + (start.high - start.low) / 2, start.high)
    return _bounded_while(step, start._replace(value=middle)).value


def _bounded_while(step: Callable, start: _Search) -> _Search:
    """Repeat `step(count, search)` while a search is open, at most `_MAX_STEPS` times."""

    def going(state):
        count, search = state
        return jnp.any(search.open) & (count < _MAX_STEPS)

    def advance(state):
        count, search = state
        return count + 1, step(count, search)

    return lax.while_loop(going, advance, (0, start))[1]


def positions(shape: tuple[int, ...]) -> Array:
    """`0 .. n-1` along the last axis."""
    return lax.broadcasted_iota(jnp.int32, shape, len(shape) - 1)


def _block_ends(joined: Array) -> Array:
    """Index of the last element of each element's block."""
    ends = jnp.where(joined, joined.shape[-1] - 1, positions(joined.shape))
    return lax.cummin(ends, axis=ends.ndim - 1, reverse=True)


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
    return jnp.take_along_axis(x, ends, axis=-1)


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
    top = _at_end(lax.stop_gradient(t), ends)
    by_position, by_value = _REGULARISERS[mode].sensitivity(t, w, top)
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


def _solve(problem: _Sorted, mode: str) -> tuple[Array, Array]:
    """`t = z / softness - v` of the sorted problem, differentiable, and its blocks."""
    regulariser = _REGULARISERS[mode]
    solved = lax.stop_gradient(problem)
    e, joined = _pool(solved, regulariser)
    ends = _block_ends(joined)
    t = regulariser.inverse(solved.w / solved.unit) + e
    return _dual(mode, problem.z, problem.w / problem.unit, problem.softness, t, ends), ends


def _project_sorted(problem: _Sorted, mode: str) -> Array:
    """Projection of `z / softness` onto the permutahedron of `w / unit`, times `unit`."""
    t, ends = _solve(problem, mode)
    return jnp.where(_alone(ends), problem.w, _REGULARISERS[mode].value(t) * problem.unit)


# Public ----------------------------------------------------------------------


def working_copies(z: Array, softness: Softness, mask: Array | None) -> tuple[Array, Array, Array]:
    """Working copies: at least float32, masked elements 0, softness with a last axis."""
    dtype = z.dtype if z.dtype.itemsize >= 4 else jnp.dtype(jnp.float32)
    mask = jnp.ones(z.shape, bool) if mask is None else jnp.broadcast_to(mask, z.shape)
    z = jnp.where(mask, z, 0).astype(dtype)
    # Below the smallest normal number a division would overflow on ordinary gaps.
    softness = jnp.maximum(jnp.asarray(softness, dtype), jnp.finfo(dtype).tiny)
    return z, softness.reshape((1,) * (z.ndim - 1 - softness.ndim) + (*softness.shape, 1)), mask


def ascending_order(z: Array, mask: Array) -> Array:
    """Indices that sort `z`, masked elements last in their original order."""
    operands = ((~mask).astype(jnp.int32), lax.stop_gradient(z), positions(z.shape))
    return lax.sort(operands, num_keys=2)[2] if z.size else operands[2]


def inverse_order(order: Array) -> Array:
    """Inverse permutation along the last axis."""
    return jnp.put_along_axis(order, order, positions(order.shape), axis=-1, inplace=False)


def sorted_by(order: Array, *arrays: Array) -> tuple[Array, ...]:
    return tuple(jnp.take_along_axis(x, order, axis=-1) for x in arrays)


def grid(mask: Array, z: Array) -> tuple[Array, Array]:
    """`0 .. n-1` in the shape of `z`, and `max(m-1, 1)`, `m` the number left by the mask."""
    steps = jnp.maximum(mask.sum(-1, keepdims=True) - 1, 1).astype(z.dtype)
    return positions(z.shape).astype(z.dtype), steps


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
    t, _ = _solve(_Sorted(s, w, jnp.ones(s.shape, bool), one, one), mode)
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
    problem = _Sorted(z, tied(w, tie_ends(w, valid)), valid, softness, jnp.ones_like(softness))
    (y,) = sorted_by(inverse_order(order), _project_sorted(problem, mode))
    return jnp.where(mask, y, 0).astype(dtype)


def soft_sort(z: Array, softness: Softness = 0.1, mode: str = "smooth", mask: Array | None = None) -> Array:
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
    z, valid = sorted_by(ascending_order(z, mask), z, mask)
    index, steps = grid(mask, z)
    problem = _Sorted(index, tied(z, tie_ends(z, valid)), valid, steps * softness, jnp.ones_like(steps))
    return jnp.where(valid, _project_sorted(problem, mode), 0).astype(dtype)


def soft_rank(z: Array, softness: Softness = 0.1, mode: str = "smooth", mask: Array | None = None) -> Array:
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
    z, valid = sorted_by(order, z, mask)
    index, steps = grid(mask, z)
    ranks = _project_sorted(_Sorted(z, index + 1, valid, softness, steps), mode)
    (ranks,) = sorted_by(inverse_order(order), ranks)
    return jnp.where(mask, ranks, 0).astype(dtype)
