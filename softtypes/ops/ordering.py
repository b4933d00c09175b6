"""Ordering: extremes and their indices.

Softness is in units of the standardised data (each row mapped to (0, 1) by the sigmoid of its z-scores), or of x with
`standardize=False`.
"""

from typing import Any, TypeAlias, Unpack

from jax import Array

from softtypes._lift import as_float
from softtypes._relaxation import Knobs
from softtypes._typecheck import typechecked
from softtypes.ops._shared import Operand
from softtypes.types.base import SoftValue, real_array
from softtypes.types.soft_array import SoftArray
from softtypes.types.soft_index import SoftIndex

Axis: TypeAlias = int | tuple[int, ...] | None


def _soft_array(name: str, x: Operand) -> SoftArray:
    """A SoftArray as it is; a plain array as one without a relaxation of its own."""
    if isinstance(x, SoftArray):
        return x
    if isinstance(x, SoftValue):
        raise TypeError(f"{name}: x must be an array or a SoftArray; got a {type(x).__name__}")
    x = real_array(name, "x", x)
    return SoftArray._rebuild(as_float(x), x, None)


@typechecked
def argmax(
    x: Operand, axis: int | None = None, keepdims: bool = False, *, where: Any = None, **relaxation: Unpack[Knobs]
) -> SoftIndex:
    """Relaxed index of the maximum: the projection of `z / softness` onto the simplex, z the standardised row.

    The softmax in mode "smooth", sparse projections in "c0", "c1" and "c2".

    Args:
        x: array or SoftArray.
        axis: the axis; None for the flattened array.
        keepdims: whether the axis stays, with size 1.
        where: bool array, broadcast to x: entries that count. The others have weight exactly 0.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        A SoftIndex of the reduced shape over the size of the axis.

    Raises:
        TypeError: if x is no real array or SoftArray, or a knob is unknown.
        ValueError: if the axis does not exist or is empty, or a knob has no such choice.

    Source: Prillo, Eisenschlos (2020), SoftSort.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.argmax(jnp.array([1.0, 2.0, 3.0])).probs.round(4)
        Array([0.004, 0.061, 0.935], dtype=float32)
    """
    return _soft_array("argmax", x).argmax(axis, keepdims, where=where, **relaxation)


@typechecked
def argmin(
    x: Operand, axis: int | None = None, keepdims: bool = False, *, where: Any = None, **relaxation: Unpack[Knobs]
) -> SoftIndex:
    """Relaxed index of the minimum: the projection of `-z / softness` onto the simplex, z the standardised row.

    Args:
        x: array or SoftArray.
        axis: the axis; None for the flattened array.
        keepdims: whether the axis stays, with size 1.
        where: bool array, broadcast to x: entries that count. The others have weight exactly 0.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        A SoftIndex of the reduced shape over the size of the axis.

    Raises:
        TypeError: if x is no real array or SoftArray, or a knob is unknown.
        ValueError: if the axis does not exist or is empty, or a knob has no such choice.

    Source: Prillo, Eisenschlos (2020), SoftSort.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.argmin(jnp.array([3.0, 1.0, 2.0])).hard()
        Array(1, dtype=int32)
    """
    return _soft_array("argmin", x).argmin(axis, keepdims, where=where, **relaxation)


def _as_given(x: Operand, out: SoftArray) -> Array | SoftArray:
    """Soft for a soft operand, else the plain relaxed array."""
    return out if isinstance(x, SoftArray) else out.soft()


@typechecked
def max(
    x: Operand, axis: Axis = None, keepdims: bool = False, *, where: Any = None, **relaxation: Unpack[Knobs]
) -> Array | SoftArray:
    """Relaxed maximum: the expected entry under the weights of `argmax`, `sum_i P_i x_i`.

    Args:
        x: array or SoftArray.
        axis: an axis, a tuple of axes, or None for all.
        keepdims: whether reduced axes stay, with size 1.
        where: bool array, broadcast to x: entries that count. The others have weight exactly 0.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        The relaxed maximum in the reduced shape, NaN where nothing counts; a SoftArray for a SoftArray.

    Raises:
        TypeError: if x is no real array or SoftArray, or a knob is unknown.
        ValueError: if an axis does not exist or is empty, or a knob has no such choice.

    Source: Prillo, Eisenschlos (2020), SoftSort.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.max(jnp.array([1.0, 2.0, 3.0])).round(4)
        Array(2.931, dtype=float32)
    """
    return _as_given(x, _soft_array("max", x).max(axis, keepdims, where=where, **relaxation))


@typechecked
def min(
    x: Operand, axis: Axis = None, keepdims: bool = False, *, where: Any = None, **relaxation: Unpack[Knobs]
) -> Array | SoftArray:
    """Relaxed minimum: the expected entry under the weights of `argmin`, `sum_i P_i x_i`.

    Args:
        x: array or SoftArray.
        axis: an axis, a tuple of axes, or None for all.
        keepdims: whether reduced axes stay, with size 1.
        where: bool array, broadcast to x: entries that count. The others have weight exactly 0.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        The relaxed minimum in the reduced shape, NaN where nothing counts; a SoftArray for a SoftArray.

    Raises:
        TypeError: if x is no real array or SoftArray, or a knob is unknown.
        ValueError: if an axis does not exist or is empty, or a knob has no such choice.

    Source: Prillo, Eisenschlos (2020), SoftSort.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.min(jnp.array([1.0, 2.0, 3.0])).round(4)
        Array(1.069, dtype=float32)
    """
    return _as_given(x, _soft_array("min", x).min(axis, keepdims, where=where, **relaxation))
