"""Soft sorting and ranking by a smooth relaxation of the permutahedron.

For ascending `z` the hull of the permutations of `w` asks of an ascending `y` that
`y_1 + ... + y_k >= b_k`, `b_k` the sum of the `k` smallest `w`, with equality for `n`.
Here `b_k` is smoothed by the elementary symmetric polynomial `e_k`,

    b_k = -tau log e_k(exp(-w / tau)),    tau = min(softness, 1),

and the inequalities, like the order of `y`, are kept by entropies `H(t) = t - t log t`
of what is left of them, the slacks `s_k` and the gaps `d_k`:

    argmax_y  <z, y> / softness + sum_k H(s_k) + sum_k H(d_k),
    s_k = y_1 + ... + y_k - b_k,    d_k = y_(k+1) - y_k.

The optimum has `s = exp(-alpha)`, `d = exp(-beta)`, `alpha = gaps of z / softness + L beta`
with the second difference `L = tridiag(-1, 2, -1)`; `beta` minimises a convex dual.

Values are C-infinity: their `z` is the fixed grid. Ranks are only so between ties,
for the gaps `d` are positive: at a tie the elements share the mean of what the two
orders would give them. The entropies carry the unit of `w`, so that the result is
equivariant to shifts but not to scale.

Source: softjax 0.1.1, method `smooth_sort` (no paper; the bounds are Newton's and
Maclaurin's elementary means, the hull is Rado's theorem).

Everything acts on the last axis; `softness` and `mask` as in `permutahedron`.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates.along import inverse
from softtypes.surrogates.permutahedron import (
    Softness,
    ascending_order,
    block_mean,
    count_of,
    grid,
    sorted_by,
    tie_ends,
    tied,
    working_copies,
)
from softtypes.surrogates.platform import nothing

_MAX_STEPS = 200


# Bounds ----------------------------------------------------------------------


def _smooth_order_statistics(w: Array, tau: Array, valid: Array) -> tuple[Array, Array]:
    """`mu_k = b_k - b_(k-1)`: the smoothed ascending values, as a centre and what they are off it, `O(n^2)`.

    The recurrence runs on the ratios `e_k / e_(k-1)`: the bounds themselves are sums
    over half the row, and their differences would lose its digits.
    """
    centre = lax.stop_gradient(_middle(w, valid))
    logits = jnp.where(valid, (centre - w) / tau, 0)
    # Stands for log 0; finite, so that differences of two of them are no NaN.
    log_zero = jnp.finfo(w.dtype).min / 4

    def include(ratio, element):
        logit, present = element
        previous = jnp.pad(ratio[..., :-1], _one_before(ratio), constant_values=-log_zero)
        grown = jnp.logaddexp(ratio, logit) - jnp.logaddexp(logit - previous, 0)
        return jnp.where(present, grown, ratio), None

    elements = tuple(jnp.moveaxis(x, -1, 0)[..., None] for x in (logits, valid))
    start = nothing(logits.shape, logits, tau) + log_zero
    ratio = lax.scan(include, start, elements)[0]
    return centre, jnp.where(valid, -tau * ratio, 0)


def _middle(w: Array, valid: Array) -> Array:
    """Of the range of a row, `(..., 1)`; of a constant one the constant itself, which a mean may round."""
    least = jnp.min(w, axis=-1, keepdims=True, initial=jnp.inf, where=valid)
    spread = jnp.max(w, axis=-1, keepdims=True, initial=-jnp.inf, where=valid) - least
    return jnp.where(valid.any(-1, keepdims=True), least + spread / 2, 0)


def _one_before(x: Array) -> list[tuple[int, int]]:
    return [(0, 0)] * (x.ndim - 1) + [(1, 0)]


# Dual ------------------------------------------------------------------------


class _Gaps(NamedTuple):
    """Gaps of `z / softness` and of `mu`, and which of them are between unmasked elements."""

    z: Array
    mu: Array
    used: Array


def _second_difference(x: Array) -> Array:
    """`L x`, zeros beyond both ends."""
    wide = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(1, 1)])
    return 2 * x - wide[..., :-2] - wide[..., 2:]


def _slack(beta: Array, gaps: _Gaps) -> Array:
    """`s = exp(-alpha)`, capped where squares would overflow."""
    cap = 0.4 * jnp.log(jnp.finfo(beta.dtype).max)
    return jnp.where(gaps.used, jnp.exp(jnp.minimum(-gaps.z - _second_difference(beta), cap)), 0)


def _spread(beta: Array, gaps: _Gaps) -> Array:
    """`d = exp(-beta)`, 1 where unused, to keep the Hessian regular."""
    cap = 0.4 * jnp.log(jnp.finfo(beta.dtype).max)
    return jnp.where(gaps.used, jnp.exp(jnp.minimum(-beta, cap)), 1)


def _hessian(s: Array, d: Array, used: Array, x: Array) -> Array:
    """`(L diag(s) L + diag(d)) x` on the used gaps."""
    x = jnp.where(used, x, 0)
    return jnp.where(used, _second_difference(s * _second_difference(x)), 0) + d * x


def _ahead(x: Array, k: int) -> Array:
    """The element `k` places on, 0 beyond the end."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, k)])[..., k:]


def _newton_solve(s: Array, d: Array, used: Array, rhs: Array) -> Array:
    """Solve with the Hessian, a pentadiagonal `L D L^T`, in two passes."""
    before, after = jnp.pad(s[..., :-1], _one_before(s)), _ahead(s, 1)
    diagonal = jnp.where(used, before + 4 * s + after, 0) + d
    bands = (diagonal, jnp.where(_ahead(used, 1), -2 * (s + after), 0))
    bands += (jnp.where(_ahead(used, 2), after, 0), jnp.where(used, rhs, 0))
    bands = tuple(jnp.moveaxis(x, -1, 0) for x in bands)
    zero = 0 * bands[0][0]
    factors = lax.scan(_eliminate, ((zero + 1, zero, zero, zero), (zero + 1, zero, zero)), bands)[1]
    return jnp.moveaxis(lax.scan(_substitute, (zero, zero), factors, reverse=True)[1], 0, -1)


def _eliminate(carry: tuple, row: tuple[Array, ...]) -> tuple[tuple, tuple]:
    """One row of the factorisation: pivot, two multipliers, right-hand side."""
    (pivot1, near1, far1, rhs1), (pivot2, far2, rhs2) = carry
    diagonal, near, far, rhs = row
    pivot = diagonal - pivot1 * near1**2 - pivot2 * far2**2
    pivot = jnp.maximum(pivot, jnp.finfo(pivot.dtype).eps * diagonal)
    near, far = (near - pivot1 * near1 * far1) / pivot, far / pivot
    rhs = rhs - near1 * rhs1 - far2 * rhs2
    return ((pivot, near, far, rhs), (pivot1, far1, rhs1)), (pivot, near, far, rhs)


def _substitute(carry: tuple[Array, Array], factor: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
    after, second = carry
    pivot, near, far, rhs = factor
    x = rhs / pivot - near * after - far * second
    return (x, after), x


class _Descent(NamedTuple):
    """Newton iterate of the dual, its last step and whether it still moves."""

    beta: Array
    change: Array
    open: Array


def _minimise(gaps: _Gaps) -> Array:
    """The dual's minimum by damped Newton steps.

    A sum of exponentials is generalised self-concordant: with `m` the largest change
    of an exponent, the step `log(1 + m) / m` descends (Sun, Tran-Dinh 2018).
    """
    tiny = jnp.finfo(gaps.mu.dtype).tiny
    scale = jnp.max(jnp.abs(gaps.mu), axis=-1, keepdims=True, initial=0)
    floor = jnp.maximum(jnp.finfo(gaps.mu.dtype).eps * scale, tiny)
    beta = jnp.where(gaps.used, -jnp.log(jnp.maximum(gaps.mu, floor)), 0)
    start = _Descent(beta, 0 * scale + jnp.inf, jnp.any(gaps.used, axis=-1, keepdims=True))

    def going(state):
        return (state[0] < _MAX_STEPS) & jnp.any(state[1].open)

    return lax.while_loop(going, lambda state: (state[0] + 1, _descend(state[1], gaps)), (0, start))[1].beta


def _descend(state: _Descent, gaps: _Gaps) -> _Descent:
    s, d = _slack(state.beta, gaps), _spread(state.beta, gaps)
    gradient = jnp.where(gaps.used, gaps.mu - _second_difference(s) - d, 0)
    direction = -_newton_solve(s, d, gaps.used, gradient)
    both = jnp.maximum(jnp.abs(direction), jnp.abs(_second_difference(direction)))
    change = jnp.max(both, axis=-1, keepdims=True, initial=0)
    damping = jnp.where(change > 1e-3, jnp.log1p(change) / jnp.maximum(change, 1e-3), 1)
    beta = jnp.where(state.open, state.beta + damping * direction, state.beta)
    # Rounding stops the decrease in the end, above the tolerance if ill-conditioned.
    stalled = (change < 0.01) & (change >= state.change)
    settled = change <= jnp.finfo(beta.dtype).eps ** 0.75
    return _Descent(beta, change, state.open & ~settled & ~stalled)


@jax.custom_jvp
def _dual(gaps: _Gaps, beta: Array) -> Array:
    """`beta` as solved; its derivative is that of `mu gaps = L s(beta) + d(beta)`."""
    return beta


@_dual.defjvp
def _dual_jvp(primals, tangents):
    gaps, _ = primals
    beta = _dual(*primals)
    s, d = _slack(beta, gaps), _spread(beta, gaps)
    change = jnp.where(gaps.used, tangents[0].mu + _second_difference(s * tangents[0].z), 0)
    matvec, solve = partial(_hessian, s, d, gaps.used), partial(_newton_solve, s, d, gaps.used)
    return beta, -lax.custom_linear_solve(matvec, change, lambda _, rhs: solve(rhs), symmetric=True)


def _relax(z: Array, unit: Array, mu: Array, valid: Array) -> Array:
    """`y` of the sorted problem for `z / unit`: `mu` moved by the slacks.

    Gaps are divided, not `z`: a fused multiply-add would leave the rounding of a large quotient in a gap of 0.
    """
    z, mu, valid = jnp.broadcast_arrays(z, mu, valid)
    if z.shape[-1] < 2:
        return mu
    used = valid[..., 1:]
    gaps = (jnp.diff(z, axis=-1) / unit, jnp.diff(mu, axis=-1))
    gaps = _Gaps._make((*(jnp.where(used, gap, 0) for gap in gaps), used))
    beta = _dual(gaps, lax.stop_gradient(_minimise(lax.stop_gradient(gaps))))
    return mu + jnp.diff(jnp.pad(_slack(beta, gaps), [(0, 0)] * (z.ndim - 1) + [(1, 1)]), axis=-1)


# Public ----------------------------------------------------------------------


def soft_sort(z: Array, softness: Softness = 0.1, mask: Array | None = None) -> Array:
    """Soft values of `sort(z)`, ascending; never standardised by the caller.

    Args:
        z: values, `(..., n)`.
        softness: positive.
        mask: `(..., n)`, False drops the element.

    Returns:
        `(..., n)`: the unmasked values ascending, then zeros.
    """
    dtype = z.dtype
    z, softness, mask = working_copies(z, softness, mask)
    z, valid = sorted_by(ascending_order(z, mask), z, mask)
    index, steps = grid(z, count_of(mask))
    centre, mu = _smooth_order_statistics(z, jnp.minimum(softness, 1), valid)
    return jnp.where(valid, centre + _relax(index, steps * softness, mu, valid), 0).astype(dtype)


def soft_rank(z: Array, softness: Softness = 0.1, mask: Array | None = None) -> Array:
    """Soft ascending ranks, 1-based; `z` is never standardised by the caller.

    Args:
        z: values, `(..., n)`.
        softness: positive.
        mask: `(..., n)`, False drops the element.

    Returns:
        `(..., n)`: ranks among the unmasked; 0 where masked.
    """
    dtype = z.dtype
    z, softness, mask = working_copies(z, softness, mask)
    order = ascending_order(z, mask)
    z, valid = sorted_by(order, z, mask)
    index, steps = grid(z, count_of(mask))
    centre, mu = _smooth_order_statistics((index + 1) / steps, jnp.minimum(softness, 1), valid)
    ends = tie_ends(z, valid)
    ranks = block_mean(centre + _relax(tied(z, ends), softness, mu, valid), ends) * steps
    (ranks,) = sorted_by(inverse(order), ranks)
    return jnp.where(mask, ranks, 0).astype(dtype)
