"""Functions that a program calls, branches and loops."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax

from softtypes.softening.joining import bools
from softtypes.softening.rule import Here, rule
from softtypes.softening.rules_integers import mixture, probabilities
from softtypes.softening.rules_ordering import searchsorted
from softtypes.softening.sites import Recorder, is_of_library, name_of
from softtypes.softening.values import (
    WIDEST,
    Columns,
    Integer,
    Known,
    Smooth,
    Value,
    as_real,
    as_soft_bool,
    certain,
    hard,
    integer_of,
    is_float,
    is_integer,
    is_soft,
    over,
    real,
    soft,
)
from softtypes.types import SoftArray, SoftBool

# Functions


@rule("jit", "pjit", "closed_call", "core_call", became="what it calls, step by step", is_site=False)
def call(here: Here, *values: Value):
    """The function, step by step; the few that are known as a whole by their own rule."""
    closed = here.params.get("jaxpr") or here.params["call_jaxpr"]
    special = FUNCTIONS.get((here.params.get("name"), len(values)))
    found = special(here, closed, *values) if special and is_of_library(closed.jaxpr) else None
    return here.run(closed, values) if found is None else found


def _searchsorted(here: Here, closed, edges: Value, queries: Value):
    if not is_float(queries) or hard(edges).ndim != 1:
        return None
    decided = here.decide((queries,), "SoftIndex: probabilities of how many edges come before")
    exact = here.hard(edges, queries)[0]
    return [exact if decided is None else searchsorted(decided, closed, edges, queries, exact)]


FUNCTIONS: dict[tuple, Callable] = {("searchsorted", 2): _searchsorted}
SMOOTH_FUNCTIONS = ("logaddexp", "logaddexp2")  # they compare only to keep from overflowing


@rule(
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"),
    became="what it calls, step by step, if something in it is relaxed; else as it is, with its own derivative",
    is_site=False,
)
def custom(here: Here, *values: Value):
    """A function with a derivative of its own: it keeps that, unless something in it is relaxed."""
    closed = here.params.get("call_jaxpr") or here.params["fun_jaxpr"]
    name = name_of(closed.jaxpr)
    if name in SMOOTH_FUNCTIONS:
        return None
    if here.plan.leaves(here.site("", True)._replace(primitive=name)) == "skipped":
        here.note("skipped", relaxed=False)
        return None
    trial = Recorder()
    _abstractly(lambda: here.replaced(record=trial).run(closed, values))
    return here.run(closed, values) if trial.relaxed() else None


@rule("remat2", "remat", "checkpoint", became="what it calls, step by step, computed again", is_site=False)
def remat(here: Here, *values: Value):
    """The function, computed again in the backward pass as before."""
    given = [i for i, x in enumerate(values) if is_soft(x)]

    def run(*soft_values):
        known = dict(zip(given, soft_values, strict=True))
        return [portable(x) for x in here.run(here.params["jaxpr"], [known.get(i, x) for i, x in enumerate(values)])]

    options = {name: here.params[name] for name in ("prevent_cse", "policy")}
    return jax.checkpoint(run, **options)(*(portable(values[i]) for i in given))


# Kinds of values: what a loop carries from step to step has one


class Kind(NamedTuple):
    """What a value is, apart from its entries."""

    name: str
    support: tuple[int, ...] = ()
    dtype: Any = None


ORDER = {name: i for i, name in enumerate(("known", "plain", "smooth", "real", "bool", "integer", "number"))}


def kind_of(x: Value) -> Kind:
    if isinstance(x, Smooth):
        return Kind("smooth")
    if isinstance(x, SoftBool):
        return Kind("bool", (), x.probs.dtype)
    if isinstance(x, SoftArray):
        return Kind("real") if is_float(x) else Kind("number", (), x.values.dtype)
    if isinstance(x, Integer):
        dtype = x.probs.dtype
        return (
            Kind("integer", tuple(np.unique(x.support).tolist()), dtype) if x.is_static else Kind("number", (), dtype)
        )
    if isinstance(x, Known) and is_integer(x) and len(np.unique(x.const)) <= WIDEST:
        return Kind("known", tuple(np.unique(x.const).tolist()))
    return Kind("plain")


def common(a: Kind, b: Kind) -> Kind:
    """The kind that holds values of both."""
    if a == b:
        return a
    low, high = sorted((a, b), key=lambda kind: ORDER[kind.name])
    dtypes = [kind.dtype for kind in (a, b) if kind.dtype is not None]
    dtype = jnp.result_type(*dtypes) if dtypes else None
    if high.name == "integer":
        support = tuple(sorted({*low.support, *high.support}))
        known = low.name != "plain" and len(support) <= WIDEST
        return Kind("integer", support, dtype) if known else Kind("number", (), dtype)
    return Kind("plain") if high.name == "known" else high._replace(dtype=dtype)


def coerced(x: Value, kind: Kind) -> Value:
    """A value as one of a kind."""
    return COERCIONS[kind.name](x, kind)


def _as_integer(x: Value, kind: Kind) -> Integer:
    support = np.asarray(kind.support)
    found = integer_of(x) or certain(hard(x), support, kind.dtype)
    assert found is not None
    found = over(found, support)
    return Integer(found.probs.astype(kind.dtype), jnp.asarray(found.hard_view), support)


def _as_number(x: Value, kind: Kind) -> SoftArray:
    x = as_real(x)
    return real(x.values.astype(kind.dtype), jnp.asarray(x.hard_view))


def _as_known(x: Value, kind: Kind) -> Value:
    """What the loop starts with, for as long as it is not seen to change."""
    x = jnp.asarray(hard(x))
    return Known(x, np.full(x.shape, kind.support[0], x.dtype)) if len(kind.support) == 1 else x


COERCIONS: dict[str, Callable[[Value, Kind], Value]] = {
    "known": _as_known,
    "plain": lambda x, kind: jnp.asarray(hard(x)),
    "smooth": lambda x, kind: Smooth(jnp.asarray(soft(x))),
    "real": lambda x, kind: as_real(x),
    "bool": lambda x, kind: SoftBool._rebuild(*_dtyped(as_soft_bool(x, "product", kind.dtype), kind)),
    "integer": _as_integer,
    "number": _as_number,
}


def _dtyped(x: SoftBool, kind: Kind):
    return x.probs.astype(kind.dtype), x.hard_view, x.logic


def portable(x: Value) -> Value:
    """A value in a form in which JAX carries it into and out of functions."""
    return jnp.asarray(hard(x)) if not is_soft(x) or isinstance(x, Columns) else x


def _abstractly(fn: Callable, *args) -> Any:
    """What fn returns, evaluated on shapes only."""
    out = []

    def run(*args):
        out.append(fn(*args))
        return None

    jax.eval_shape(run, *args)
    return out[0]


def fixed_point(step: Callable, start: Sequence[Value], *args) -> list[Kind]:
    """The kinds that a loop's carry has from its start on, found by iteration."""
    kinds = [kind_of(x) for x in start]
    for count in range(64):
        given = _closed(start, kinds)
        out = _abstractly(lambda carry, *args, kinds=kinds: step(_opened(carry, kinds), *args), given, *args)
        found = [common(a, kind_of(b)) for a, b in zip(kinds, out, strict=True)]
        if count > 4:
            found = [_widened(a, b) for a, b in zip(kinds, found, strict=True)]
        if found == kinds:
            break
        kinds = found
    return kinds


def _widened(a: Kind, b: Kind) -> Kind:
    """Integers whose support goes on growing are carried as their mean."""
    return Kind("number", (), b.dtype) if b.name == "integer" and a != b else b


def _closed(values: Sequence[Value], kinds: Sequence[Kind]) -> list[Value]:
    """Values of these kinds, as JAX carries them."""
    return [portable(coerced(x, kind)) for x, kind in zip(values, kinds, strict=True)]


def _opened(values: Sequence[Value], kinds: Sequence[Kind]) -> list[Value]:
    """What is carried, as values of these kinds."""
    return [coerced(x, kind) if kind.name == "known" else x for x, kind in zip(values, kinds, strict=True)]


# Loops


@rule("scan", became="a scan that carries soft values", is_site=False)
def scan(here: Here, *values: Value):
    """The loop; what it carries is of one kind throughout."""
    a, b = _loop_inputs(here.params, len(values))
    consts, start, xs = values[:a], values[a:b], [portable(x) for x in values[b:]]

    def step(carry, x, here=here):
        return here.run(here.params["jaxpr"], [*consts, *carry, *x])

    trial = here.replaced(record=Recorder())
    first = _abstractly(lambda xs: [jax.tree.map(lambda leaf: leaf[0], x) for x in xs], xs)
    kinds = fixed_point(lambda carry, x: step(carry, x, trial)[: b - a], start, _shapes(first))

    def body(carry, x):
        out = step(_opened(carry, kinds), x)
        return _closed(out[: b - a], kinds), [portable(y) for y in out[b - a :]]

    begin = _closed(start, kinds)
    options = {name: here.params[name] for name in ("length", "reverse", "unroll")}
    carry, ys = lax.scan(body, begin, xs, **options)
    return [*carry, *ys]


def _loop_inputs(params, count: int) -> tuple[int, int]:
    """Where among its operands a loop's carry begins and ends."""
    if "ft_in" in params:  # newer jax
        consts, carry, _ = (len(list(part)) for part in params["ft_in"].update(list(range(count))).unpack())
    else:
        consts, carry = params["num_consts"], params["num_carry"]
    return consts, consts + carry


def _shapes(values):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), values)


UNBOUNDED = (
    "soften: the condition of the while_loop at {place} (in {function}) is soft, so that the number of steps is not "
    "definite. Pass unroll=N for at most N steps, each taken with the probability that the loop still runs, or keep "
    "the condition hard with skip={place!r}"
)


@rule("while", became="steps mixed by the probability that the loop still runs, with `unroll`", is_site=False)
def while_loop(here: Here, *values: Value):
    """The loop; a soft condition needs a bound on the number of steps."""
    a, b = here.params["cond_nconsts"], here.params["cond_nconsts"] + here.params["body_nconsts"]
    of_test, of_body, start = values[:a], values[a:b], values[b:]
    test = lambda carry: here.run(here.params["cond_jaxpr"], [*of_test, *carry], "test")[0]
    step = lambda carry, here=here: here.run(here.params["body_jaxpr"], [*of_body, *carry], "step")
    trial = here.replaced(record=Recorder())
    kinds = fixed_point(lambda carry: step(carry, trial), start)
    begin = _closed(start, kinds)
    soft_test = is_soft(_abstractly(lambda carry: test(_opened(carry, kinds)), begin))
    decided = here.decide(()) if soft_test else None
    if decided is None:
        body = lambda carry: _closed(step(_opened(carry, kinds)), kinds)
        return lax.while_loop(lambda carry: hard(test(_opened(carry, kinds))), body, begin)
    if here.plan.unroll is None:
        site = here.site("", False)
        raise ValueError(UNBOUNDED.format(place=site.place, function=site.function))
    return _survived(decided, test, step, start, here.hard(*values))


def _survived(here: Here, test, step, start: Sequence[Value], exact) -> list[Value]:
    """`unroll` steps: the carry moves on with the probability that the condition has held so far."""

    def mixed(state):
        alive, *carry = state
        (alive,) = bools(here.logic, alive & bools(here.logic, test(carry))[0])
        return [alive, *(_moved(alive, x, y, here.logic) for x, y in zip(step(carry), carry, strict=True))]

    bits = jnp.ones((), bool)
    first = [SoftBool._rebuild(jnp.ones(()), bits, here.logic), *start]
    kinds = fixed_point(mixed, first)
    body = lambda state, _: (_closed(mixed(_opened(state, kinds)), kinds), None)
    (_, *carry), _ = lax.scan(body, _closed(first, kinds), None, length=here.plan.unroll)
    return [_with_exact(x, y) for x, y in zip(carry, exact, strict=True)]


def _moved(alive: SoftBool, new: Value, old: Value, logic: str) -> Value:
    exact = jnp.where(alive.hard_view, hard(new), hard(old))
    return new if new is old else mixture(probabilities(alive, 2), (old, new), exact, logic)


def _with_exact(x: Value, exact) -> Value:
    """The same soft view with another exact one."""
    if isinstance(x, SoftBool):
        return SoftBool._rebuild(x.probs, exact, x.logic)
    if isinstance(x, Integer):
        return Integer(x.probs, exact, x.support)
    return real(soft(x), exact) if is_soft(x) else exact


# Branches


@rule("cond", became="mixture of the branches by probability", is_site=False)
def branch(here: Here, which: Value, *operands: Value):
    """A soft choice runs all branches and mixes them; an exact one runs the one that it names."""
    branches = here.params["branches"]
    decided = here.decide((which,)) if is_soft(which) else None
    runs = [lambda b=b, i=i: here.run(b, operands, i) for i, b in enumerate(branches)]
    if decided is None:
        return _chosen_branch(hard(which), runs)
    exact = here.hard(which, *operands)
    weights = probabilities(which, len(branches))
    outs = [_guarded(weights[i] > 0, run) for i, run in enumerate(runs)]
    return [mixture(weights, cases, e, here.logic) for *cases, e in zip(*outs, exact, strict=True)]


def _chosen_branch(which, runs):
    found = [_abstractly(run) for run in runs]
    kinds = [reduce(common, map(kind_of, cases)) for cases in zip(*found, strict=True)]
    as_kinds = lambda run: lambda: [coerced(x, kind) for x, kind in zip(run(), kinds, strict=True)]
    return lax.switch(which, [as_kinds(run) for run in runs])


def _guarded(possible, run: Callable) -> list[Value]:
    """A branch, not run where its probability is 0: what is not run has no NaN, nor has its gradient."""
    found = _abstractly(run)
    shapes = jax.eval_shape(lambda: [portable(x) for x in run()])
    zeros = lambda: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    out = lax.cond(possible, lambda: [portable(x) for x in run()], zeros)
    return [
        x if isinstance(x, Known) and not isinstance(x.array, jax.core.Tracer) else y
        for x, y in zip(found, out, strict=True)
    ]
