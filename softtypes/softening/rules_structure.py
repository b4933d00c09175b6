"""Changes of shape and kind: they keep what a value is."""

import jax.numpy as jnp

from softtypes._lift import relax
from softtypes.rules import comparison
from softtypes.softening.joining import join
from softtypes.softening.rule import Here, rule
from softtypes.softening.steps import TRUNCATE
from softtypes.softening.values import (
    Columns,
    Integer,
    Smooth,
    Value,
    as_real,
    counted_bits,
    dtype_of,
    hard,
    is_integer,
    is_whole,
    real,
    remember,
    soft,
    structural,
)
from softtypes.types import SoftArray, SoftBool


@rule(
    "broadcast_in_dim",
    "reshape",
    "squeeze",
    "expand_dims",
    "transpose",
    "rev",
    "slice",
    "copy",
    "copy_p",
    "sharding_constraint",
    "tile",
    became="both views, or the probabilities",
    is_site=False,
)
def shape(here: Here, x: Value):
    """Another shape, of any kind of value."""
    if isinstance(x, Columns):
        return here.hard(x)
    return structural(lambda a: here.bind(a), x)


@rule("split", became="both views, or the probabilities", is_site=False)
def split(here: Here, x: Value):
    count = len(here.eqn.outvars)
    return [structural(lambda a, i=i: here.bind(a)[i], x) for i in range(count)]


@rule("optimization_barrier", became="both views, or the probabilities", is_site=False)
def barrier(here: Here, *values: Value):
    return [structural(lambda a: a, x) for x in values]


@rule("concatenate", "stack", "pad", became="both views, or the probabilities", is_site=False)
def joined(here: Here, *values: Value):
    """Several values in one, of the kind that holds them all."""
    if here.eqn.primitive.name == "concatenate" and _are_columns(here, values):
        parts = [structural(lambda a, i=i: a[..., i], x) for x in values for i in range(hard(x).shape[-1])]
        return Columns(tuple(parts), here.hard(*values))
    return _with_parts(here, values, join(here.bind, values, here.logic))


def _with_parts(here: Here, values, out: Value) -> Value:
    """A stack of Booleans remembers them: `jnp.select` looks for the first that holds."""
    name, params = here.eqn.primitive.name, here.params
    if name == "stack":
        return remember(out, "parts", (values, params["axis"]))
    if name == "concatenate" and all(hard(x).shape[params["dimension"]] == 1 for x in values):
        parts = [structural(lambda a: jnp.squeeze(a, params["dimension"]), x) for x in values]
        return remember(out, "parts", (parts, params["dimension"]))
    return out


def _are_columns(here: Here, values) -> bool:
    """Whether these may be columns of index vectors, which keep each a kind of its own."""
    last = here.params["dimension"] == hard(values[0]).ndim - 1
    mixed = is_integer(values[0]) and not all(isinstance(x, Integer) and x.is_static for x in values)
    return last and mixed and any(isinstance(x, Integer) for x in values)


# Kinds


@rule(
    "convert_element_type", became="of a Boolean its probability, of an index its mean, of a float steps", is_site=False
)
def convert(here: Here, x: Value):
    """A Boolean as a number is its probability, an integer its mean; a number as an integer is truncated."""
    dtype = here.params["new_dtype"]
    exact = here.hard(x)
    if jnp.issubdtype(dtype, jnp.inexact):
        if isinstance(x, Smooth):
            return Smooth(here.bind(x.array))
        return real(soft(x).astype(dtype), exact)
    if dtype == jnp.bool_:
        return _not_zero(here, x, exact)
    if isinstance(x, Integer):
        return Integer(x.probs, exact, x.support)
    if isinstance(x, SoftBool):
        return counted_bits(x, exact)
    if isinstance(x, SoftArray) and (is_integer(x) or is_whole(x)):
        return real(x.values, exact)
    return _truncated(here, x, exact)


def _truncated(here: Here, x: Value, exact):
    if not jnp.issubdtype(dtype_of(x), jnp.floating):
        return None
    decided = here.decide((x,), "sum of steps")
    return exact if decided is None else real(relax(TRUNCATE, decided.relaxation, as_real(x).values), exact)


def _not_zero(here: Here, x: Value, exact):
    if isinstance(x, SoftBool):
        return x
    if isinstance(x, Integer):
        return SoftBool._rebuild(x.holds(lambda a: a != 0), exact, here.logic)
    x = as_real(x)
    return SoftBool._rebuild(relax(comparison.NOT_EQUAL, here.relaxation, x.values, 0), exact, here.logic)
