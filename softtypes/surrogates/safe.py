"""Functions whose derivative is infinite or undefined at a boundary: there the gradient is 0.

Outside the domain the value is the one at the boundary, where that is finite, and 0 for `log` and `div`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array


def _inside(fn: Callable, inside: Array, x: Array, dummy: float, outside) -> Array:
    """`fn(x)` where inside, with `x` replaced elsewhere so that no derivative of `fn` is taken there."""
    return jnp.where(inside, fn(jnp.where(inside, x, dummy)), outside)


def sqrt(x: Array) -> Array:
    """`sqrt(max(x, 0))`."""
    return _inside(jnp.sqrt, ~(x <= 0), x, 1, jnp.zeros_like(x))


def log(x: Array) -> Array:
    """`log(x)`, 0 for `x <= 0`."""
    return _inside(jnp.log, ~(x <= 0), x, 1, jnp.zeros_like(x))


def arcsin(x: Array) -> Array:
    """`arcsin(clip(x, -1, 1))`."""
    return _inside(jnp.arcsin, ~(jnp.abs(x) >= 1), x, 0, jnp.arcsin(jnp.sign(jax.lax.stop_gradient(x))))


def arccos(x: Array) -> Array:
    """`arccos(clip(x, -1, 1))`."""
    return _inside(jnp.arccos, ~(jnp.abs(x) >= 1), x, 0, jnp.arccos(jnp.sign(jax.lax.stop_gradient(x))))


def div(x: Array, y: Array) -> Array:
    """`x / y`, 0 for `y == 0`."""
    zero = y == 0
    return jnp.where(zero, 0, x / jnp.where(zero, 1, y))


def norm(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """`sqrt(sum x^2)`, scaled where the squares could over- or underflow."""
    size = jax.lax.stop_gradient(jnp.abs(x).max(axes, keepdims=True, initial=0))
    info = jnp.finfo(x.dtype)
    ordinary = (size > float(info.tiny) ** 0.25) & (size < float(info.max) ** 0.25)
    # not the size itself: the reciprocal of the largest numbers is 0 in hardware that flushes what is subnormal
    scale = jnp.clip(size, float(info.tiny) ** 0.75, float(info.max) ** 0.75)
    scale = jnp.where(ordinary | ~jnp.isfinite(size) | (size == 0), 1, scale)
    total = ((x / scale) ** 2).sum(axes, keepdims=True)
    out = sqrt(total) * scale
    return out if keepdims else out.squeeze(axes)
