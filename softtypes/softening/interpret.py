"""Evaluation of a program with soft values."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax.core
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from softtypes.softening import (
    rules_control,
    rules_elementwise,
    rules_indexing,
    rules_integers,
    rules_ordering,
    rules_structure,
)
from softtypes.softening.known import known
from softtypes.softening.one_index import of_one_index
from softtypes.softening.rule import RULES, Here, aval, on_both_views
from softtypes.softening.sites import Place, Plan, Recorder, inside, is_of_library, place_of
from softtypes.softening.untouched import Untouched
from softtypes.softening.values import Known, Smooth, Value, dtype_of, hard, is_soft

# Not differentiable everywhere, and applied to both views as they are; the report says so.
KINKED = {"reduce", "reduce_window", "reduce_window_max", "reduce_window_min", "scatter_max", "scatter_min"} | {
    *("scatter-max", "scatter-min", "approx_top_k", "nextafter", "shard_map", "pallas_call", "custom_call")
}
LOADED = (rules_control, rules_elementwise, rules_indexing, rules_integers, rules_ordering, rules_structure)


def evaluate(closed: ClosedJaxpr, values: Sequence[Value], plan: Plan, record: Recorder) -> list[Value]:
    """The results of a program on these values."""
    return _Run(plan, record).function(closed, values, Place, (), False)


class _Run:
    """One evaluation: the plan, and where the sites are recorded."""

    def __init__(self, plan: Plan, record: Recorder):
        self.plan, self.record = plan, record

    def function(
        self, closed, values: Sequence[Value], outer: Callable[[], Place], key: tuple, shared: bool
    ) -> list[Value]:
        """The results of a function called at a place."""
        jaxpr, consts = (closed.jaxpr, closed.consts) if isinstance(closed, ClosedJaxpr) else (closed, ())
        live = _differentiated(jaxpr)
        env = dict(zip(jaxpr.constvars, map(_constant, consts), strict=True))
        env |= dict(zip(jaxpr.invars, values, strict=True))
        made = {v: eqn for eqn in jaxpr.eqns for v in eqn.outvars}
        origin = lambda v: None if isinstance(v, Literal) else made.get(v)
        memo = {}
        as_they_are = Untouched()
        for i, eqn in enumerate(jaxpr.eqns):
            given = [_literal(v) if isinstance(v, Literal) else env[v] for v in eqn.invars]
            if not shared and as_they_are.takes(eqn, given):
                env.update(zip(eqn.outvars, as_they_are.run(eqn, given), strict=True))
                continue
            if not live[i]:
                given = list(map(_exact, given))
            where = partial(_place, outer, eqn, shared)
            here = Here(eqn, where, self.plan, self.record, (*key, i), self.enter, self.plan.relaxation, origin, memo)
            out = self.equation(here, given)
            env.update(zip(eqn.outvars, out, strict=True))
        return [_literal(v) if isinstance(v, Literal) else env[v] for v in jaxpr.outvars]

    def equation(self, here: Here, values: list[Value]) -> list[Value]:
        """The results of an equation."""
        if not any(map(is_soft, values)):
            return known(here, values) or _listed(here, here.hard(*values))
        together = of_one_index(here, values)
        if together is not None:
            return [together]
        found = RULES.get(here.eqn.primitive.name)
        if found is None or (found.is_site and any(map(_is_complex, values))):
            return self.without_rule(here, values)
        decided = here.decide(values) if found.is_site else here
        out = None if decided is None else found.run(decided, *values)
        return on_both_views(here, *values) if out is None else _listed(here, out)

    def without_rule(self, here: Here, values: list[Value]) -> list[Value]:
        out = on_both_views(here, *values)
        if here.eqn.primitive.name in KINKED or (out and not any(map(is_soft, out))):
            here.note("it has no rule", relaxed=False)
        return out

    def enter(self, here: Here, closed, values: Sequence[Value], tag: Any = None) -> list[Value]:
        """The results of a function that an equation calls."""
        jaxpr = closed.jaxpr if isinstance(closed, ClosedJaxpr) else closed
        inner = _Run(here.plan, here.record)
        return inner.function(closed, values, here.where, (*here.key, tag), is_of_library(jaxpr))


def _place(outer: Callable[[], Place], eqn, shared: bool) -> Place:
    return inside(outer(), place_of(eqn), shared)


def _listed(here: Here, out) -> list[Value]:
    return list(out) if here.eqn.primitive.multiple_results else [out]


def _literal(v: Literal) -> Value:
    plain = isinstance(v.val, bool | int | float | complex)
    return _constant(np.asarray(v.val, aval(v).dtype) if plain else v.val)


def _constant(x) -> Value:
    """A constant of the program; small exact ones are known. A float that is traced may be differentiated."""
    if isinstance(x, jax.core.Tracer):
        return Smooth(x) if jnp.issubdtype(x.dtype, jnp.inexact) else x
    exact = jnp.result_type(x) == jnp.bool_ or jnp.issubdtype(jnp.result_type(x), jnp.integer)
    return Known(x, np.asarray(x)) if exact and np.size(x) <= 4096 else x


def _is_complex(x: Value) -> bool:
    return jnp.issubdtype(dtype_of(x), jnp.complexfloating)


def _exact(x: Value) -> Value:
    return hard(x) if is_soft(x) else x


def _differentiated(jaxpr: Jaxpr) -> list[bool]:
    """Which equations have a result that reaches one of the program's by another way than `stop_gradient`."""
    wanted = {v for v in jaxpr.outvars if not isinstance(v, Literal)}
    live = []
    for eqn in reversed(jaxpr.eqns):
        reached = any(v in wanted for v in eqn.outvars)
        live.append(reached or bool(eqn.effects))
        if reached and eqn.primitive.name != "stop_gradient":
            wanted.update(v for v in eqn.invars if not isinstance(v, Literal))
    return live[::-1]
