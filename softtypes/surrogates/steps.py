"""The sigmoidal family S, its integral, and the elementwise functions built on the two.

`x` is a float array, `s > 0` the softness: a Python float, or an array that broadcasts against `x`.
A `Step` is written in units of the softness, `u = x / s`. Beyond its reach it is exactly 0 or 1, and there
the functions below switch to their hard form, so that no quotient overflows and no infinity meets a zero.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from softtypes.surrogates import along
from softtypes.surrogates.ratio import Softness, ratio


class Step(NamedTuple):
    """A member of the family: `value(u) = S`, `sign(u) = 2 S - 1`, `ramp(u)` the integral of S, and its reach.

    `tail(a, b)` is the integral of `S(-u)` from a to b, both within `[0, reach]`.
    """

    value: Callable[[Array], Array]
    sign: Callable[[Array], Array]  # on its own, since 2 S - 1 has lost its digits near 0
    ramp: Callable[[Array], Array]
    tail: Callable[[Array, Array], Array]  # on its own, since the difference of two ramps has lost its digits
    reach: float | None  # None: an exponential tail, cut where the dtype can no longer show it

    def limit(self, dtype) -> float:
        return self.reach or 1.5 * math.log(float(jnp.finfo(dtype).max))

    def end(self, dtype) -> float:
        """Beyond it the integral differs from the hard one by nothing that counts."""
        return self.reach or 2 - 1.5 * math.log(float(jnp.finfo(dtype).eps))


def _polynomial(sign: Callable[[Array], Array], ramp: Callable[[Array], Array], degree: int) -> Step:
    """A compact step of radius 5 softnesses, from its polynomials in `v = u / 5`."""

    def tail(a: Array, b: Array) -> Array:
        """By Gauss's nodes, which integrate polynomials exactly."""
        nodes, weights = (row.tolist() for row in np.polynomial.legendre.leggauss(degree // 2 + 1))
        middle, half = (a + b) / 10, (b - a) / 10
        return 5 / 2 * half * sum(w * (1 - sign(middle + t * half)) for t, w in zip(nodes, weights, strict=True))

    return Step(lambda u: (1 + sign(u / 5)) / 2, lambda u: sign(u / 5), lambda u: 5 * ramp(u / 5), tail, 5.0)


def _logistic_tail(a: Array, b: Array) -> Array:
    """`log1p(exp(-a)) - log1p(exp(-b))`, as one logarithm."""
    near, far = (along.parted(jnp.exp(-u)) for u in (a, b))
    gap = b - a
    return jnp.log1p(jnp.where(jnp.abs(gap) < 1 / 4, far * _small_expm1(gap), near - far) / (1 + far))


def _small_expm1(x: Array) -> Array:
    """`exp(x) - 1` of `|x| < 1 / 4`, by the terms of its series that count: fewer operations than XLA's own."""
    eps = float(jnp.finfo(x.dtype).eps)
    terms = next(k for k in range(1, 32) if 0.25**k < eps * math.factorial(k + 1))
    series = 1 / math.factorial(terms)
    for k in range(terms - 1, 0, -1):
        series = 1 / math.factorial(k) + x * series
    return x * series


SMOOTH = Step(jax.nn.sigmoid, lambda u: jnp.tanh(u / 2), jax.nn.softplus, _logistic_tail, None)
C0 = _polynomial(lambda v: v, lambda v: (1 + v) ** 2 / 4, 1)
C1 = _polynomial(lambda v: v * (3 - v**2) / 2, lambda v: 3 / 16 + v / 2 + v**2 * (6 - v**2) / 16, 3)
C2 = _polynomial(
    lambda v: v * (15 - 10 * v**2 + 3 * v**4) / 8,
    lambda v: 5 / 32 + v / 2 + v**2 * (15 - 5 * v**2 + v**4) / 32,
    5,
)


def _within(x: Array, s: Softness, reach: float) -> tuple[Array, Array, Array]:
    """`inside = |x| < reach s`, with `x` and `x / s` zeroed outside so that both are safe to differentiate."""
    inside = jnp.abs(x) < reach * s
    x = jnp.where(inside, x, 0)
    return inside, x, ratio(x, s)


def _saturates(s: Softness, kind: Step) -> bool:
    """Whether nothing has to be zeroed: the logistic function saturates by itself, and a constant has no derivative."""
    return kind.reach is None and isinstance(s, float)


def step(x: Array, s: Softness, kind: Step) -> Array:
    """`S(x / s)`."""
    if _saturates(s, kind):
        return kind.value(x / s)
    inside, _, u = _within(x, s, kind.limit(x.dtype))
    return jnp.where(inside, kind.value(u), (1 + jnp.sign(x)) / 2)


def sign(x: Array, s: Softness, kind: Step) -> Array:
    """`2 S(x / s) - 1`."""
    if _saturates(s, kind):
        return kind.sign(x / s)
    inside, _, u = _within(x, s, kind.limit(x.dtype))
    return jnp.where(inside, kind.sign(u), jnp.sign(x))


def absolute(x: Array, s: Softness, kind: Step) -> Array:
    """`x (2 S(x / s) - 1)`."""
    if _saturates(s, kind):
        return _logistic_absolute(x, s)
    inside, x_in, u = _within(x, s, kind.limit(x.dtype))
    return jnp.where(inside, x_in * kind.sign(u), jnp.abs(x))


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _logistic_absolute(x: Array, s: float) -> Array:
    return x * SMOOTH.sign(x / s)


@_logistic_absolute.defjvp
def _logistic_absolute_jvp(s, primals, tangents):
    (x,), (dx,) = primals, tangents
    sign = SMOOTH.sign(x / s)
    finite = jnp.where(jnp.isinf(x), 0, x)
    return _logistic_absolute(x, s), dx * (sign + finite * ((1 - sign * sign) / (2 * s)))


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _logistic_ramp(x: Array, s: float) -> Array:
    return jnp.maximum(x, 0) + _logistic_rest(x, s)


@_logistic_ramp.defjvp
def _logistic_ramp_jvp(s, primals, tangents):
    return _logistic_ramp(*primals, s), tangents[0] * SMOOTH.value(primals[0] / s)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _logistic_excess(x: Array, s: float) -> Array:
    return _of_numbers(x, _logistic_rest(x, s))


@_logistic_excess.defjvp
def _logistic_excess_jvp(s, primals, tangents):
    (x,), (dx,) = primals, tangents
    return _logistic_excess(x, s), dx * _of_numbers(x, SMOOTH.value(x / s) - jnp.heaviside(x, 0.5))


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _logistic_clip(x: Array, low: Array, high: Array, s: float) -> Array:
    return _clip(x, low, high, s, SMOOTH)


@_logistic_clip.defjvp
def _logistic_clip_jvp(s, primals, tangents):
    x, low, high = primals
    dx, dlow, dhigh = tangents
    into, beyond = (along.parted(SMOOTH.value(_of_numbers(gap, gap) / s)) for gap in (x - low, x - high))
    width = _of_numbers(low - high, jnp.expm1((low - high) / s))
    return _logistic_clip(*primals, s), dlow * (1 - into) + dhigh * beyond - dx * (into * (1 - beyond) * width)


def _of_numbers(x: Array, y: Array) -> Array:
    """`y`, or nothing for the difference of two infinities."""
    return jnp.where(jnp.isnan(x), 0, y)


def _logistic_rest(x: Array, s: float) -> Array:
    """`s R(-|x| / s)`, which the integral has above `max(x, 0)`."""
    return s * jnp.log1p(jnp.exp(jnp.abs(x) / -s))


def _ramp(x: Array, u: Array, s: Softness, kind: Step, gated: bool) -> Array:
    return x * kind.value(u) if gated else s * kind.ramp(u)


def softrelu(x: Array, s: Softness, kind: Step, gated: bool) -> Array:
    """`s R(x / s)` with R the integral of S, or `x S(x / s)` if gated."""
    if _saturates(s, kind) and not gated:
        return _logistic_ramp(x, s)
    inside, x_in, u = _within(x, s, kind.limit(x.dtype))
    return jnp.where(inside, _ramp(x_in, u, s, kind, gated), jnp.maximum(x, 0))


def _excess(x: Array, s: Softness, kind: Step, gated: bool) -> Array:
    """`softrelu(x) - max(x, 0)`: even, and nothing far from zero, so that it corrects a hard form."""
    if _saturates(s, kind) and not gated:
        return _logistic_excess(x, s)
    inside, x_in, u = _within(x, s, kind.end(x.dtype))
    return jnp.where(inside, _ramp(x_in, u, s, kind, gated) - jnp.maximum(x_in, 0), 0)


def maximum(x: Array, y: Array, s: Softness, kind: Step, gated: bool) -> Array:
    """`y + softrelu(x - y)`, as the hard maximum and its excess: infinities stay what they are."""
    return jnp.maximum(x, y) + _excess(x - y, s, kind, gated)


def minimum(x: Array, y: Array, s: Softness, kind: Step, gated: bool) -> Array:
    """`x - softrelu(x - y)`."""
    return jnp.minimum(x, y) - _excess(x - y, s, kind, gated)


def _clip(x: Array, low: Array, high: Array, s: Softness, kind: Step) -> Array:
    """The hard form, and by how much the excess at the lower bound is larger than the one at the upper bound."""
    end = jnp.minimum(kind.end(x.dtype) * s, float(jnp.finfo(x.dtype).max))
    below, above = (along.parted(jnp.where(gap < end, gap, end)) for gap in (jnp.abs(x - low), jnp.abs(x - high)))
    return jnp.clip(x, low, high) + s * kind.tail(ratio(below, s), ratio(above, s))


def clip(x: Array, low: Array | None, high: Array | None, s: Softness, kind: Step, gated: bool) -> Array:
    """`low + softrelu(x - low) - softrelu(x - high)`; a bound that is None is not there."""
    if low is not None and high is not None:
        low = jnp.minimum(low, high)  # as jnp's, which is the upper bound where they are the wrong way round
        if not gated:  # the difference of two softrelus loses the digits that both have of a large softness
            return _logistic_clip(x, low, high, s) if _saturates(s, kind) else _clip(x, low, high, s, kind)
    out = jnp.clip(x, low, high)
    if low is not None:
        out = out + _excess(x - low, s, kind, gated)
    if high is not None:
        out = out - _excess(x - high, s, kind, gated)
    return out


def rounded(x: Array, s: Softness, kind: Step, neighbors: int) -> Array:
    """`sum_m m (S(x - m + 1/2) - S(x - m - 1/2))` over the `2 neighbors + 1` integers m nearest floor(x).

    With `m = floor(x) + k` the sum splits into `floor(x)` times the total weight and a sum over the edges between the
    integers, in pairs around floor(x): of what rises at the upper one and of what lacks at the lower one. So a large x
    keeps every digit. The edges are few, and as terms of one sum they take one pass over memory.
    """
    finite = jnp.isfinite(x)
    base = jnp.floor(jnp.where(finite, x, 0))
    fraction = jnp.where(finite, x, 0) - base
    rises = [step(fraction - (k + 0.5), s, kind) for k in range(neighbors + 1)]
    lacks = [step(-(k + 0.5) - fraction, s, kind) for k in range(neighbors + 1)]
    offset = sum(rise - lack for rise, lack in zip(rises[:-1], lacks[:-1], strict=True))
    total = 1 - rises[-1] - lacks[-1]
    return jnp.where(finite, base * total + offset - neighbors * (rises[-1] - lacks[-1]), x)
