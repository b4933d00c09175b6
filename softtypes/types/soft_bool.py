"""SoftBool: the probability of being true, and the truth."""

from collections.abc import Callable
from typing import Any, Self

import jax.numpy as jnp
import numpy as np

from softtypes._lift import Views, canonical_axes
from softtypes._relaxation import CHOICES, check_choice, merge
from softtypes.rules import logic as rules
from softtypes.rules import selection
from softtypes.types.base import (
    ARRAYS,
    KINDS,
    SoftValue,
    check_same_shape,
    real_array,
    show_array,
)
from softtypes.types.soft_array import SoftArray, neutral
from softtypes.types.update import At

NO_PROBABILITY = (
    "{symbol}: expected a SoftBool or a bool array, got {got}; wrap it in sft.SoftBool(...) to say that these are "
    "probabilities, or compare it (x > 0) to make it Boolean"
)
OTHER_LOGIC = (
    "two SoftBools of different logic cannot be combined: {a!r} and {b!r}; say which one you mean with "
    "sft.SoftBool(value.probs, value.hard(), logic=...)"
)


def certain_views(other: Any, dtype, symbol: str) -> Views | None:
    """Raw bools as probabilities 0 and 1; None for what is neither a Boolean nor mistaken for one."""
    if isinstance(other, (bool, np.bool_)) or (isinstance(other, ARRAYS) and other.dtype == bool):
        bits = jnp.asarray(other)
        return Views(bits.astype(dtype), bits)
    if isinstance(other, SoftValue):
        raise TypeError(NO_PROBABILITY.format(symbol=symbol, got=f"a {type(other).__name__}"))
    if isinstance(other, (*ARRAYS, int, float)):
        raise TypeError(NO_PROBABILITY.format(symbol=symbol, got=str(jnp.result_type(other))))
    return None


def _connective(rule: Callable[..., Views], symbol: str):
    def method(self: "SoftBool", other):
        views = self._operand(other, symbol)
        return NotImplemented if views is None else SoftBool._rebuild(*rule(self._views, views, self.logic), self.logic)

    return method


class SoftBool(SoftValue):
    """Booleans: `soft()` (or `probs`) the probability of being true, `hard()` the exact bits.

    `&`, `|`, `^`, `~`, `==`, `!=` act on both views, by the t-norm family `logic` on the soft one. Raw bool arrays
    mix in as certain values.

    Args:
        probs: probabilities in [0, 1] (`validate` checks that), floating.
        hard_view: the exact bits, of the same shape; `probs > 0.5` by default.
        logic: the t-norm family: "product", "godel", "lukasiewicz" or "geometric".

    Raises:
        TypeError: if the probabilities are not floating or the hard view is not Boolean.
        ValueError: if the shapes differ or the family does not exist.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> a = sft.SoftBool(jnp.array([0.25, 1.0]))
        >>> (a & ~a).probs
        Array([0.1875, 0.    ], dtype=float32)
    """

    _leaves = ("probs", "hard_view")

    def __init__(self, probs, hard_view=None, *, logic: str = "product"):
        check_choice("logic", logic, CHOICES["logic"])
        probs = real_array("SoftBool", "probs", probs)
        if not jnp.issubdtype(probs.dtype, jnp.floating):
            raise TypeError(
                f"SoftBool: probs must be floating probabilities; got {probs.dtype}; "
                "for exact bits use SoftBool.from_hard(bits)"
            )
        hard_view = probs > 0.5 if hard_view is None else real_array("SoftBool", "hard_view", hard_view)
        if hard_view.dtype != bool:
            raise TypeError(f"SoftBool: hard_view must be Boolean; got {hard_view.dtype}")
        check_same_shape("SoftBool", hard_view, probs.shape)
        self.probs, self.hard_view, self.logic = probs, hard_view, logic

    @classmethod
    def _rebuild(cls, probs, hard_view, logic) -> Self:
        out = object.__new__(cls)
        out.probs, out.hard_view, out.logic = probs, hard_view, logic
        return out

    @classmethod
    def from_hard(cls, bits, *, logic: str = "product") -> "SoftBool":
        """Certain values: probability 0 or 1.

        Args:
            bits: a bool or a bool array.
            logic: the t-norm family.

        Raises:
            TypeError: if the bits are not Boolean.

        Examples:
            >>> import softtypes as sft
            >>> sft.SoftBool.from_hard(True).probs
            Array(1., dtype=float32)
        """
        bits = real_array("SoftBool.from_hard", "bits", bits)
        if bits.dtype != bool:
            raise TypeError(f"SoftBool.from_hard: bits must be Boolean; got {bits.dtype}")
        return cls(bits.astype(float), bits, logic=logic)

    @classmethod
    def _certain_or_soft(cls, condition, symbol: str = "a condition") -> "SoftBool":
        """A SoftBool as it is, raw bools as certain ones."""
        if isinstance(condition, cls):
            return condition
        views = certain_views(condition, jnp.result_type(float), symbol)
        if views is None:
            raise TypeError(NO_PROBABILITY.format(symbol=symbol, got=type(condition).__name__))
        return cls._rebuild(*views, "product")

    def _operand(self, other: Any, symbol: str) -> Views | None:
        """The other operand's views; None for a stranger."""
        if isinstance(other, SoftBool):
            if other.logic != self.logic:
                raise ValueError(OTHER_LOGIC.format(a=self.logic, b=other.logic))
            return other._views
        return certain_views(other, self.probs.dtype, symbol)

    def _binary(self, rule: Callable[..., Views], other: Any, symbol: str) -> "SoftBool":
        """A connective by name: a stranger is a TypeError."""
        return SoftBool._rebuild(*rule(self._views, self._like(other, symbol)._views, self.logic), self.logic)

    def _like(self, other: Any, symbol: str) -> "SoftBool":
        """The other operand as a SoftBool of this logic; a stranger is a TypeError."""
        views = self._operand(other, symbol)
        if views is None:
            raise TypeError(NO_PROBABILITY.format(symbol=symbol, got=type(other).__name__))
        return SoftBool._rebuild(*views, self.logic)

    @property
    def _views(self) -> Views:
        return Views(self.probs, self.hard_view)

    def _static(self) -> tuple:
        return (self.logic,)

    def _structural(self, fn) -> "SoftBool":
        return SoftBool._rebuild(fn(self.probs), fn(self.hard_view), self.logic)

    # Logic

    __and__ = __rand__ = _connective(rules.conjunction, "&")
    __or__ = __ror__ = _connective(rules.disjunction, "|")
    __xor__ = __rxor__ = _connective(rules.exclusive, "^")
    __ne__ = _connective(rules.exclusive, "!=")  # type: ignore[assignment]
    __eq__ = _connective(rules.equivalence, "==")  # type: ignore[assignment]
    # not wrapped: + - * / and < > (a probability is no number to count with; .sum() counts, .where(1.0, 0.0) weighs)

    def __invert__(self) -> "SoftBool":
        return SoftBool._rebuild(*rules.negation(self._views), self.logic)

    def implies(self, other) -> "SoftBool":
        """Material implication, `~a | b`."""
        return self._binary(rules.implication, other, "implies")

    def _over(self, rule: Callable[..., Views], axis, keepdims: bool, where) -> "SoftBool":
        axes = canonical_axes(axis, self.ndim)
        out = SoftBool._rebuild(*rule(self._views, self.logic, axes, where), self.logic)
        return out._structural(lambda a: jnp.expand_dims(a, axes)) if keepdims else out

    def all(self, axis=None, keepdims: bool = False, *, where=None) -> "SoftBool":
        """Whether all entries along the axes hold: the family's conjunction."""
        return self._over(rules.conjunction_over, axis, keepdims, where)

    def any(self, axis=None, keepdims: bool = False, *, where=None) -> "SoftBool":
        """Whether any entry along the axes holds: the family's disjunction."""
        return self._over(rules.disjunction_over, axis, keepdims, where)

    def sum(self, axis=None, keepdims: bool = False, *, where=None) -> SoftArray:
        """How many hold: the expected count, and the count."""
        return self._counted(jnp.sum, axis, keepdims, where)

    def mean(self, axis=None, keepdims: bool = False, *, where=None) -> SoftArray:
        """Which part holds: the mean probability, and the fraction."""
        return self._counted(jnp.mean, axis, keepdims, where)

    def _counted(self, fn: Callable, axis, keepdims: bool, where) -> SoftArray:
        return neutral(*(fn(a, axis, keepdims=keepdims, where=where) for a in self._views))

    # Selection

    def where(self, x, y):
        """`p x + (1 - p) y`: x where this holds, y elsewhere.

        A branch that is not finite never leaks out of a probability of exactly 0 or 1.

        Args:
            x: array or soft value, broadcast against the condition.
            y: array or soft value of the same kind.

        Returns:
            A SoftArray; a SoftBool for Boolean branches; a SoftIndex for SoftIndex branches.
        """
        if any(isinstance(branch, KINDS["SoftIndex"]) for branch in (x, y)):
            return KINDS["SoftIndex"]._mixture(self, x, y)
        if any(isinstance(branch, SoftBool) for branch in (x, y)) or all(map(_is_bool, (x, y))):
            branches = [self._like(branch, "a Boolean branch")._views for branch in (x, y)]
            return SoftBool._rebuild(*selection.where(self._views, *branches), self.logic)
        (x, a), (y, b) = (_number(branch) for branch in (x, y))
        return SoftArray._rebuild(*selection.where(self._views, x, y), merge(a, b))

    def __getitem__(self, key) -> "SoftBool":
        parts = key if isinstance(key, tuple) else (key,)
        if not any(isinstance(part, KINDS["SoftIndex"]) for part in parts):
            return super().__getitem__(key)
        soft = SoftArray._rebuild(self.probs, self.hard_view, None)[key]
        return SoftBool._rebuild(jnp.clip(soft.values, 0, 1), soft.hard_view, self.logic)

    @property
    def at(self) -> At:
        """Updated copies, `b.at[i].set(other)`, at static indices."""
        return At(self, self._updated, ("set",))

    def _updated(self, key, name: str, value) -> "SoftBool":
        views = self._like(value, "the update")._views
        soft, hard = (a.at[key].set(b) for a, b in zip(self._views, views, strict=True))
        return SoftBool._rebuild(soft, hard, self.logic)

    def _conditions(self):
        return [(jnp.isfinite(self.probs) & (self.probs >= 0) & (self.probs <= 1), "probabilities in [0, 1]")]

    def _described(self) -> list[str]:
        return [show_array(self.probs), *([f"logic={self.logic!r}"] if self.logic != "product" else [])]


def _is_bool(x) -> bool:
    return isinstance(x, (bool, np.bool_)) or (isinstance(x, ARRAYS) and x.dtype == bool)


def _number(x):
    """The views and relaxation of a branch that is a number."""
    if isinstance(x, SoftArray):
        return x._views, x._relaxation
    return Views(real_array("where", "a branch", x), x), None
