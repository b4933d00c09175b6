"""Comparisons: arrays or soft values in, a SoftBool out.

Each is the step function of a difference, `greater(x, y) = S(x - y)`. At a tie the step is taken 1e-10 to the side
on which the exact comparison falls, so that it is 1/2 at any ordinary softness and exact in the hard limit. Two
SoftIndex, or a SoftIndex and integers, compare with exact probabilities.
"""

import operator
from typing import Unpack

from jax.typing import ArrayLike

from softtypes._relaxation import Knobs
from softtypes._typecheck import typechecked
from softtypes.ops._shared import Operand, compare
from softtypes.rules import comparison as rules
from softtypes.types.soft_bool import SoftBool
from softtypes.types.soft_index import SoftIndex


def _typed(kinds, compared, x, y) -> SoftBool | None:
    """The operator of the types that bring their own comparison."""
    return compared(x, y) if isinstance(x, kinds) or isinstance(y, kinds) else None


@typechecked
def greater(x: Operand, y: Operand, **relaxation: Unpack[Knobs]) -> SoftBool:
    """Relaxed `x > y`, `S(x - y)`.

    Args:
        x: array, SoftArray or SoftIndex.
        y: the same, broadcast against x.
        **relaxation: knobs of `Relaxation`; softness in the unit of x.

    Returns:
        A SoftBool of the broadcast shape.

    Raises:
        TypeError: if the operands do not compare, or a knob is unknown.
        ValueError: if a knob has no such choice, or two SoftArrays differ in settings.

    Examples:
        >>> import softtypes as sft
        >>> sft.greater(1.0, 0.0, softness=1.0).probs
        Array(0.7310586, dtype=float32)
    """
    out = _typed(SoftIndex, operator.gt, x, y)
    return compare("greater", rules.GREATER, relaxation, x, y) if out is None else out


@typechecked
def greater_equal(x: Operand, y: Operand, **relaxation: Unpack[Knobs]) -> SoftBool:
    """Relaxed `x >= y`, `S(x - y)`, to the other side of a tie than `greater`.

    Args:
        x: array, SoftArray or SoftIndex.
        y: the same, broadcast against x.
        **relaxation: knobs of `Relaxation`; softness in the unit of x.

    Returns:
        A SoftBool of the broadcast shape.

    Raises:
        TypeError: if the operands do not compare, or a knob is unknown.
        ValueError: if a knob has no such choice, or two SoftArrays differ in settings.

    Examples:
        >>> import softtypes as sft
        >>> sft.greater_equal(1.0, 1.0).st()
        Array(1., dtype=float32)
    """
    out = _typed(SoftIndex, operator.ge, x, y)
    return compare("greater_equal", rules.GREATER_EQUAL, relaxation, x, y) if out is None else out


@typechecked
def less(x: Operand, y: Operand, **relaxation: Unpack[Knobs]) -> SoftBool:
    """Relaxed `x < y`, `1 - greater_equal(x, y)`.

    Args:
        x: array, SoftArray or SoftIndex.
        y: the same, broadcast against x.
        **relaxation: knobs of `Relaxation`; softness in the unit of x.

    Returns:
        A SoftBool of the broadcast shape.

    Raises:
        TypeError: if the operands do not compare, or a knob is unknown.
        ValueError: if a knob has no such choice, or two SoftArrays differ in settings.

    Examples:
        >>> import softtypes as sft
        >>> float(sft.less(0.0, 5.0, mode="c2", softness=2.0).probs)
        0.896484375
    """
    out = _typed(SoftIndex, operator.lt, x, y)
    return compare("less", rules.LESS, relaxation, x, y) if out is None else out


@typechecked
def less_equal(x: Operand, y: Operand, **relaxation: Unpack[Knobs]) -> SoftBool:
    """Relaxed `x <= y`, `1 - greater(x, y)`.

    Args:
        x: array, SoftArray or SoftIndex.
        y: the same, broadcast against x.
        **relaxation: knobs of `Relaxation`; softness in the unit of x.

    Returns:
        A SoftBool of the broadcast shape.

    Raises:
        TypeError: if the operands do not compare, or a knob is unknown.
        ValueError: if a knob has no such choice, or two SoftArrays differ in settings.

    Examples:
        >>> import softtypes as sft
        >>> bool(sft.less_equal(1.0, 1.0).hard())
        True
    """
    out = _typed(SoftIndex, operator.le, x, y)
    return compare("less_equal", rules.LESS_EQUAL, relaxation, x, y) if out is None else out


@typechecked
def equal(x: Operand, y: Operand, **relaxation: Unpack[Knobs]) -> SoftBool:
    """Relaxed `x == y`, `2 S(-abs(x - y))` with the relaxed abs: 1 where they are equal, falling with distance.

    Args:
        x: array or soft value.
        y: the same, broadcast against x. Two SoftBools are equal as `~(x ^ y)`.
        **relaxation: knobs of `Relaxation`; softness in the unit of x.

    Returns:
        A SoftBool of the broadcast shape.

    Raises:
        TypeError: if the operands do not compare, or a knob is unknown.
        ValueError: if a knob has no such choice, or two SoftArrays differ in settings.

    Examples:
        >>> import softtypes as sft
        >>> sft.equal(2.0, 2.0).probs
        Array(1., dtype=float32)
    """
    out = _typed((SoftIndex, SoftBool), operator.eq, x, y)
    return compare("equal", rules.EQUAL, relaxation, x, y) if out is None else out


@typechecked
def not_equal(x: Operand, y: Operand, **relaxation: Unpack[Knobs]) -> SoftBool:
    """Relaxed `x != y`, `1 - equal(x, y)`.

    Args:
        x: array or soft value.
        y: the same, broadcast against x. Two SoftBools differ as `x ^ y`.
        **relaxation: knobs of `Relaxation`; softness in the unit of x.

    Returns:
        A SoftBool of the broadcast shape.

    Raises:
        TypeError: if the operands do not compare, or a knob is unknown.
        ValueError: if a knob has no such choice, or two SoftArrays differ in settings.

    Examples:
        >>> import softtypes as sft
        >>> sft.not_equal(2.0, 7.0).st()
        Array(1., dtype=float32)
    """
    out = _typed((SoftIndex, SoftBool), operator.ne, x, y)
    return compare("not_equal", rules.NOT_EQUAL, relaxation, x, y) if out is None else out


@typechecked
def isclose(
    x: Operand,
    y: Operand,
    rtol: ArrayLike = 1e-5,
    atol: ArrayLike = 1e-8,
    equal_nan: bool = False,
    **relaxation: Unpack[Knobs],
) -> SoftBool:
    """Relaxed `abs(x - y) <= t` with `t = atol + rtol abs(y)`: `S(t - abs(x - y)) / S(t)`, with the relaxed abs.

    1 at distance 0, falling with distance; `equal` for zero tolerances.

    Args:
        x: array or SoftArray.
        y: array or SoftArray, broadcast against x.
        rtol: relative tolerance, at least 0.
        atol: absolute tolerance, at least 0.
        equal_nan: whether two NaNs are close.
        **relaxation: knobs of `Relaxation`; softness in the unit of x.

    Returns:
        A SoftBool of the broadcast shape.

    Raises:
        TypeError: if the operands do not compare, or a knob is unknown.
        ValueError: if a knob has no such choice, or two SoftArrays differ in settings.

    Examples:
        >>> import softtypes as sft
        >>> sft.isclose(1.0, 1.5, atol=0.25, softness=0.25).probs.round(3)
        Array(0.509, dtype=float32)
    """
    static = {"rtol": rtol, "atol": atol, "equal_nan": equal_nan}
    return compare("isclose", rules.ISCLOSE, relaxation, x, y, **static)
