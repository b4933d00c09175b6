"""Regularisers of the projection onto the permutahedron, and what a block of an isotonic regression needs of them.

A block pools the elements of one dual value `v`: with `t = z / softness - v` and `r = phi^-1(w)`,

    sum phi(t_i) = sum w_i = sum phi(r_i).

Two neighbouring blocks that violate the order are pooled at the value `v` between theirs where
`sum phi(t_i)` is unchanged. For `phi` a power or exponential this needs no more of a block than its size and a few
moments of `t`, and no number larger than the distance of the two values, so that nothing cancels in float32.
"""

import math
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import Array

Moments: TypeAlias = tuple[Array, ...]


class Solved(NamedTuple):
    """A block: how many elements it has, and their moments."""

    size: Array
    moments: Moments


class Power:
    """`phi(t) = sign(t) abs(t)^order`, the dual of the p-norm, p = 1 + 1 / order. Moments: `sum t`, `sum t^2`."""

    def __init__(self, order: int):
        self.order = order
        self.divides_signs = order == 2  # a block's moments do not tell where `t` changes sign

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
            return quotient(gap, r * r + r * origin + origin * origin)
        return jnp.where(r * origin >= 0, quotient(gap, jnp.abs(r) + jnp.abs(origin)), r - origin)

    def moments(self, r: Array) -> Moments:
        """Of blocks of one element."""
        return (r, r * r)[: self.order - 1]

    def pool(self, left: Solved, right: Solved, fall: Array, shift: Array) -> tuple[Array, Moments]:
        """How far below the left value the pooled one lies, `fall` the distance of the right one; its moments."""
        return (_pool_means, _pool_squares, _pool_cubes)[self.order - 1](left, right, fall)

    def sensitivity(self, t: Array, w: Array, top: Array) -> tuple[Array, Array]:
        """Weights of `dz / softness` and of `dw` in the derivative of `v`."""
        return self.slope(t), jnp.ones_like(w)


def _pool_means(left: Solved, right: Solved, fall: Array) -> tuple[Array, Moments]:
    return fall * right.size / (left.size + right.size), ()


def _pool_squares(left: Solved, right: Solved, fall: Array) -> tuple[Array, Moments]:
    """Where all `t` have one sign: `size x^2 - 2 total x + excess = 0`, `x` from the value farther from 0 in `t`."""
    (left_sum,), (right_sum,) = left.moments, right.moments
    positive = left_sum + right_sum >= 0
    sign = jnp.where(positive, 1, -1)
    moved, moved_sum = jnp.where(positive, left.size, right.size), sign * jnp.where(positive, left_sum, right_sum)
    total = sign * (left_sum + right_sum) + moved * fall
    excess = fall * (2 * moved_sum + moved * fall)
    root = jnp.sqrt(jnp.maximum(total * total - (left.size + right.size) * excess, 0))
    x = jnp.minimum(quotient(excess, total + root), fall)
    return jnp.where(positive, fall - x, x), (sign * root,)


def _pool_cubes(left: Solved, right: Solved, fall: Array) -> tuple[Array, Moments]:
    """`3 second x - 3 first x^2 + size x^3 = excess`, `x` from the right value; moments about it."""
    size = left.size + right.size
    first = left.moments[0] + left.size * fall + right.moments[0]
    second = left.moments[1] + fall * (2 * left.moments[0] + left.size * fall) + right.moments[1]
    excess = fall * (3 * left.moments[1] + fall * (3 * left.moments[0] + left.size * fall))
    grown = lambda x: x * (3 * second - x * (3 * first - x * size))
    centre = first / size  # the inflection: Newton's steps to a root on its left rise from 0, on its right fall
    x = jnp.where((centre > 0) & (grown(centre) >= excess), 0, fall)
    for _ in range(_CUBE_STEPS):
        slope = 3 * (second - x * (2 * first - x * size))
        x = jnp.clip(x + quotient(excess - grown(x), jnp.maximum(slope, 0)), 0, fall)
    return fall - x, (first - x * size, jnp.maximum(second - x * (2 * first - x * size), 0))


# A root at an inflection is neared by a third a step: after 12 its cube is right to 5e-7.
_CUBE_STEPS = 12


class Entropic:
    """`phi = exp`; `y` stays in the logarithmic domain. Moment: `log sum exp(w)`, relative to the first `w`."""

    divides_signs = False

    def inverse(self, w: Array) -> Array:
        return w

    def inverse_gap(self, gap: Array, r: Array, origin: Array) -> Array:
        return gap

    def value(self, t: Array) -> Array:
        return t

    def moments(self, r: Array) -> Moments:
        """Of blocks of one element."""
        return (jnp.zeros_like(r),)

    def pool(self, left: Solved, right: Solved, fall: Array, shift: Array) -> tuple[Array, Moments]:
        """How far below the left value the pooled one lies, `fall` the distance of the right one; its moment.

        `shift` is the distance of the blocks' first `w`.
        """
        a, b = left.moments[0], right.moments[0] + shift
        both = jnp.logaddexp(a, b)
        small = -jnp.log1p(jnp.exp(b - both) * jnp.expm1(-jnp.minimum(fall, 1)))
        return jnp.where(fall < 1, small, both - jnp.logaddexp(a, b - fall)), (both,)

    def sensitivity(self, t: Array, w: Array, top: Array) -> tuple[Array, Array]:
        """Weights of `dz / softness` and of `dw` in the derivative of `v`."""
        # Exactly, t - top <= 0 and w - top <= log n; data of size 1e30 round above that.
        return jnp.exp(jnp.minimum(t - top, 1)), jnp.exp(jnp.minimum(w - top, 1 + math.log(t.shape[-1] or 1)))


def quotient(numerator: Array, denominator: Array) -> Array:
    """`numerator / denominator`; 0 where both are 0, or only the denominator is."""
    empty = denominator == 0
    return jnp.where(empty, 0, numerator / jnp.where(empty, 1, denominator))


Regulariser: TypeAlias = Power | Entropic

REGULARISERS: dict[str, Regulariser] = {"smooth": Entropic(), "c0": Power(1), "c1": Power(2), "c2": Power(3)}
