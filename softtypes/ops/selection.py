"""Selection: expected values under a SoftBool or a SoftIndex."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from softtypes._lift import Views, canonical_axes
from softtypes._typecheck import typechecked
from softtypes.ops._shared import Operand
from softtypes.rules import selection as rules
from softtypes.types.base import SoftValue, real_array
from softtypes.types.soft_array import SoftArray, operands
from softtypes.types.soft_bool import SoftBool
from softtypes.types.soft_index import SoftIndex

Index: TypeAlias = SoftValue | ArrayLike


@typechecked
def where(condition: Operand, x: Operand, y: Operand) -> SoftValue | Array:
    """`p x + (1 - p) y`: x where the condition holds, y elsewhere.

    A branch that is not finite never leaks out of a probability of exactly 0 or 1.

    Args:
        condition: SoftBool, or a bool array for an exact choice.
        x: array or soft value.
        y: the same, broadcast against x.

    Returns:
        A soft value of the branches' kind (a SoftArray for plain numbers); `jnp.where` if nothing is soft.

    Raises:
        TypeError: if the condition is a raw number array, or the branches do not mix.

    Examples:
        >>> import softtypes as sft
        >>> float(sft.where(sft.SoftBool(0.25), 8.0, 0.0).soft())
        2.0
    """
    certain = SoftBool._certain_or_soft(condition, "where: condition")
    if isinstance(condition, SoftValue) or isinstance(x, SoftValue) or isinstance(y, SoftValue):
        return certain.where(x, y)
    return jnp.where(certain.hard(), x, y)


def _integers(name: str, index: Operand) -> Array:
    """A plain index, of integers."""
    if isinstance(index, SoftValue):
        raise TypeError(f"{name}: expected a SoftIndex or integers; got a {type(index).__name__}")
    index = real_array(name, "an index", index)
    if not jnp.issubdtype(index.dtype, jnp.integer):
        raise TypeError(
            f"{name}: expected a SoftIndex or integers; got {index.dtype}; "
            "wrap probabilities (..., n) in sft.SoftIndex(...)"
        )
    return index


def _exactly(fn: Callable[[Array], Array], x: Operand) -> SoftValue | Array:
    """An exact selection from a plain array, or from both views of a soft value."""
    return x._structural(fn) if isinstance(x, SoftValue) else fn(jnp.asarray(x))


def _array(name: str, x: Operand) -> tuple[Views, Any]:
    """The views of an array to select from, and how to wrap what was selected."""
    if isinstance(x, SoftBool):
        return x._views, lambda soft, hard: SoftBool._rebuild(jnp.clip(soft, 0, 1), hard, x.logic)
    if isinstance(x, SoftArray):
        return x._views, lambda soft, hard: SoftArray._rebuild(soft, hard, x._relaxation and x._relaxation._softest())
    x = real_array(name, "the array to select from", x)
    return Views(x, x), lambda soft, hard: SoftArray._rebuild(soft, hard, None)


@typechecked
def take(a: Operand, indices: Index, axis: int | None = None) -> SoftValue | Array:
    """Expected entries along an axis, `sum_i P_i a_i`, laid out as `jnp.take`.

    Args:
        a: array, SoftArray or SoftBool.
        indices: SoftIndex over the size of the axis, any shape; or integers for an exact choice.
        axis: the axis; None for the flattened array.

    Returns:
        A SoftArray (of a SoftBool a SoftBool) of shape `a.shape[:axis] + indices.shape + a.shape[axis + 1:]`;
        `jnp.take` if nothing is soft.

    Raises:
        TypeError: if the indices are no SoftIndex and no integers.
        ValueError: if the SoftIndex ranges over another size, or the axis does not exist.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.take(jnp.array([10.0, 20.0]), sft.SoftIndex(jnp.array([0.5, 0.5]))).soft()
        Array(15., dtype=float32)
    """
    if isinstance(indices, SoftIndex):
        return indices.take(a, axis)
    exact = _integers("take", indices)
    return _exactly(lambda x: jnp.take(x, exact, axis), a)


@typechecked
def take_along_axis(arr: Operand, indices: Index, axis: int = -1) -> SoftValue | Array:
    """Expected entries, `out[.., k, ..] = sum_i P[.., k, .., i] arr[.., i, ..]`, as `jnp.take_along_axis`.

    Args:
        arr: array, SoftArray or SoftBool.
        indices: SoftIndex over the size of the axis, with the number of axes of arr; or integers.
        axis: the axis.

    Returns:
        A SoftArray (of a SoftBool a SoftBool) of the shape of the indices, broadcast against arr off the axis.

    Raises:
        TypeError: if the indices are no SoftIndex and no integers.
        ValueError: if the SoftIndex has another number of axes or ranges over another size.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> x = jnp.array([[1.0, 5.0], [7.0, 3.0]])
        >>> sft.take_along_axis(x, sft.argmax(x, axis=1, keepdims=True), axis=1).hard()
        Array([[5.],
               [7.]], dtype=float32)
    """
    if not isinstance(indices, SoftIndex):
        exact = _integers("take_along_axis", indices)
        return _exactly(lambda x: jnp.take_along_axis(x, exact, axis), arr)
    views, wrap = _array("take_along_axis", arr)
    if indices.ndim != views.hard.ndim:
        raise ValueError(
            f"take_along_axis: expected a SoftIndex of as many axes as arr, {views.hard.ndim}; "
            f"got shape {indices.shape}"
        )
    (axis,) = canonical_axes(axis, views.hard.ndim)
    _check_classes("take_along_axis", indices, views.hard.shape[axis], f"axis {axis}")
    soft = rules.take_along_axis(indices.probs, views.soft, axis)
    return wrap(soft, jnp.take_along_axis(views.hard, indices.hard(), axis))


def _check_classes(name: str, index: SoftIndex, size: int, what: str) -> None:
    if index.num_classes != size:
        raise ValueError(
            f"{name}: a SoftIndex over {index.num_classes} indices cannot select along {what}, which has size {size}"
        )


@typechecked
def choose(a: Index, choices: Sequence[Operand] | Operand) -> SoftValue | Array:
    """The expected choice, `sum_i P_i choices[i]`, as `jnp.choose`.

    Args:
        a: SoftIndex over the number of choices; or integers.
        choices: a sequence of arrays or SoftArrays, or one array whose first axis counts them; each broadcasts
            against the shape of a.

    Returns:
        A SoftArray (of a SoftBool a SoftBool) of the broadcast shape.

    Raises:
        TypeError: if a is no SoftIndex and no integers.
        ValueError: if the SoftIndex ranges over another number of choices.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.choose(sft.SoftIndex(jnp.array([0.5, 0.5])), [1.0, 3.0]).soft()
        Array(2., dtype=float32)
    """
    choices = list(choices)  # type: ignore[arg-type]  # a stack of choices iterates over them
    if isinstance(a, SoftIndex):
        index = a
    else:
        exact = _integers("choose", a)
        if not any(isinstance(choice, SoftValue) for choice in choices):
            return jnp.choose(exact, choices, mode="clip")
        index = SoftIndex.from_hard(exact, len(choices))
    _check_classes("choose", index, len(choices), "the choices")
    views, carried = operands("choose", *choices)
    soft, hard = (jnp.stack(jnp.broadcast_arrays(*side)) for side in zip(*views, strict=True))
    picked = jnp.choose(index.hard(), list(hard), mode="clip")
    return SoftArray._rebuild(rules.choose(index.probs, soft), picked, carried and carried._softest())


@typechecked
def dynamic_index_in_dim(operand: Operand, index: Index, axis: int = 0, keepdims: bool = True) -> SoftValue | Array:
    """The expected slice at an index along an axis, as `jax.lax.dynamic_index_in_dim`.

    Args:
        operand: array, SoftArray or SoftBool.
        index: SoftIndex of shape () over the size of the axis; or an integer.
        axis: the axis.
        keepdims: whether the axis stays, with size 1.

    Returns:
        A SoftArray (of a SoftBool a SoftBool) of the operand's shape with size 1 on the axis, or without it.

    Raises:
        TypeError: if the index is no SoftIndex and no integer.
        ValueError: if the SoftIndex is no scalar or ranges over another size.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> x = jnp.array([10.0, 20.0])
        >>> sft.dynamic_index_in_dim(x, sft.SoftIndex(jnp.array([0.5, 0.5])), keepdims=False).soft()
        Array(15., dtype=float32)
    """
    if not isinstance(index, SoftIndex):
        exact = _integers("dynamic_index_in_dim", index)
        return _exactly(lambda x: jax.lax.dynamic_index_in_dim(x, exact, axis, keepdims), operand)
    _check_scalar("dynamic_index_in_dim", index)
    out = index.take(operand, axis)
    return out._structural(lambda x: jnp.expand_dims(x, axis)) if keepdims else out


def _check_scalar(name: str, index: SoftIndex) -> None:
    if index.shape != ():
        raise ValueError(f"{name}: expected a SoftIndex of shape (); got {index.shape}; use sft.take for many")


@typechecked
def dynamic_slice_in_dim(operand: Operand, start_index: Index, slice_size: int, axis: int = 0) -> SoftValue | Array:
    """The average of slices over their start along an axis, as `jax.lax.dynamic_slice_in_dim`.

    Probability on a start past the last legal one counts for the last legal one: starts are clamped.

    Args:
        operand: array, SoftArray or SoftBool.
        start_index: SoftIndex of shape () over the size of the axis; or an integer.
        slice_size: the length of the slice.
        axis: the axis.

    Returns:
        A SoftArray (of a SoftBool a SoftBool) of the operand's shape with `slice_size` on the axis.

    Raises:
        TypeError: if the start is no SoftIndex and no integer.
        ValueError: if the SoftIndex is no scalar or ranges over another size, or the slice is longer than the axis.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> start = sft.SoftIndex(jnp.array([0.5, 0.5, 0.0, 0.0]))
        >>> sft.dynamic_slice_in_dim(jnp.array([0.0, 1.0, 2.0, 3.0]), start, 2).soft()
        Array([0.5, 1.5], dtype=float32)
    """
    if not isinstance(start_index, SoftIndex):
        exact = _integers("dynamic_slice_in_dim", start_index)
        return _exactly(lambda x: jax.lax.dynamic_slice_in_dim(x, exact, slice_size, axis), operand)
    _check_scalar("dynamic_slice_in_dim", start_index)
    views, wrap = _array("dynamic_slice_in_dim", operand)
    (axis,) = canonical_axes(axis, views.hard.ndim)
    size = views.hard.shape[axis]
    _check_classes("dynamic_slice_in_dim", start_index, size, f"axis {axis}")
    if not 0 <= slice_size <= size:
        raise ValueError(
            f"dynamic_slice_in_dim: slice_size must lie in 0 .. {size}, the size of axis {axis}; got {slice_size}"
        )
    soft = rules.dynamic_slice_in_dim(start_index.probs, views.soft, slice_size, axis)
    return wrap(soft, jax.lax.dynamic_slice_in_dim(views.hard, start_index.hard(), slice_size, axis))


@typechecked
def dynamic_slice(operand: Operand, start_indices: Sequence[Index], slice_sizes: Sequence[int]) -> SoftValue | Array:
    """The average of slices over independent starts, one an axis, as `jax.lax.dynamic_slice`; starts are clamped.

    Args:
        operand: array, SoftArray or SoftBool.
        start_indices: for each axis a SoftIndex of shape () over its size, or an integer.
        slice_sizes: for each axis the length of the slice.

    Returns:
        A SoftArray (of a SoftBool a SoftBool) of shape `slice_sizes`; a plain array if nothing is soft.

    Raises:
        TypeError: if a start is no SoftIndex and no integer.
        ValueError: if there are not as many starts and sizes as axes, or as in `dynamic_slice_in_dim`.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> start = sft.SoftIndex(jnp.array([0.5, 0.5]))
        >>> sft.dynamic_slice(jnp.eye(2), [start, 0], [1, 2]).soft()
        Array([[0.5, 0.5]], dtype=float32)
    """
    ndim = operand.ndim if isinstance(operand, SoftValue) else jnp.ndim(operand)
    if not len(start_indices) == len(slice_sizes) == ndim:
        raise ValueError(
            f"dynamic_slice: expected a start and a size for each of {ndim} axes; "
            f"got {len(start_indices)} starts and {len(slice_sizes)} sizes"
        )
    for axis, (start, size) in enumerate(zip(start_indices, slice_sizes, strict=True)):
        operand = dynamic_slice_in_dim(operand, start, size, axis)
    return operand if isinstance(operand, SoftValue) else jnp.asarray(operand)
