"""What a rule is given, and the table into which it is entered."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from softtypes._relaxation import Relaxation, show_array
from softtypes.softening.sites import Place, Plan, Recorder, Site
from softtypes.softening.values import SPLIT, Columns, Integer, Smooth, Value, dtype_of, hard, is_soft, real, soft
from softtypes.types import SoftBool


def aval(v: Any) -> Any:
    """The shape and dtype of a variable of the program."""
    return v.aval


def bind(eqn: JaxprEqn, *arrays, **changed):
    """The primitive of an equation on plain arrays: an array, or a list where it has several results."""
    given = eqn.primitive.get_bind_params({**eqn.params, **changed})
    functions, params = given if isinstance(given, tuple) else ((), given)  # a pair in older jax
    context = getattr(eqn, "ctx", None)
    with nullcontext() if context is None else context.manager:
        return eqn.primitive.bind(*functions, *arrays, **params)


@dataclass(frozen=True)
class Here:
    """An equation of the program, and what its rule may ask for."""

    eqn: JaxprEqn
    where: Callable[[], Place]
    plan: Plan
    record: Recorder
    key: tuple
    evaluate: Callable[..., list]  # (here, closed jaxpr, values) -> values: enter a function that it calls
    relaxation: Relaxation
    origin: Callable[[Any], JaxprEqn | None]  # of a variable: the equation of the same function that made it
    memo: dict  # what equations of the same function share

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the primitive."""
        return self.eqn.params

    @property
    def logic(self) -> str:
        """The t-norm family at this site."""
        return self.relaxation.logic

    @property
    def place(self) -> Place:
        """Where it comes from."""
        return self.where()

    def bind(self, *arrays, **changed):
        """The primitive itself on plain arrays: an array, or a list where it has several results."""
        return bind(self.eqn, *arrays, **changed)

    def hard(self, *values, **changed):
        """The primitive itself on the hard views."""
        return self.bind(*map(hard, values), **changed)

    def run(self, closed, values: Sequence[Value], tag: Any = None) -> list[Value]:
        """The results of a function that this equation calls."""
        return self.evaluate(self, closed, values, tag)

    def note(self, became: str, relaxed: bool = True) -> None:
        """Enter this equation into the report."""
        self.record(self.key, self.site(became, relaxed))

    def decide(self, values: Sequence[Value], became: str | None = None) -> "Here | None":
        """This site with the relaxation that it takes; None if it is to stay hard. The report will say which.

        What consumes a Boolean or an index follows what was relaxed before it.
        """
        became = became or RULES[self.eqn.primitive.name].became
        site = self.site(became, True)
        follows = any(isinstance(x, SoftBool | Integer | Columns) for x in values)
        why = self.plan.leaves(site, follows)
        decided = self.replaced(relaxation=self.plan.at(site))
        decided.note(why or became, relaxed=not why)
        return None if why else decided

    def replaced(self, **changes) -> "Here":
        """A copy with some fields changed."""
        return replace(self, **changes)

    def site(self, became: str, relaxed: bool) -> Site:
        """This equation as a site."""
        frame = self.place.frames[0] if self.place.frames else None
        return Site(
            place=f"{frame.file.rsplit('/', 1)[-1]}:{frame.line}" if frame else "?",
            function=frame.function.split(".")[-1] if frame else "?",
            scope=self.place.scope,
            primitive=self.eqn.primitive.name,
            became=became,
            relaxed=relaxed,
            inputs=tuple(show_array(aval(v)) for v in self.eqn.invars),
            outputs=tuple(show_array(aval(v)) for v in self.eqn.outvars),
            softness=self.relaxation.softness if relaxed else None,
            frames=self.place.frames,
        )


class Rule(NamedTuple):
    """What a primitive becomes.

    `run(here, *values)` gives a value, or a list of them where the primitive has several results; None says that it
    does not apply to these values, and the primitive is applied to both views.
    """

    run: Callable[..., Any]
    became: str  # for the report and the documentation
    is_site: bool  # whether each use is a site; if not, the rule says `here.decide` where it is one


RULES: dict[str, Rule] = {}


def rule(*primitives: str, became: str, is_site: bool = True):
    """Enter a function into the table as the rule of primitives."""

    def enter(run: Callable) -> Callable:
        RULES.update(dict.fromkeys(primitives, Rule(run, became, is_site)))
        return run

    return enter


def on_both_views(here: Here, *values) -> list[Value]:
    """The primitive itself on both views: for what is smooth, and for what has no rule or is left hard.

    Integers and Booleans have no view to be smooth in: they are computed from the hard views.
    """
    many = here.eqn.primitive.multiple_results
    exact = here.hard(*values) if any(isinstance(x, SPLIT) for x in values) else None
    floats = [jnp.issubdtype(aval(v).dtype, jnp.inexact) for v in here.eqn.outvars]
    if not any(floats):
        out = here.hard(*values) if exact is None else exact
        return list(out) if many else [out]
    relaxed = here.bind(*map(_floats_of, values))
    relaxed = list(relaxed) if many else [relaxed]
    if exact is None:
        return [Smooth(a) if is_float else a for a, is_float in zip(relaxed, floats, strict=True)]
    exact = list(exact) if many else [exact]
    return [real(a, b) if is_float else b for a, b, is_float in zip(relaxed, exact, floats, strict=True)]


def _floats_of(x: Value):
    """The soft view of floats, the exact one of all else."""
    return soft(x) if is_soft(x) and jnp.issubdtype(dtype_of(x), jnp.inexact) else hard(x)
