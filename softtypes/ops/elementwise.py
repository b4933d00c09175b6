"""Elementwise functions."""

from typing import Unpack

from jax import Array

from softtypes._relaxation import Knobs
from softtypes._typecheck import typechecked
from softtypes.ops._shared import Operand, value
from softtypes.rules import elementwise as rules
from softtypes.types.soft_array import SoftArray


@typechecked
def abs(x: Operand, **relaxation: Unpack[Knobs]) -> Array | SoftArray:
    """Relaxed absolute value, `x (2 S(x) - 1)`.

    Args:
        x: array or SoftArray, any shape.
        **relaxation: knobs of `Relaxation`; softness in the unit of x.

    Returns:
        The relaxed array in the shape and float dtype of x; a SoftArray for a SoftArray.

    Raises:
        TypeError: if x is no real array or SoftArray, or a knob is unknown.
        ValueError: if a knob has no such choice.

    Examples:
        >>> import softtypes as sft
        >>> sft.abs(-2.5, softness=1.0, mode="c0")
        Array(1.25, dtype=float32)
    """
    return value("abs", rules.ABS, relaxation, ("x", x))


@typechecked
def sign(x: Operand, **relaxation: Unpack[Knobs]) -> Array | SoftArray:
    """Relaxed sign, `2 S(x) - 1`.

    Args:
        x: array or SoftArray, any shape.
        **relaxation: knobs of `Relaxation`; softness in the unit of x.

    Returns:
        Values in [-1, 1] in the shape and float dtype of x; a SoftArray for a SoftArray.

    Raises:
        TypeError: if x is no real array or SoftArray, or a knob is unknown.
        ValueError: if a knob has no such choice.

    Examples:
        >>> import softtypes as sft
        >>> sft.sign(2.5, softness=1.0, mode="c0")
        Array(0.5, dtype=float32)
    """
    return value("sign", rules.SIGN, relaxation, ("x", x))


@typechecked
def heaviside(x: Operand, **relaxation: Unpack[Knobs]) -> Array | SoftArray:
    """Relaxed unit step, `S(x)`; the hard one is 1/2 at 0.

    With `u = clip(x / (5 softness), -1, 1)`, S is `sigmoid(x / softness)` in mode "smooth", `(1 + u) / 2` in "c0",
    `1/2 + 3u/4 - u^3/4` in "c1", and `1/2 + 15u/16 - 5u^3/8 + 3u^5/16` in "c2".

    Args:
        x: array or SoftArray, any shape.
        **relaxation: knobs of `Relaxation`; softness in the unit of x.

    Returns:
        Values in [0, 1] in the shape and float dtype of x; a SoftArray for a SoftArray.

    Raises:
        TypeError: if x is no real array or SoftArray, or a knob is unknown.
        ValueError: if a knob has no such choice.

    Examples:
        >>> import softtypes as sft
        >>> sft.heaviside(1.25, softness=0.5, mode="c0")
        Array(0.75, dtype=float32)
    """
    return value("heaviside", rules.HEAVISIDE, relaxation, ("x", x))


@typechecked
def sigmoidal(x: Operand, **relaxation: Unpack[Knobs]) -> Array | SoftArray:
    """The step family S itself: the same function as `heaviside`, under the name of what it is made for.

    Args:
        x: array or SoftArray, any shape.
        **relaxation: knobs of `Relaxation`; softness in the unit of x.

    Returns:
        `S(x)` in [0, 1] in the shape and float dtype of x; a SoftArray for a SoftArray.

    Raises:
        TypeError: if x is no real array or SoftArray, or a knob is unknown.
        ValueError: if a knob has no such choice.

    Examples:
        >>> import softtypes as sft
        >>> sft.sigmoidal(0.0)
        Array(0.5, dtype=float32)
    """
    return value("sigmoidal", rules.HEAVISIDE, relaxation, ("x", x))


@typechecked
def relu(x: Operand, **relaxation: Unpack[Knobs]) -> Array | SoftArray:
    """Relaxed rectifier, the integral of S from minus infinity to x; `x S(x)` if `gated`.

    In mode "smooth" this is `softness * softplus(x / softness)`, gated the SiLU; "c0", "c1" and "c2" are 0 below
    -5 softnesses and x above 5.

    Args:
        x: array or SoftArray, any shape.
        **relaxation: knobs of `Relaxation`; softness in the unit of x.

    Returns:
        The relaxed array in the shape and float dtype of x; a SoftArray for a SoftArray.

    Raises:
        TypeError: if x is no real array or SoftArray, or a knob is unknown.
        ValueError: if a knob has no such choice.

    Examples:
        >>> import softtypes as sft
        >>> sft.relu(0.0, softness=1.0)
        Array(0.6931472, dtype=float32)
    """
    return value("relu", rules.RELU, relaxation, ("x", x))


@typechecked
def softrelu(x: Operand, **relaxation: Unpack[Knobs]) -> Array | SoftArray:
    """The relaxed rectifier, under the name of the family of its relaxations: the same function as `relu`.

    Args:
        x: array or SoftArray, any shape.
        **relaxation: knobs of `Relaxation`; softness in the unit of x.

    Returns:
        The relaxed array in the shape and float dtype of x; a SoftArray for a SoftArray.

    Raises:
        TypeError: if x is no real array or SoftArray, or a knob is unknown.
        ValueError: if a knob has no such choice.

    Examples:
        >>> import softtypes as sft
        >>> sft.softrelu(3.0, softness=0.1, mode="c1")
        Array(3., dtype=float32)
    """
    return value("softrelu", rules.RELU, relaxation, ("x", x))


@typechecked
def round(x: Operand, decimals: int = 0, *, neighbor_radius: int = 5, **relaxation: Unpack[Knobs]) -> Array | SoftArray:
    """Relaxed rounding, `sum_m m (S(x - m + 1/2) - S(x - m - 1/2))` over the integers m nearest floor(x).

    Args:
        x: array or SoftArray, any shape.
        decimals: decimal places to keep, as in `jnp.round`.
        neighbor_radius: how many integers on each side of floor(x) enter the sum.
        **relaxation: knobs of `Relaxation`; softness in units of the place that is rounded to.

    Returns:
        The relaxed array in the shape and float dtype of x; a SoftArray for a SoftArray.

    Raises:
        TypeError: if x is no real array or SoftArray, or a knob is unknown.
        ValueError: if a knob has no such choice.

    Examples:
        >>> import softtypes as sft
        >>> sft.round(2.5, softness=0.05)
        Array(2.5, dtype=float32)
    """
    static = {"decimals": decimals, "neighbor_radius": neighbor_radius}
    return value("round", rules.ROUND, relaxation, ("x", x), **static)


@typechecked
def clip(
    x: Operand, min: Operand | None = None, max: Operand | None = None, **relaxation: Unpack[Knobs]
) -> Array | SoftArray:
    """Relaxed clip, `min + relu(x - min) - relu(x - max)`; a bound of None is not there.

    Args:
        x: array or SoftArray, any shape.
        min: lower bound, broadcast against x.
        max: upper bound, broadcast against x.
        **relaxation: knobs of `Relaxation`; softness in the unit of x.

    Returns:
        The relaxed array in the broadcast shape; a SoftArray if any operand is soft.

    Raises:
        TypeError: if an operand is no real array or SoftArray, or a knob is unknown.
        ValueError: if a knob has no such choice.

    Examples:
        >>> import softtypes as sft
        >>> sft.clip(7.0, 0.0, 1.0)
        Array(1., dtype=float32)
    """
    bounds = [(name, bound) for name, bound in (("min", min), ("max", max)) if bound is not None]
    flags = {"has_low": min is not None, "has_high": max is not None}
    return value("clip", rules.CLIP, relaxation, ("x", x), *bounds, **flags)


@typechecked
def maximum(x: Operand, y: Operand, **relaxation: Unpack[Knobs]) -> Array | SoftArray:
    """Relaxed elementwise maximum, `y + relu(x - y)`.

    Args:
        x: array or SoftArray.
        y: array or SoftArray, broadcast against x.
        **relaxation: knobs of `Relaxation`; softness in the unit of x.

    Returns:
        The relaxed array in the broadcast shape; a SoftArray if an operand is soft.

    Raises:
        TypeError: if an operand is no real array or SoftArray, or a knob is unknown.
        ValueError: if a knob has no such choice.

    Examples:
        >>> import softtypes as sft
        >>> sft.maximum(1.0, 3.0, softness=0.1)
        Array(3., dtype=float32)
    """
    return value("maximum", rules.MAXIMUM, relaxation, ("x", x), ("y", y))


@typechecked
def minimum(x: Operand, y: Operand, **relaxation: Unpack[Knobs]) -> Array | SoftArray:
    """Relaxed elementwise minimum, `x - relu(x - y)`.

    Args:
        x: array or SoftArray.
        y: array or SoftArray, broadcast against x.
        **relaxation: knobs of `Relaxation`; softness in the unit of x.

    Returns:
        The relaxed array in the broadcast shape; a SoftArray if an operand is soft.

    Raises:
        TypeError: if an operand is no real array or SoftArray, or a knob is unknown.
        ValueError: if a knob has no such choice.

    Examples:
        >>> import softtypes as sft
        >>> sft.minimum(1.0, 3.0, softness=0.1)
        Array(1., dtype=float32)
    """
    return value("minimum", rules.MINIMUM, relaxation, ("x", x), ("y", y))
