"""Logic: SoftBools and raw bools in, a SoftBool out."""

from typing import Any, TypeAlias

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from softtypes._lift import canonical_axes
from softtypes._typecheck import typechecked
from softtypes.rules import logic as rules
from softtypes.types.base import SoftValue
from softtypes.types.soft_bool import SoftBool

Truth: TypeAlias = SoftValue | ArrayLike
Axis: TypeAlias = int | tuple[int, ...] | None


def _pair(name: str, x: Truth, y: Truth) -> tuple[SoftBool, Truth]:
    """The operands with a SoftBool first; raw bools on both sides become certain."""
    if not isinstance(x, SoftBool) and isinstance(y, SoftBool):
        return y._like(x, name), y
    return SoftBool._certain_or_soft(x, name), y


@typechecked
def logical_not(x: Truth) -> SoftBool:
    """Negation, `1 - p`.

    Args:
        x: SoftBool or bool array.

    Returns:
        A SoftBool of the shape of x.

    Raises:
        TypeError: if x is a raw number array: wrap probabilities in `SoftBool`.

    Examples:
        >>> import softtypes as sft
        >>> float(sft.logical_not(sft.SoftBool(0.25)).probs)
        0.75
    """
    return ~SoftBool._certain_or_soft(x, "logical_not")


@typechecked
def logical_and(x: Truth, y: Truth) -> SoftBool:
    """Conjunction by the family of the operands: `a b` (product), `min(a, b)` (godel),
    `max(0, a + b - 1)` (lukasiewicz), `sqrt(a b)` (geometric).

    Args:
        x: SoftBool or bool array.
        y: the same, broadcast against x.

    Returns:
        A SoftBool of the broadcast shape.

    Raises:
        TypeError: if an operand is a raw number array: wrap probabilities in `SoftBool`.
        ValueError: if two SoftBools differ in logic.

    Examples:
        >>> import softtypes as sft
        >>> float(sft.logical_and(sft.SoftBool(0.5), sft.SoftBool(0.5)).probs)
        0.25
    """
    x, y = _pair("logical_and", x, y)
    return x._binary(rules.conjunction, y, "logical_and")


@typechecked
def logical_or(x: Truth, y: Truth) -> SoftBool:
    """Disjunction by the family of the operands, the De Morgan dual of `logical_and`: `a + b - a b` (product),
    `max(a, b)` (godel), `min(1, a + b)` (lukasiewicz), `1 - sqrt((1 - a) (1 - b))` (geometric).

    Args:
        x: SoftBool or bool array.
        y: the same, broadcast against x.

    Returns:
        A SoftBool of the broadcast shape.

    Raises:
        TypeError: if an operand is a raw number array: wrap probabilities in `SoftBool`.
        ValueError: if two SoftBools differ in logic.

    Examples:
        >>> import softtypes as sft
        >>> float(sft.logical_or(sft.SoftBool(0.5), True).probs)
        1.0
    """
    x, y = _pair("logical_or", x, y)
    return x._binary(rules.disjunction, y, "logical_or")


@typechecked
def logical_xor(x: Truth, y: Truth) -> SoftBool:
    """Exclusive or, `(a & ~b) | (~a & b)` in the family of the operands.

    Args:
        x: SoftBool or bool array.
        y: the same, broadcast against x.

    Returns:
        A SoftBool of the broadcast shape.

    Raises:
        TypeError: if an operand is a raw number array: wrap probabilities in `SoftBool`.
        ValueError: if two SoftBools differ in logic.

    Examples:
        >>> import softtypes as sft
        >>> bool(sft.logical_xor(True, False).hard())
        True
    """
    x, y = _pair("logical_xor", x, y)
    return x._binary(rules.exclusive, y, "logical_xor")


@typechecked
def implies(x: Truth, y: Truth) -> SoftBool:
    """Material implication, `~a | b` in the family of the operands: `1 - a + a b` (product), `max(1 - a, b)` (godel),
    `min(1, 1 - a + b)` (lukasiewicz).

    Args:
        x: SoftBool or bool array.
        y: the same, broadcast against x.

    Returns:
        A SoftBool of the broadcast shape.

    Raises:
        TypeError: if an operand is a raw number array: wrap probabilities in `SoftBool`.
        ValueError: if two SoftBools differ in logic.

    Examples:
        >>> import softtypes as sft
        >>> float(sft.implies(sft.SoftBool(0.25), False).probs)
        0.75
    """
    x, y = _pair("implies", x, y)
    return x._binary(rules.implication, y, "implies")


@typechecked
def all(x: Truth, axis: Axis = None, keepdims: bool = False, *, where: Any = None) -> SoftBool:
    """Whether all entries along the axes hold: `prod p` (product), `min p` (godel), `max(0, 1 - sum(1 - p))`
    (lukasiewicz), the geometric mean (geometric).

    Args:
        x: SoftBool or bool array.
        axis: an axis, a tuple of axes, or None for all.
        keepdims: whether reduced axes stay, with size 1.
        where: bool array, broadcast to x: entries that count.

    Returns:
        A SoftBool of the reduced shape; certainly true over nothing.

    Raises:
        TypeError: if x is a raw number array: wrap probabilities in `SoftBool`.
        ValueError: if an axis does not exist.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.all(sft.SoftBool(jnp.array([0.5, 0.5, 0.5]))).probs
        Array(0.125, dtype=float32)
    """
    return SoftBool._certain_or_soft(x, "all").all(axis, keepdims, where=where)


@typechecked
def any(x: Truth, axis: Axis = None, keepdims: bool = False, *, where: Any = None) -> SoftBool:
    """Whether any entry along the axes holds: the De Morgan dual of `all`.

    Args:
        x: SoftBool or bool array.
        axis: an axis, a tuple of axes, or None for all.
        keepdims: whether reduced axes stay, with size 1.
        where: bool array, broadcast to x: entries that count.

    Returns:
        A SoftBool of the reduced shape; certainly false over nothing.

    Raises:
        TypeError: if x is a raw number array: wrap probabilities in `SoftBool`.
        ValueError: if an axis does not exist.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.any(sft.SoftBool(jnp.array([0.5, 0.5, 0.5]))).probs
        Array(0.875, dtype=float32)
    """
    return SoftBool._certain_or_soft(x, "any").any(axis, keepdims, where=where)


@typechecked
def log_all(x: Truth, axis: Axis = None, keepdims: bool = False, *, where: Any = None) -> Array:
    """The log-probability that all entries hold, where the probability itself would underflow.

    `sum log p` (product), `log min p` (godel), `log max(0, 1 - sum(1 - p))` (lukasiewicz), `mean log p` (geometric).

    Args:
        x: SoftBool or bool array.
        axis: an axis, a tuple of axes, or None for all.
        keepdims: whether reduced axes stay, with size 1.
        where: bool array, broadcast to x: entries that count.

    Returns:
        Log-probabilities, a plain array of the reduced shape; minus infinity, with gradient 0, for probability 0.

    Raises:
        TypeError: if x is a raw number array: wrap probabilities in `SoftBool`.
        ValueError: if an axis does not exist.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.log_all(sft.SoftBool(jnp.full(1000, 0.875))).round(3)
        Array(-133.531, dtype=float32)
    """
    return _log_over(rules.log_conjunction_over, SoftBool._certain_or_soft(x, "log_all"), axis, keepdims, where)


@typechecked
def log_any(x: Truth, axis: Axis = None, keepdims: bool = False, *, where: Any = None) -> Array:
    """The log-probability that any entry holds, `log(1 - exp(log_all(~x)))` without its rounding.

    Args:
        x: SoftBool or bool array.
        axis: an axis, a tuple of axes, or None for all.
        keepdims: whether reduced axes stay, with size 1.
        where: bool array, broadcast to x: entries that count.

    Returns:
        Log-probabilities, a plain array of the reduced shape; minus infinity, with gradient 0, for probability 0.

    Raises:
        TypeError: if x is a raw number array: wrap probabilities in `SoftBool`.
        ValueError: if an axis does not exist.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.log_any(sft.SoftBool(jnp.array([0.5, 0.5]))).round(4)
        Array(-0.2877, dtype=float32)
    """
    return _log_over(rules.log_disjunction_over, SoftBool._certain_or_soft(x, "log_any"), axis, keepdims, where)


def _log_over(rule, x: SoftBool, axis: Axis, keepdims: bool, where) -> Array:
    axes = canonical_axes(axis, x.ndim)
    out = rule(x.probs, x.logic, axes, where)
    return jnp.expand_dims(out, axes) if keepdims else out
