"""Functions of one index are functions of it: `where(i < 0, i + n, i)` has no probabilities to multiply.

Values that were computed from one distribution share its probabilities, the same array. An elementwise function of
such values, of integers and Booleans, is evaluated on the support, whatever it does.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from softtypes.softening.known import FOLDS
from softtypes.softening.rule import Here, aval
from softtypes.softening.values import Integer, Known, Value, constant, hard, is_soft, recall, remember
from softtypes.types import SoftBool

COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
ELEMENTWISE = {*COMPARISONS, "add", "sub", "mul", "div", "rem", "neg", "abs", "sign", "max", "min", "clamp"} | {
    *("and", "or", "xor", "not", "select_n", "shift_left", "shift_right_arithmetic", "integer_pow")
}


def of_one_index(here: Here, values: Sequence[Value]) -> Value | None:
    """The result as a function of the index that all soft operands are functions of; None if there is no such one."""
    if here.eqn.primitive.name not in ELEMENTWISE:
        return None
    found = [_table(x) for x in values if is_soft(x)]
    if any(table is None for table in found):
        return None
    probs = found[0][0]
    if any(table[0] is not probs for table in found):
        return None
    static = _of_known(here, values)
    tables = _of_arrays(here, values, probs) if static is None else static
    return None if tables is None else _wrapped(here, probs, tables, here.hard(*values))


def _table(x: Value) -> Any:
    """The probabilities of the index, and what the value is for each."""
    if isinstance(x, Integer):
        return x.probs, x.support
    return recall(x, "event") if isinstance(x, SoftBool) else None


def _of_known(here: Here, values: Sequence[Value]) -> np.ndarray | None:
    """The function of a known support and known numbers."""
    fold = FOLDS.get(here.eqn.primitive.name)
    tables = [_table(x)[1] if is_soft(x) else constant(x) for x in values]
    if fold is None or any(t is None or not isinstance(t, np.ndarray | int) for t in tables):
        return None
    kinds = [np.asarray(t, aval(v).dtype) for t, v in zip(tables, here.eqn.invars, strict=True)]
    return fold(*kinds, **here.params).astype(aval(here.eqn.outvars[0]).dtype)


def _of_arrays(here: Here, values: Sequence[Value], probs):
    """The primitive itself on the support, for what differs from element to element."""
    shape = aval(here.eqn.outvars[0]).shape
    if _is_one_hot(here, values):
        return None
    if probs.shape[:-1] != shape:
        return None
    spread = []
    for x, v in zip(values, here.eqn.invars, strict=True):
        table = jnp.asarray(_table(x)[1] if is_soft(x) else hard(x), aval(v).dtype)
        table = table if is_soft(x) else table.reshape(*table.shape, 1)
        spread.append(jnp.broadcast_to(table, (*shape, probs.shape[-1])))
    return here.bind(*spread)


def _is_one_hot(here: Here, values: Sequence[Value]) -> bool:
    """Entries of the distribution itself, which need no sum."""
    return here.eqn.primitive.name == "eq" and sum(map(is_soft, values)) == 1


def _wrapped(here: Here, probs, table, exact) -> Value:
    if table.dtype != bool:
        return Integer(probs, exact, table)
    if isinstance(table, np.ndarray) and (table.all() or not table.any()):
        return Known(exact, np.broadcast_to(table.all(), exact.shape))
    out = SoftBool._rebuild(Integer(probs, exact, table).holds(lambda a: a), exact, here.logic)
    return remember(out, "event", (probs, table))
