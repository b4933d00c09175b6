"""Comparisons, logic, choices, and steps of numbers."""

from collections.abc import Callable, Sequence
from functools import reduce

import jax.numpy as jnp
import numpy as np

from softtypes._lift import Rule, Views, relax
from softtypes.rules import comparison, elementwise, selection
from softtypes.rules import logic as logics
from softtypes.softening import steps
from softtypes.softening.joining import bools, join
from softtypes.softening.rule import Here, rule
from softtypes.softening.rules_integers import compared, mixture, probabilities
from softtypes.softening.values import (
    Integer,
    Known,
    Smooth,
    Value,
    as_soft_bool,
    constant,
    hard,
    is_bool,
    is_integer,
    is_soft,
    is_whole,
    mark_whole,
    real,
    recall,
    remember,
    soft,
    softs,
    without_gradient,
)
from softtypes.types import SoftArray, SoftBool


def soft_bool(here: Here, probs, exact) -> SoftBool:
    return SoftBool._rebuild(probs, exact, here.logic)


# Comparisons

COMPARISONS: dict[str, tuple[Rule, Callable, Callable]] = {
    "lt": (comparison.LESS, jnp.less, lambda a, b: ~a & b),
    "le": (comparison.LESS_EQUAL, jnp.less_equal, lambda a, b: ~a | b),
    "gt": (comparison.GREATER, jnp.greater, lambda a, b: a & ~b),
    "ge": (comparison.GREATER_EQUAL, jnp.greater_equal, lambda a, b: a | ~b),
    "eq": (comparison.EQUAL, jnp.equal, lambda a, b: ~(a ^ b)),
    "ne": (comparison.NOT_EQUAL, jnp.not_equal, lambda a, b: a ^ b),
    "lt_to": (comparison.LESS, jnp.less, lambda a, b: ~a & b),
    "le_to": (comparison.LESS_EQUAL, jnp.less_equal, lambda a, b: ~a | b),
}


@rule(*COMPARISONS, became="SoftBool: the step of the difference; of integers the exact probability")
def compare(here: Here, x: Value, y: Value):
    relaxed, test, connective = COMPARISONS[here.eqn.primitive.name]
    if here.eqn.invars[0] is here.eqn.invars[1]:
        here.note("it compares a value to itself: a test for NaN", relaxed=False)
        return here.hard(x, y)
    if is_bool(x):
        return connective(*bools(here.logic, x, y))
    exact = here.hard(x, y)
    probs = compared(test, x, y) if isinstance(x, Integer) or isinstance(y, Integer) else None
    if probs is None and is_integer(x):
        probs = _of_means(here, x, y)
    elif probs is None:
        probs = relax(relaxed, here.relaxation, *softs((x, y)))
    out = soft_bool(here, probs, exact)
    if here.eqn.primitive.name == "lt" and is_integer(x) and constant(y) == 0:
        remember(out, "below_zero", x)
    return out


HALVES = {"lt": -0.5, "le": 0.5, "gt": 0.5, "ge": -0.5}


def _of_means(here: Here, x: Value, y: Value):
    """Integers that are known in the mean are compared half-way between two integers, where no two are tied."""
    a, b = softs((x, y))
    name = here.eqn.primitive.name
    if name in HALVES:
        return relax(COMPARISONS[name][0], here.relaxation, a, b + HALVES[name])
    below = [relax(comparison.LESS, here.relaxation, a, b + half) for half in (0.5, -0.5)]
    equal = jnp.clip(below[0] - below[1], 0, 1)
    return equal if name == "eq" else 1 - equal


# Logic


@rule("and", "or", "xor", "not", became="SoftBool by the t-norm family")
def logical(here: Here, *values: Value):
    if not is_bool(values[0]):
        return None
    first, *rest = bools(here.logic, *values)
    return reduce(CONNECTIVES[here.eqn.primitive.name], rest, first) if rest else ~first


CONNECTIVES = {"and": lambda a, b: a & b, "or": lambda a, b: a | b, "xor": lambda a, b: a ^ b}


@rule("reduce_and", "reduce_or", became="SoftBool by the t-norm family")
def over_axes(here: Here, x: Value):
    if not isinstance(x, SoftBool):
        return None
    fold = {"reduce_and": logics.conjunction_over, "reduce_or": logics.disjunction_over}[here.eqn.primitive.name]
    views = fold(x._views, here.logic, tuple(here.params["axes"]))
    return soft_bool(here, views.soft, views.hard)


# Choices


@rule("select_n", became="mixture by the probability", is_site=False)
def select(here: Here, which: Value, *cases: Value):
    """The case that a Boolean or an integer chooses; a certain choice acts on both views."""
    if isinstance(which, Known):
        uniform = _uniform(which)
        if uniform is not None:
            return cases[uniform]
    through = _guarded_gradient(here, cases)
    if through is not None:
        return through
    decided = here.decide((which,)) if is_soft(which) and not _wraps(here, which, cases) else None
    if decided is None:
        return _chosen(here, which, cases)
    return _mixed(decided, which, cases)


def _mixed(here: Here, which: Value, cases) -> Value:
    if isinstance(which, SoftBool):
        return where(here, which, cases[1], cases[0])
    tests = recall(which, "first_of", ())
    if len(tests) == len(cases):
        return _first(here, tests, cases)
    return mixture(probabilities(which, len(cases)), cases, here.hard(which, *cases), here.logic)


def _first(here: Here, tests: Sequence[Value], cases: Sequence[Value]) -> Value:
    """The case of the first test that holds, by one `where` in the other; if none does, the first case."""
    out = cases[0]
    for test, case in reversed(list(zip(tests, cases, strict=True))):
        if not isinstance(test, Known) or test.const.any():
            out = where(here, as_soft_bool(test, here.logic, float), case, out)
    return out


def _wraps(here: Here, which: Value, cases) -> bool:
    """Whether a negative position is counted from the end: exact, or every position near 0 would be blurred."""
    return recall(which, "below_zero") is cases[0] and is_integer(cases[0])


def _guarded_gradient(here: Here, cases) -> Value | None:
    """`select(b, stop_gradient(x), x)` is x: JAX puts it before batched branches, for the sake of their gradients."""
    variables = here.eqn.invars[1:]
    for v in variables:
        made = here.origin(v)
        if made is not None and made.primitive.name == "stop_gradient" and len(variables) == 2:
            others = [i for i, w in enumerate(variables) if w is made.invars[0]]
            if others:
                return cases[others[0]]
    return None


def _uniform(which: Known) -> int | None:
    values = np.unique(which.const)
    return int(values[0]) if len(values) == 1 else None


def _chosen(here: Here, which, cases):
    exact = hard(which)
    if any(isinstance(x, Integer | SoftBool) for x in cases) or is_integer(cases[0]):
        return join(lambda *xs: here.bind(jnp.broadcast_to(exact, xs[0].shape), *xs), cases, here.logic)
    return None


def where(here: Here, p: SoftBool, x: Value, y: Value) -> Value:
    """x with the probability, else y."""
    if is_bool(x):
        p, a, b = bools(here.logic, p, x, y)
        return soft_bool(here, *selection.where(p._views, a._views, b._views))
    if is_integer(x):
        return mixture(probabilities(p, 2), (y, x), here.hard(p, y, x), here.logic)
    a, b = (Views(soft(v), hard(v)) for v in (x, y))
    return real(selection.where(p._views, a, b).soft, here.hard(p, y, x))


# Numbers


def _relaxed(here: Here, relaxed: Rule, *values: Value, **static) -> SoftArray:
    """A relaxed function; of whole values by a function that keeps them so, it is whole."""
    dtype = None if is_integer(values[0]) else hard(values[0]).dtype
    out = real(relax(relaxed, here.relaxation, *softs(values, dtype), **static), here.hard(*values))
    return mark_whole(out) if all(map(is_whole, values)) else out


STEPS = {"floor": steps.FLOOR, "ceil": steps.CEIL}


@rule("floor", "ceil", "round", became="sum of steps")
def staircase(here: Here, x: Value):
    if here.eqn.primitive.name == "round":
        return mark_whole(_relaxed(here, elementwise.ROUND, x, decimals=0, neighbor_radius=5))
    return mark_whole(_relaxed(here, STEPS[here.eqn.primitive.name], x))


@rule("sign", became="relaxed sign, 2 S(x) - 1")
def sign(here: Here, x: Value):
    return mark_whole(_relaxed(here, elementwise.SIGN, x))


@rule("abs", became="relaxed absolute value, x (2 S(x) - 1)")
def absolute(here: Here, x: Value):
    return _relaxed(here, elementwise.ABS, x) if _is_real(x) else None


@rule("max", "min", became="relaxed maximum, y + relu(x - y), or minimum")
def extremum(here: Here, x: Value, y: Value):
    largest = here.eqn.primitive.name == "max"
    if is_bool(x):
        a, b = bools(here.logic, x, y)
        return a | b if largest else a & b
    return _relaxed(here, elementwise.MAXIMUM if largest else elementwise.MINIMUM, x, y)


@rule("clamp", became="relaxed clip")
def clamp(here: Here, low: Value, x: Value, high: Value):
    rule = Rule(lambda a, x, b, **knobs: elementwise.CLIP.soft(x, a, b, has_low=True, has_high=True, **knobs), jnp.clip)
    return _relaxed(here, rule._replace(hard=lambda a, x, b: jnp.clip(x, a, b)), low, x, high)


@rule("rem", became="x - y times the relaxed truncation of x / y")
def remainder(here: Here, x: Value, y: Value):
    return _relaxed(here, steps.REMAINDER, x, y)


def _is_real(x: Value) -> bool:
    return isinstance(x, Smooth | SoftArray) and not jnp.issubdtype(hard(x).dtype, jnp.complexfloating)


@rule("stop_gradient", became="the exact value", is_site=False)
def stopped(here: Here, x: Value):
    """What has no derivative needs no relaxation: the exact view."""
    return without_gradient(hard(x))
