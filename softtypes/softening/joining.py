"""Several values as values of one kind."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from softtypes.softening.values import (
    Integer,
    Smooth,
    Value,
    alike,
    as_soft_bool,
    hard,
    is_bool,
    is_float,
    is_integer,
    is_soft,
    real,
    soft,
    softs,
)
from softtypes.types import SoftBool


def bools(logic: str, *values: Value) -> list[SoftBool]:
    """Boolean values as SoftBools of one family and dtype."""
    dtype = jnp.result_type(*([x.probs for x in values if isinstance(x, SoftBool)] or [float]))
    found = [as_soft_bool(x, logic, dtype) for x in values]
    return [SoftBool._rebuild(x.probs.astype(dtype), x.hard_view, logic) for x in found]


def join(fn: Callable, values: Sequence[Value], logic: str) -> Value:
    """What a function that arranges the elements of arrays makes of values: of the kind that holds them all."""
    exact = fn(*map(hard, values))
    if is_float(values[0]) and all(isinstance(x, Smooth) or not is_soft(x) for x in values):
        return Smooth(fn(*map(soft, values)))
    if is_bool(values[0]):
        return SoftBool._rebuild(fn(*(x.probs for x in bools(logic, *values))), exact, logic)
    same = alike(values) if is_integer(values[0]) else None
    if same is not None:
        probs = jax.vmap(fn, in_axes=-1, out_axes=-1)(*(x.probs for x in same))
        return Integer(probs, exact, same[0].support)
    return real(fn(*softs(values, None if is_integer(values[0]) else exact.dtype)), exact)
