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
        return (w, jnp.sign(w) * jnp.sqrt(jnp.abs(w)), jnp.cbrt(w))[self.order - 1]

    def value(self, t: Array) -> Array:
        return t * jnp.abs(t) ** (self.order - 1) if self.order > 1 else t

    def slope(self, t: Array) -> Array:
        return self.order * jnp.abs(t) ** (self.order - 1) if self.order > 1 else jnp.ones_like(t)

    def rise(self, r: Array, e: Array) -> Array:
        """`phi(r + e) - phi(r)` of order 2, without cancellation."""
        t = r + e
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

    def drop(self, left: Solved, right: Solved, fall: Array, shift: Array) -> Array:
        """How far below the left value the pooled one lies; the right one lies `fall > 0` below the left."""
        return (_drop_of_means, _drop_of_squares, _drop_of_cubes)[self.order - 1](left, right, fall)

    def joined(self, left: Solved, right: Solved, drop: Array, fall: Array, shift: Array) -> Moments:
        """The moments of the pooled block."""
        return tuple(map(jnp.add, _moved(left, drop), _moved(right, drop - fall)))

    def sensitivity(self, t: Array, w: Array, top: Array) -> tuple[Array, Array]:
        """Weights of `dz / softness` and of `dw` in the derivative of `v`."""
        return self.slope(t), jnp.ones_like(w)


def _moved(block: Solved, by: Array) -> Moments:
    """The moments of `t + by`."""
    total = block.moments[:1]
    return tuple(x + block.size * by for x in total) + tuple(
        x + by * (2 * total[0] + block.size * by) for x in block.moments[1:]
    )


def _drop_of_means(left: Solved, right: Solved, fall: Array) -> Array:
    return fall * right.size / (left.size + right.size)


def _drop_of_squares(left: Solved, right: Solved, fall: Array) -> Array:
    """Where all `t` have one sign: `size x^2 - 2 total x + excess = 0`, `x` from the value that leaves `t` larger."""
    (left_sum,), (right_sum,) = left.moments, right.moments
    positive = left_sum + right_sum >= 0
    moved = jnp.where(positive, left.size, right.size)
    moved_sum = jnp.abs(jnp.where(positive, left_sum, right_sum))
    total = jnp.abs(left_sum + right_sum) + moved * fall
    excess = fall * (2 * moved_sum + moved * fall)
    root = jnp.sqrt(jnp.maximum(total * total - (left.size + right.size) * excess, 0))
    x = jnp.minimum(quotient(excess, total + root), fall)
    return jnp.where(positive, fall - x, x)


def _drop_of_cubes(left: Solved, right: Solved, fall: Array) -> Array:
    """`3 second x - 3 first x^2 + x^3 = excess`, `x` from the right value and means about it, by Cardano's formula."""
    size = left.size + right.size
    first, second = (x / size for x in map(jnp.add, _moved(left, fall), right.moments))
    excess = fall * (3 * left.moments[1] + fall * (3 * left.moments[0] + left.size * fall)) / size
    unit = jnp.sqrt(second) + fall
    mean, part = first / unit, excess / unit**3
    spread = jnp.maximum(second / unit**2 - mean**2, 0)
    rest = mean * (mean**2 + 3 * spread) - part  # u^3 + 3 spread u = rest, u the mean about the root
    h = jnp.cbrt(jnp.abs(rest) / 2 + jnp.sqrt(spread**3 + rest**2 / 4))
    u = quotient(rest, h * h + spread + quotient(spread, h) ** 2)
    x = jnp.clip(first - u * unit, 0, fall)
    # a Newton step gives a small x all its digits
    slope = 3 * (second - x * (2 * first - x))
    newton = x + quotient(excess - x * (3 * second - x * (3 * first - x)), slope)
    return fall - jnp.where(u * u + spread > 1e-3, jnp.clip(newton, 0, fall), x)


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

    def drop(self, left: Solved, right: Solved, fall: Array, shift: Array) -> Array:
        """How far below the left value the pooled one lies; the right one lies `fall > 0` below the left.

        `shift` is the distance of the blocks' first `w`.
        """
        a, b = left.moments[0], right.moments[0] + shift
        both = jnp.logaddexp(a, b)
        small = -jnp.log1p(jnp.exp(b - both) * jnp.expm1(-jnp.minimum(fall, 1)))
        return jnp.where(fall < 1, small, both - jnp.logaddexp(a, b - fall))

    def joined(self, left: Solved, right: Solved, drop: Array, fall: Array, shift: Array) -> Moments:
        """The moment of the pooled block."""
        return (jnp.logaddexp(left.moments[0], right.moments[0] + shift),)

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
