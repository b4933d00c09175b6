"""The operators of this library in a program that is softened: they are relaxed as their caller said, and stay so."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend.core import JaxprEqn, Literal

from softtypes.softening.rule import aval, bind
from softtypes.softening.sites import is_of_operator
from softtypes.softening.values import Smooth, Value, dtype_of, hard, is_soft, real, soft


class Untouched:
    """The equations of operators, one after the other, each computed of the soft views and of the exact ones.

    Within an operator the comparisons and indices of the soft views belong to these; outside of it both are exact.
    """

    def __init__(self):
        self.views: dict[Any, tuple] = {}  # of what an operator has computed so far: soft, exact

    def takes(self, eqn: JaxprEqn, given: Sequence[Value]) -> bool:
        """Whether an equation is one of an operator and depends on soft floats only; said in the order of the program.

        A Boolean or an index that was relaxed outside of it, it consumes as any other equation does.
        """
        own = [v for v in eqn.invars if not isinstance(v, Literal) and v in self.views]
        soft_inputs = [x for v, x in zip(eqn.invars, given, strict=True) if is_soft(x) and v not in own]
        if not (own or soft_inputs):
            return False
        if not is_of_operator(eqn):
            self.views = {}
            return False
        return all(jnp.issubdtype(dtype_of(x), jnp.inexact) for x in soft_inputs)

    def run(self, eqn: JaxprEqn, given: Sequence[Value]) -> list[Value]:
        """Its results, as values of the program."""
        pairs = [self._of(v, x) for v, x in zip(eqn.invars, given, strict=True)]
        relaxed = _bound(eqn, [a for a, _ in pairs])
        exact = relaxed if all(a is b for a, b in pairs) else _bound(eqn, [b for _, b in pairs])
        self.views |= dict(zip(eqn.outvars, zip(relaxed, exact, strict=True), strict=True))
        return [_outside(v, a, b) for v, a, b in zip(eqn.outvars, relaxed, exact, strict=True)]

    def _of(self, v, x: Value) -> tuple:
        if not isinstance(v, Literal) and v in self.views:
            return self.views[v]
        if isinstance(x, Smooth) or not is_soft(x):
            a = x.array if isinstance(x, Smooth) else hard(x)
            return a, a
        return soft(x), hard(x)


def _bound(eqn: JaxprEqn, arrays) -> list:
    out = bind(eqn, *arrays)
    return list(out) if eqn.primitive.multiple_results else [out]


def _outside(v, relaxed, exact) -> Value:
    """A result as the program sees it."""
    if not jnp.issubdtype(aval(v).dtype, jnp.inexact):
        return exact
    return Smooth(relaxed) if relaxed is exact else real(relaxed, exact)
