"""The sigmoidal family S, its integral, and the elementwise functions built on the two.

`x` is a float array, `s > 0` the softness: a Python float, or an array that broadcasts against `x`.
A `Step` is written in units of the softness, `u = x / s`. Beyond its reach it is exactly 0 or 1, and there
the functions below switch to their hard form, so that no quotient overflows and no infinity meets a zero.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from softtypes.surrogates.ratio import Softness, ratio


class Step(NamedTuple):
    """A member of the family: `value(u) = S`, `sign(u) = 2 S - 1`, `ramp(u)` the integral of S, and its reach."""

    value: Callable[[Array], Array]
    sign: Callable[[Array], Array]  # on its own, since 2 S - 1 has lost its digits near 0
    ramp: Callable[[Array], Array]
    reach: float | None  # None: an exponential tail, cut where the dtype can no longer show it

    def limit(self, dtype) -> float:
        return self.reach or 1.5 * math.log(float(jnp.finfo(dtype).max))


def _polynomial(sign: Callable[[Array], Array], ramp: Callable[[Array], Array]) -> Step:
    """A compact step of radius 5 softnesses, from its polynomials in `v = u / 5`."""
    return Step(lambda u: (1 + sign(u / 5)) / 2, lambda u: sign(u / 5), lambda u: 5 * ramp(u / 5), 5.0)


SMOOTH = Step(jax.nn.sigmoid, lambda u: jnp.tanh(u / 2), jax.nn.softplus, None)
C0 = _polynomial(lambda v: v, lambda v: (1 + v) ** 2 / 4)
C1 = _polynomial(lambda v: v * (3 - v**2) / 2, lambda v: 3 / 16 + v / 2 + v**2 * (6 - v**2) / 16)
C2 = _polynomial(
    lambda v: v * (15 - 10 * v**2 + 3 * v**4) / 8,
    lambda v: 5 / 32 + v / 2 + v**2 * (15 - 5 * v**2 + v**4) / 32,
)


def _within(x: Array, s: Softness, reach: float) -> tuple[Array, Array, Array]:
    """`inside = |x| < reach s`, with `x` and `x / s` zeroed outside so that both are safe to differentiate."""
    inside = jnp.abs(x) < reach * s
    x = jnp.where(inside, x, 0)
    return inside, x, ratio(x, s)


def step(x: Array, s: Softness, kind: Step) -> Array:
    """`S(x / s)`."""
    if kind.reach is None and isinstance(s, float):
        return kind.value(x / s)  # the logistic function saturates by itself
    inside, _, u = _within(x, s, kind.limit(x.dtype))
    return jnp.where(inside, kind.value(u), (1 + jnp.sign(x)) / 2)


def sign(x: Array, s: Softness, kind: Step) -> Array:
    """`2 S(x / s) - 1`."""
    inside, _, u = _within(x, s, kind.limit(x.dtype))
    return jnp.where(inside, kind.sign(u), jnp.sign(x))


def absolute(x: Array, s: Softness, kind: Step) -> Array:
    """`x (2 S(x / s) - 1)`."""
    inside, x_in, u = _within(x, s, kind.limit(x.dtype))
    return jnp.where(inside, x_in * kind.sign(u), jnp.abs(x))


def _ramp(x: Array, u: Array, s: Softness, kind: Step, gated: bool) -> Array:
    return x * kind.value(u) if gated else s * kind.ramp(u)


def softrelu(x: Array, s: Softness, kind: Step, gated: bool) -> Array:
    """`s R(x / s)` with R the integral of S, or `x S(x / s)` if gated."""
    inside, x_in, u = _within(x, s, kind.limit(x.dtype))
    return jnp.where(inside, _ramp(x_in, u, s, kind, gated), jnp.maximum(x, 0))


def _excess(x: Array, s: Softness, kind: Step, gated: bool) -> Array:
    """`softrelu(x) - max(x, 0)`: even, and nothing far from zero, so that it corrects a hard form."""
    reach = kind.reach or 2 - math.log(float(jnp.finfo(x.dtype).eps)) * 1.5
    inside, x_in, u = _within(x, s, reach)
    return jnp.where(inside, _ramp(x_in, u, s, kind, gated) - jnp.maximum(x_in, 0), 0)


def maximum(x: Array, y: Array, s: Softness, kind: Step, gated: bool) -> Array:
    """`y + softrelu(x - y)`, as the hard maximum and its excess: infinities stay what they are."""
    return jnp.maximum(x, y) + _excess(x - y, s, kind, gated)


def minimum(x: Array, y: Array, s: Softness, kind: Step, gated: bool) -> Array:
    """`x - softrelu(x - y)`."""
    return jnp.minimum(x, y) - _excess(x - y, s, kind, gated)


def clip(x: Array, low: Array | None, high: Array | None, s: Softness, kind: Step, gated: bool) -> Array:
    """`low + softrelu(x - low) - softrelu(x - high)`; a bound that is None is not there."""
    out = jnp.clip(x, low, high)
    if low is not None:
        out = out + _excess(x - low, s, kind, gated)
    if high is not None:
        out = out - _excess(x - high, s, kind, gated)
    return out


def rounded(x: Array, s: Softness, kind: Step, neighbors: int) -> Array:
    """`sum_m m (S(x - m + 1/2) - S(x - m - 1/2))` over the `2 neighbors + 1` integers m nearest floor(x).

    With `m = floor(x) + k` the sum splits into `floor(x)` times the total weight and a sum of small terms,
    which keeps every digit of a large x.
    """
    finite = jnp.isfinite(x)
    base = jnp.floor(jnp.where(finite, x, 0))
    fraction = jnp.where(finite, x, 0) - base
    edges = jnp.arange(-neighbors, neighbors + 2, dtype=x.dtype) - 0.5
    gaps = fraction[..., None] - jnp.expand_dims(edges, range(x.ndim))
    s = s if isinstance(s, float | int) or s.ndim == 0 else s[..., None]
    steps = step(gaps, s, kind)
    weights, total = steps[..., :-1] - steps[..., 1:], steps[..., 0] - steps[..., -1]
    offsets = jnp.arange(-neighbors, neighbors + 1, dtype=x.dtype)
    return jnp.where(finite, base * total + jnp.dot(weights, offsets, precision="highest"), x)
