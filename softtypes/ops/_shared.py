"""What the public functions share: their operand types and the way from operands to a result."""

from collections.abc import Mapping
from typing import TypeAlias

from jax import Array
from jax.typing import ArrayLike

from softtypes._lift import Rule, both, relax
from softtypes._relaxation import resolve
from softtypes.types.base import SoftValue, real_array
from softtypes.types.soft_array import SoftArray, operands, relaxed
from softtypes.types.soft_bool import SoftBool

Operand: TypeAlias = SoftValue | ArrayLike


def value(name: str, rule: Rule, knobs: Mapping, *args: tuple[str, Operand], **static) -> Array | SoftArray:
    """A value function of named operands: soft if any is, else the plain relaxed array."""
    values = [x for _, x in args]
    if any(isinstance(x, SoftValue) for x in values):
        return relaxed(name, rule, knobs, *values, **static)
    return relax(rule, resolve(knobs), *(number(name, arg, x) for arg, x in args), **static)


def number(name: str, arg: str, x):
    """A real array; a Python number stays one, so that it takes on the dtype of what it meets."""
    return x if isinstance(x, int | float) else real_array(name, arg, x)


def compare(name: str, rule: Rule, knobs: Mapping, x: Operand, y: Operand, **static) -> SoftBool:
    """A comparison of numbers."""
    views, carried = operands(name, x, y)
    relaxation = resolve(knobs, carried)
    return SoftBool._rebuild(*both(rule, relaxation, *views, **static), relaxation.logic)
