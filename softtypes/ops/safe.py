"""Autograd-safe functions: jnp's values inside the domain, gradient 0 where jnp's is infinite or NaN."""

from collections.abc import Callable
from typing import TypeAlias

from jax import Array

from softtypes._lift import as_float, canonical_axes, float_dtype
from softtypes._typecheck import typechecked
from softtypes.ops._shared import Operand
from softtypes.surrogates import safe
from softtypes.types.base import SoftValue, real_array
from softtypes.types.soft_array import SoftArray, operands

Axis: TypeAlias = int | tuple[int, ...] | None


def _on_both(name: str, fn: Callable, *args: tuple[str, Operand]) -> Array | SoftArray:
    """A function of floats on the plain arrays, or on both views of the soft ones."""
    values = [x for _, x in args]
    if any(isinstance(x, SoftValue) for x in values):
        views, carried = operands(name, *values)
        soft, hard = (_on_floats(fn, side) for side in zip(*views, strict=True))
        return SoftArray._rebuild(soft, hard, carried)
    return _on_floats(fn, [real_array(name, arg, x) for arg, x in args])


def _on_floats(fn: Callable, arrays) -> Array:
    dtype = float_dtype(*arrays)
    return fn(*(as_float(x, dtype) for x in arrays))


@typechecked
def sqrt(x: Operand) -> Array | SoftArray:
    """`sqrt(x)`; 0, with gradient 0, for `x <= 0`.

    Args:
        x: array or SoftArray, any shape.

    Returns:
        The root in the shape and float dtype of x; a SoftArray for a SoftArray.

    Raises:
        TypeError: if x is no real array or SoftArray.

    Examples:
        >>> import jax, softtypes as sft
        >>> float(jax.grad(sft.sqrt)(0.0))
        0.0
    """
    return _on_both("sqrt", safe.sqrt, ("x", x))


@typechecked
def log(x: Operand) -> Array | SoftArray:
    """`log(x)`; 0, with gradient 0, for `x <= 0`.

    Args:
        x: array or SoftArray, any shape.

    Returns:
        The logarithm in the shape and float dtype of x; a SoftArray for a SoftArray.

    Raises:
        TypeError: if x is no real array or SoftArray.

    Examples:
        >>> import softtypes as sft
        >>> float(sft.log(0.0))
        0.0
    """
    return _on_both("log", safe.log, ("x", x))


@typechecked
def arcsin(x: Operand) -> Array | SoftArray:
    """`arcsin(x)`; its value at the boundary, with gradient 0, for `abs(x) >= 1`.

    Args:
        x: array or SoftArray, any shape.

    Returns:
        Angles in the shape and float dtype of x; a SoftArray for a SoftArray.

    Raises:
        TypeError: if x is no real array or SoftArray.

    Examples:
        >>> import jax, softtypes as sft
        >>> float(jax.grad(sft.arcsin)(1.0))
        0.0
    """
    return _on_both("arcsin", safe.arcsin, ("x", x))


@typechecked
def arccos(x: Operand) -> Array | SoftArray:
    """`arccos(x)`; its value at the boundary, with gradient 0, for `abs(x) >= 1`.

    Args:
        x: array or SoftArray, any shape.

    Returns:
        Angles in the shape and float dtype of x; a SoftArray for a SoftArray.

    Raises:
        TypeError: if x is no real array or SoftArray.

    Examples:
        >>> import jax, softtypes as sft
        >>> float(jax.grad(sft.arccos)(-1.0))
        0.0
    """
    return _on_both("arccos", safe.arccos, ("x", x))


@typechecked
def div(x: Operand, y: Operand) -> Array | SoftArray:
    """`x / y`; 0, with gradient 0, for `y == 0`.

    Args:
        x: array or SoftArray.
        y: array or SoftArray, broadcast against x.

    Returns:
        The quotient in the broadcast shape; a SoftArray if an operand is soft.

    Raises:
        TypeError: if an operand is no real array or SoftArray.

    Examples:
        >>> import jax, softtypes as sft
        >>> float(jax.grad(sft.div, argnums=1)(1.0, 0.0))
        0.0
    """
    return _on_both("div", safe.div, ("x", x), ("y", y))


@typechecked
def norm(x: Operand, axis: Axis = None, keepdims: bool = False) -> Array | SoftArray:
    """The Euclidean norm, `sqrt(sum x^2)`, with gradient 0 at 0 and no over- or underflow of the squares.

    Args:
        x: array or SoftArray, any shape.
        axis: an axis, a tuple of axes, or None for all.
        keepdims: whether reduced axes stay, with size 1.

    Returns:
        The norm in the reduced shape; a SoftArray for a SoftArray.

    Raises:
        TypeError: if x is no real array or SoftArray.
        ValueError: if an axis does not exist.

    Examples:
        >>> import jax, jax.numpy as jnp, softtypes as sft
        >>> jax.grad(sft.norm)(jnp.zeros(2))
        Array([0., 0.], dtype=float32)
    """
    if isinstance(x, SoftArray):
        axes = canonical_axes(axis, x.ndim)
        reduce_views = lambda a: safe.norm(as_float(a), axes, keepdims)
        return x._reduced(lambda a, _: reduce_views(a), axis, keepdims)
    x = as_float(real_array("norm", "x", x))
    return safe.norm(x, canonical_axes(axis, x.ndim), keepdims)
