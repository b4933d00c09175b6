"""`soft`: the front door to soft values."""

from typing import Any

from softtypes._relaxation import DEFAULT, Relaxation, resolve
from softtypes._typecheck import typechecked
from softtypes.ops._shared import Operand
from softtypes.types.soft_array import SoftArray


@typechecked
def soft(x: Operand, softness: Any = None, mode: str | None = None, **options: Any) -> SoftArray:
    """A SoftArray of these values: the expression built on it is exact forward and relaxed backward.

    Args:
        x: array or number, any shape; a SoftArray to change its relaxation.
        softness: how soft; 0.1 by default, for a SoftArray its own; or a `Relaxation` that says everything.
        mode: the smoothness; "smooth" by default, for a SoftArray its own.
        **options: the other knobs of `Relaxation`.

    Returns:
        A SoftArray of the shape of x.

    Raises:
        TypeError: if x is no real array or SoftArray, or a knob is unknown.
        ValueError: if a knob has no such choice, or the softness does not broadcast to x.

    Examples:
        >>> import jax, softtypes as sft
        >>> hinge = lambda x, y: (sft.soft(x).relu() * sft.soft(y).relu()).st()
        >>> hinge(-0.1, -0.1)
        Array(0., dtype=float32)
        >>> bool(jax.grad(hinge)(-0.1, -0.1) > 0)
        True
    """
    base = x.relaxation if isinstance(x, SoftArray) else DEFAULT
    if isinstance(softness, Relaxation):
        base, softness = softness, None
    knobs = {"softness": softness, "mode": mode}
    relaxation = resolve({k: v for k, v in knobs.items() if v is not None} | options, base)
    if isinstance(x, SoftArray):
        return SoftArray(x.values, x.hard_view, relaxation)
    return SoftArray(x, relaxation=relaxation)
