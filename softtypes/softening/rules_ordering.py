"""Extremes, sorting, cumulative extremes, and positions among sorted edges."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun

from softtypes._lift import relax
from softtypes._relaxation import Relaxation
from softtypes.rules import comparison, selection
from softtypes.rules import logic as logics
from softtypes.rules.order import Ordering
from softtypes.rules.ordering import statistics_of
from softtypes.softening.rule import Here, rule
from softtypes.softening.values import (
    Integer,
    Value,
    aligned,
    hard,
    is_bool,
    is_float,
    is_integer,
    is_soft,
    real,
    recall,
    remember,
    row_of,
    softs,
)
from softtypes.types import SoftArray, SoftBool


def keys(x: Value, relaxation: Relaxation) -> SoftArray:
    """What is ordered, as a number that carries the relaxation of the site."""
    (values,) = softs([x], None if is_integer(x) else hard(x).dtype)
    return SoftArray._rebuild(values, values, relaxation._softest())


def _index(here: Here, found, exact) -> Integer:
    return Integer(found.probs, exact, np.arange(found.num_classes))


@rule("reduce_max", "reduce_min", became="max or min by the ordering algorithm")
def extreme(here: Here, x: Value):
    largest, axes = here.eqn.primitive.name == "reduce_max", tuple(here.params["axes"])
    if isinstance(x, SoftBool):
        views = (logics.disjunction_over if largest else logics.conjunction_over)(x._views, here.logic, axes)
        return SoftBool._rebuild(views.soft, here.hard(x), here.logic)
    exact = here.hard(x)
    if not axes:
        return x
    values = keys(x, here.relaxation)
    return real((values.max if largest else values.min)(axis=axes).values, exact)


@rule("argmax", "argmin", became="SoftIndex by the ordering algorithm")
def arg_extreme(here: Here, x: Value):
    largest, (axis,) = here.eqn.primitive.name == "argmax", here.params["axes"]
    if isinstance(x, SoftBool):
        probs = x.probs if largest else 1 - x.probs
        out = Integer(_first_true(jnp.moveaxis(probs, axis, -1)), here.hard(x), np.arange(x.shape[axis]))
        parts, along = recall(x, "parts", (None, None))
        return remember(out, "first_of", parts) if largest and along == axis else out
    counted = recall(x, "counted")
    if counted is not None and largest and counted[1] == axis:
        probs = jnp.moveaxis(counted[0].probs, axis, -1)
        return Integer(_last_true(probs), here.hard(x), np.arange(x.shape[axis]))
    values = keys(x, here.relaxation)
    return _index(here, (values.argmax if largest else values.argmin)(axis=int(axis)), here.hard(x))


def _first_true(p):
    """`P_k = p_k prod_(j < k) (1 - p_j)`; if none holds, the first."""
    none = jnp.cumprod(1 - p, -1)
    before = jnp.concatenate([jnp.ones_like(none[..., :1]), none[..., :-1]], -1)
    return p * before + _at_first(none[..., -1:], p)


def _last_true(p):
    """Where the count of what holds so far is first at its end: the last that holds; if none does, the first."""
    backwards = _first_true(jnp.flip(p, -1))
    none = jnp.prod(1 - p, -1, keepdims=True)
    return jnp.flip(backwards - _at_first(none, p), -1) + _at_first(none, p)


def _at_first(x, like):
    return jnp.where(aligned(jnp.arange(like.shape[-1]) == 0, like.ndim), x, 0)


@rule("sort", became="sort by the ordering algorithm, and the SoftIndex of the order")
def sort(here: Here, *values: Value):
    key, *payload = values
    if here.params["num_keys"] > 1 or not is_soft(key) or is_bool(key):
        here.note("only one soft key of numbers is relaxed", relaxed=False)
        return None
    axis = here.params["dimension"]
    exact = here.hard(*values)
    ordered = keys(key, here.relaxation)
    out = [real(ordered.sort(axis=axis).values, exact[0])]
    remember(out[0], "sorted_from", (ordered, axis))  # one order statistic costs less than all
    if payload:
        probs = ordered.argsort(axis=axis).probs
        out += [carried(x, y, probs, axis, here.logic) for x, y in zip(payload, exact[1:], strict=True)]
    return out


def carried(x: Value, exact, probs, axis: int, logic: str) -> Value:
    """What is sorted along: its expected entry at each place."""
    support = row_of(x, axis)
    if support is not None:
        return Integer(probs, exact, support)
    (values,) = softs([x], hard(x).dtype if is_float(x) else probs.dtype)
    moved = selection.take_along_axis(probs, values, axis)
    return SoftBool._rebuild(jnp.clip(moved, 0, 1), exact, logic) if is_bool(x) else real(moved, exact)


EACH_BY_ITSELF = (None, "neuralsort", "softsort")


def order_statistic(here: Here, x: SoftArray, position, exact) -> SoftArray | None:
    """One entry of sorted rows, by an algorithm that finds each without the others.

    Those of the same rows that the same function asks for share what they share: a median is of two.
    """
    ordered, axis = recall(x, "sorted_from", (None, 0))
    if ordered is None or ordered.relaxation.algorithm not in EACH_BY_ITSELF:
        return None
    rows = jnp.moveaxis(ordered.values, axis, -1)
    start = lambda: statistics_of(rows, Ordering(), ordered.relaxation, "neuralsort")
    _, statistics = here.memo[id(x)] = here.memo.get(id(x)) or (x, start())  # with x, so that no other has its id
    place = jnp.clip(position, 0, rows.shape[-1] - 1).astype(jnp.int32)
    found = statistics(jnp.broadcast_to(place, (*rows.shape[:-1], 1)))[..., 0]
    return real(found.reshape(exact.shape), exact)


@rule("top_k", became="top_k by the ordering algorithm, with its SoftIndex")
def top_k(here: Here, x: Value):
    exact = here.hard(x)
    axis = here.params.get("axis", -1)  # older jax: the last one
    values, index = keys(x, here.relaxation).top_k(here.params["k"], axis=axis)
    position = exact[1] if index is None else _index(here, index, exact[1])
    return [real(values.values, exact[0]), position]


@rule("cummax", "cummin", became="max or min of each prefix by the ordering algorithm")
def cumulative(here: Here, x: Value):
    axis, size = here.params["axis"], hard(x).shape[here.params["axis"]]
    ordered = keys(x, here.relaxation)
    rows = jnp.moveaxis(ordered.values, axis, -1)
    mask = np.tri(size, dtype=bool)
    mask = mask.T if here.params["reverse"] else mask
    prefixes = jnp.broadcast_to(rows[..., None, :], (*rows.shape, size))
    table = SoftArray._rebuild(prefixes, prefixes, ordered.relaxation)
    reduce = table.max if here.eqn.primitive.name == "cummax" else table.min
    return real(jnp.moveaxis(reduce(axis=-1, where=mask).values, -1, axis), here.hard(x))


# Positions among sorted edges


def searchsorted(here: Here, closed, edges: Value, queries: Value, exact) -> Integer:
    """`P(i >= k) = P(edge_(k-1) is before the query)`: what jnp.searchsorted does by bisection or by counting.

    Bisection itself has no sound relaxation step by step: its two bounds depend on each other.
    """
    n = hard(edges).shape[-1]
    right = _ties_go_right(closed, edges, queries)
    rule = comparison.LESS_EQUAL if right else comparison.LESS
    x, q = softs((edges, queries), hard(queries).dtype)
    before = relax(rule, here.relaxation, aligned(x, q.ndim + 1), q[..., None])
    one, zero = jnp.ones_like(before[..., :1]), jnp.zeros_like(before[..., :1])
    at_least = jnp.concatenate([one, before, zero], -1)
    out = Integer(jnp.maximum(at_least[..., :-1] - at_least[..., 1:], 0), exact, np.arange(n + 1))
    return remember(out, "mean", before.sum(-1))


def _ties_go_right(closed, edges: Value, queries: Value) -> bool:
    """Whether a query equal to all edges comes after them: asked of the function itself."""
    with jax.ensure_compile_time_eval():
        args = [jnp.zeros(np.shape(hard(x)), hard(x).dtype) for x in (edges, queries)]
        (found,) = jaxpr_as_fun(closed)(*args)
        return bool(np.asarray(found).max() > 0)
