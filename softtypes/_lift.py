"""Lifting: from a rule on plain arrays, last axis, to both views, any axes and any dtype."""

import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from softtypes._relaxation import Relaxation


class Views(NamedTuple):
    """A quantity seen twice: the differentiable relaxation and the exact value."""

    soft: Any
    hard: Any


class Rule(NamedTuple):
    """What an operator does to each view.

    `soft(*arrays, s, relaxation, **static)` gets float arrays of one dtype and a positive softness; `hard` is the
    exact function with the same static arguments; `embed` writes a hard result in the form of a soft one, where
    that is another form.
    """

    soft: Callable
    hard: Callable
    embed: Callable | None = None

    def exact(self, *arrays, dtype, **static) -> Array:
        """The hard result in the form and dtype of the soft one."""
        hard = self.hard(*arrays, **static)
        return (self.embed(hard, *arrays) if self.embed else hard).astype(dtype)


def float_dtype(*arrays):
    """The dtype in which jnp would compute a real function of these operands."""
    dtype = jnp.result_type(*arrays)
    return dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)


def wide_dtype(dtype):
    """The dtype to compute in: 16-bit floats are widened."""
    return jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype


def as_float(x, dtype=None) -> Array:
    """A float array: as it is, or the float dtype that jnp would promote it to."""
    dtype = dtype or float_dtype(x)
    return x if isinstance(x, jax.Array) and x.dtype == dtype else jnp.asarray(x, dtype)


def effective_softness(relaxation: Relaxation, dtype) -> float | Array:
    """The softness in the dtype to compute in, kept within what `dtype` can resolve."""
    info = jnp.finfo(dtype)
    low, high = max(2 * float(info.tiny), 4 / float(info.max)), float(info.max) / 100
    if isinstance(relaxation.softness, float | int):
        return min(max(relaxation.softness, low), high)
    return jnp.clip(relaxation.softness.astype(wide_dtype(dtype)), low, high)


def relax(rule: Rule, relaxation: Relaxation, *arrays, **static) -> Array:
    """The relaxed result on plain arrays, in the dtype that jnp would give it."""
    dtype = float_dtype(*arrays)
    if relaxation.is_hard:
        return rule.exact(*arrays, dtype=dtype, **static)
    wide = wide_dtype(dtype)
    arrays = [as_float(x, wide) for x in arrays]
    _check_broadcast(relaxation, arrays)
    s = effective_softness(relaxation, dtype)
    out = rule.soft(*arrays, s=s, relaxation=relaxation, **static)
    if not relaxation.is_static:
        out = jnp.where(relaxation.softness == 0, rule.exact(*arrays, dtype=wide, **static), out)
    return out.astype(dtype)


def _check_broadcast(relaxation: Relaxation, arrays) -> None:
    if relaxation.is_static or jnp.ndim(relaxation.softness) == 0:
        return
    given, shape = jnp.shape(relaxation.softness), jnp.broadcast_shapes(*map(jnp.shape, arrays))
    if any(a != b and 1 not in (a, b) for a, b in zip(given[::-1], shape[::-1], strict=False)):
        raise ValueError(f"softness of shape {given} does not broadcast against the operand's shape {shape}")


def both(rule: Rule, relaxation: Relaxation, *views: Views, **static) -> Views:
    """Both views of the result."""
    soft = relax(rule, relaxation, *(v.soft for v in views), **static)
    hard = rule.hard(*(v.hard for v in views), **static)
    if rule.embed is None and hard.shape != soft.shape:  # a softness per element has more of them
        hard = jnp.broadcast_to(hard, soft.shape)
    return Views(soft, hard)


def iota_like(x: Array) -> Array:
    """`0 .. n-1` along the last axis, in the shape and sharding of x."""
    return jnp.zeros_like(x, dtype=jnp.int32) + lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)


def one_hot_like(index: Array, like: Array) -> Array:
    """1 at the index along the last axis and 0 elsewhere, in the shape, dtype and sharding of `like`."""
    return (iota_like(like) == index[..., None].astype(jnp.int32)).astype(like.dtype)


def canonical_axes(axis: int | tuple[int, ...] | None, ndim: int) -> tuple[int, ...]:
    """The nonnegative axes meant by `axis`, as jnp reads it: None is all of them."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(operator.index(a) for a in (axis if isinstance(axis, tuple | list) else (axis,)))
    for a in axes:
        if not -ndim <= a < ndim:
            raise ValueError(f"axis {a} is out of bounds for an array of dimension {ndim}")
    axes = tuple(a % ndim for a in axes)
    if len(set(axes)) < len(axes):
        raise ValueError(f"axis {axis} names an axis twice")
    return axes


def to_last(x: Array, axes: tuple[int, ...]) -> Array:
    """Move the axes to the end and flatten them into one."""
    x = jnp.moveaxis(x, axes, range(x.ndim - len(axes), x.ndim))
    batch = x.shape[: x.ndim - len(axes)]
    return x.reshape(*batch, math.prod(x.shape[len(batch) :]))
