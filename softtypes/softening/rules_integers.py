"""Integers with a distribution: arithmetic, comparisons, mixtures; integers with a mean."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from softtypes._lift import Views
from softtypes.rules import index as indices
from softtypes.rules import selection
from softtypes.softening.joining import bools
from softtypes.softening.rule import Here, aval, rule
from softtypes.softening.values import (
    Integer,
    Known,
    Value,
    aligned,
    alike,
    as_real,
    hard,
    is_bool,
    is_integer,
    is_soft,
    real,
    recall,
    remember,
    row_of,
    softs,
)
from softtypes.types import SoftBool

# Comparisons


def compared(test: Callable, x: Value, y: Value):
    """The probability of a comparison of integers; None for what has no distribution."""
    if not isinstance(x, Integer):
        return compared(MIRRORED[test], y, x)
    if isinstance(y, Integer):
        return _independent(test, x, y)
    if is_soft(y):
        return None
    if test is jnp.equal and _is_one_hot(x, y):
        axis = next(i for i, size in enumerate(y.const.shape) if x.probs.shape[i] < size)
        return jnp.moveaxis(jnp.squeeze(x.probs, axis), -1, axis)
    other = jnp.asarray(hard(y))
    if x.is_static and test is jnp.equal and bool((np.diff(x.support) == 1).all()):
        return indices.equal(x.probs, other - int(x.support[0]))
    support = jnp.asarray(x.support, other.dtype)
    return Integer(x.probs, x.hard_view, support).holds(lambda a: test(aligned(a, other.ndim + 1), other[..., None]))


def _is_one_hot(x: Integer, y: Value) -> bool:
    """Whether an index is compared to all that it may be, along an axis of its own: the answer is its distribution."""
    if not isinstance(y, Known) or y.const.ndim != x.probs.ndim - 1 or not x.is_static:
        return False
    free = [i for i, size in enumerate(y.const.shape) if x.probs.shape[i] < size]
    row = row_of(y, free[0]) if len(free) == 1 else None
    return row is not None and np.array_equal(row, x.support)


def _independent(test: Callable, x: Integer, y: Integer):
    """`sum_ij P_i Q_j [i R j]`."""
    if not (x.is_static and y.is_static):
        return None
    truth = jnp.asarray(test(np.asarray(x.support)[:, None], np.asarray(y.support)[None, :]), x.probs.dtype)
    left = jnp.dot(x.probs, truth, precision="highest")
    return jnp.clip((left * y.probs.astype(left.dtype)).sum(-1), 0, 1)


MIRRORED = {
    jnp.less: jnp.greater,
    jnp.less_equal: jnp.greater_equal,
    jnp.greater: jnp.less,
    jnp.greater_equal: jnp.less_equal,
    jnp.equal: jnp.equal,
    jnp.not_equal: jnp.not_equal,
}


# Arithmetic

LINEAR = ("add", "sub", "mul", "neg", "add_any")


def in_the_mean(here: Here, *values: Value):
    """An operation that is linear in each operand, on the means."""
    exact = here.hard(*values)
    return real(here.bind(*softs(values), **_floating(here)), exact)


def _floating(here: Here) -> dict:
    return {"preferred_element_type": None} if "preferred_element_type" in here.params else {}


@rule(*LINEAR, "reduce_sum", "cumsum", "dot_general", became="of integers: the mean", is_site=False)
def arithmetic(here: Here, *values: Value):
    """Of floats on both views; of integers on the mean."""
    if not jnp.issubdtype(aval(here.eqn.outvars[0]).dtype, jnp.integer):
        return None
    out = in_the_mean(here, *values)
    bits = recall(values[0], "bits")
    if here.eqn.primitive.name == "cumsum" and bits is not None and not here.params["reverse"]:
        remember(out, "counted", (bits, here.params["axis"]))  # jnp.piecewise looks for the last that holds by it
    return out


# Mixtures


def mixture(weights, cases: Sequence[Value], exact, logic: str) -> Value:
    """The case that is chosen, each with its weight of `weights (..., cases)`."""
    if is_bool(cases[0]):
        probs = [x.probs.astype(weights.dtype) for x in bools(logic, *cases)]
        return SoftBool._rebuild(jnp.clip(_mixed(weights, probs), 0, 1), exact, logic)
    same = alike(cases) if is_integer(cases[0]) else None
    if same is not None:
        shape = (*exact.shape, same[0].probs.shape[-1])
        probs = [jnp.broadcast_to(x.probs.astype(weights.dtype), shape) for x in same]
        return Integer(_mixed(weights, probs, 1), exact, same[0].support)
    return real(_mixed(weights, softs(cases, None if is_integer(cases[0]) else exact.dtype)), exact)


def probabilities(which: Value, count: int):
    """Probabilities `(..., count)` of the cases `0 .. count - 1`; an integer past an end chooses the last one there."""
    if isinstance(which, SoftBool):
        return jnp.stack([1 - which.probs, which.probs], -1)
    return distribution(which, count)


def _mixed(weights, cases, extra: int = 0):
    """`sum_i w_i x_i`; two by the rule of `where`."""
    spread = lambda w: w.reshape(*w.shape, *(1,) * extra)
    if len(cases) == 2:
        p = Views(spread(weights[..., 1]), spread(weights[..., 1]) > 0.5)
        return selection.where(p, Views(cases[1], cases[1]), Views(cases[0], cases[0])).soft
    stacked = jnp.stack(jnp.broadcast_arrays(*cases))
    weights = weights if not extra else weights[..., None, :]
    weights = jnp.broadcast_to(weights, (*stacked.shape[1:], weights.shape[-1])) if weights.ndim > 1 else weights
    return selection.choose(weights, stacked)


def distribution(x: Value, size: int) -> Array:
    """Probabilities `(..., size)` of positions `0 .. size - 1`; what lies beyond counts for the nearest.

    A number without a distribution is shared between the two positions next to it, in proportion.
    """
    if isinstance(x, Integer):
        return _clipped(x, size)
    place = jnp.clip(as_real(x).values, 0, size - 1)[..., None]
    return jnp.maximum(1 - jnp.abs(place - aligned(jnp.arange(size, dtype=place.dtype), place.ndim)), 0)


def _clipped(x: Integer, size: int):
    if x.is_static and np.array_equal(x.support, np.arange(size)):
        return x.probs
    if x.is_static:
        places = np.clip(np.asarray(x.support), 0, size - 1)
        zeros = jnp.zeros((*x.probs.shape[:-1], size), x.probs.dtype)
        return zeros.at[..., places].add(x.probs)
    places = jnp.clip(x.support, 0, size - 1)
    hits = places[..., None] == aligned(jnp.arange(size, dtype=places.dtype), places.ndim + 1)
    return (x.probs[..., None] * hits.astype(x.probs.dtype)).sum(-2)
