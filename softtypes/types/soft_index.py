"""SoftIndex: a distribution over indices, and the index."""

from collections.abc import Callable
from typing import Any, Self

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array

from softtypes._lift import Views, one_hot_like
from softtypes.rules import index as rules
from softtypes.surrogates import simplex
from softtypes.surrogates.logic import safe_log
from softtypes.types.base import ARRAYS, SoftValue, check_same_shape, check_static_key, real_array, show_array
from softtypes.types.soft_array import SoftArray, neutral
from softtypes.types.soft_bool import SoftBool
from softtypes.types.update import At

INDEX_AXIS = (
    "axis {axis} of a SoftIndex of shape {shape} does not exist: the axis over the {n} indices is no axis of it, and "
    "can't be indexed, reduced or reshaped; use .probs for the array, .take(x) or x[index] to select"
)

NO_INDEX_AXIS = "SoftIndex: {what} need a last axis over at least one index, (..., n); got shape {shape}"


def _operand(self: "SoftIndex", other: Any, symbol: str) -> Array | Views | None:
    """Another SoftIndex's views, exact integers, or None for a stranger."""
    if isinstance(other, SoftIndex):
        return other._views
    if isinstance(other, int) and not isinstance(other, bool):
        return jnp.asarray(other)
    if isinstance(other, ARRAYS) and jnp.issubdtype(other.dtype, jnp.integer):
        return jnp.asarray(other)
    if isinstance(other, (SoftValue, *ARRAYS, bool, float)):
        got = type(other).__name__ if isinstance(other, SoftValue) else jnp.result_type(other)
        raise TypeError(f"{symbol}: a SoftIndex compares to integers or another SoftIndex; got {got}")
    return None


def _comparing(rule: Callable, hard: Callable, symbol: str):
    def method(self: "SoftIndex", other):
        operand = _operand(self, other, symbol)
        if operand is None:
            return NotImplemented
        soft = rule(self.probs, operand.soft if isinstance(operand, Views) else operand)
        bits = hard(self.hard_view, operand.hard if isinstance(operand, Views) else operand)
        return SoftBool._rebuild(soft, bits, "product")

    return method


class SoftIndex(SoftValue):
    """Indices `0 .. n-1`: `soft()` (or `probs`) a distribution over them, `hard()` the exact integers.

    The soft view has one axis more than the quantity: an index of shape `(3, 4)` over n classes has
    `probs.shape == (3, 4, n)`. That last axis is no axis of the quantity.

    Args:
        probs: probabilities `(..., n)`, floating; the last axis sums to 1 (`validate` checks that).
        hard_view: integer indices `(...)`; the argmax of the last axis by default.

    Raises:
        TypeError: if the probabilities are not floating or the hard view is not of integers.
        ValueError: if the probabilities have no last axis, or the shapes do not agree.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> index = sft.SoftIndex(jnp.array([0.25, 0.75]))
        >>> index.take(jnp.array([10.0, 20.0])).soft()
        Array(17.5, dtype=float32)
    """

    _leaves = ("probs", "hard_view")
    _logs: Callable[[], Array | None] | None = None

    def __init__(self, probs, hard_view=None):
        probs = real_array("SoftIndex", "probs", probs)
        if not jnp.issubdtype(probs.dtype, jnp.floating):
            raise TypeError(
                f"SoftIndex: probs must be floating probabilities; got {probs.dtype}; "
                "for exact indices use SoftIndex.from_hard(indices, n)"
            )
        if probs.ndim == 0 or probs.shape[-1] == 0:
            raise ValueError(NO_INDEX_AXIS.format(what="probs", shape=probs.shape))
        hard_view = probs.argmax(-1) if hard_view is None else real_array("SoftIndex", "hard_view", hard_view)
        if not jnp.issubdtype(hard_view.dtype, jnp.integer):
            raise TypeError(f"SoftIndex: hard_view must be of integers; got {hard_view.dtype}")
        check_same_shape("SoftIndex", hard_view, probs.shape[:-1])
        self.probs, self.hard_view = probs, hard_view

    @classmethod
    def _rebuild(cls, probs, hard_view) -> Self:
        out = object.__new__(cls)
        out.probs, out.hard_view = probs, hard_view
        return out

    def _with_logs(self, logs: Callable[[], Array | None]) -> Self:
        """Remember how to compute the logarithms exactly. Not a leaf: after a transformation they are log(probs)."""
        self._logs = logs
        return self

    @classmethod
    def from_hard(cls, indices, n: int) -> "SoftIndex":
        """Certain indices: all probability on one.

        Args:
            indices: integers in 0 .. n-1.
            n: the number of classes.

        Raises:
            TypeError: if the indices are no integers.
            ValueError: if n is below 1, or a concrete index lies outside 0 .. n-1.

        Examples:
            >>> import softtypes as sft
            >>> sft.SoftIndex.from_hard(1, 3).probs
            Array([0., 1., 0.], dtype=float32)
        """
        indices = real_array("SoftIndex.from_hard", "indices", indices)
        if not jnp.issubdtype(indices.dtype, jnp.integer):
            raise TypeError(f"SoftIndex.from_hard: indices must be integers; got {indices.dtype}")
        if n < 1:
            raise ValueError(f"SoftIndex.from_hard: n must be at least 1; got {n}")
        if not isinstance(indices, jax.core.Tracer) and not np.all((indices >= 0) & (indices < n)):
            raise ValueError(f"SoftIndex.from_hard: indices must lie in 0 .. {n - 1}; got {indices}")
        return cls._rebuild(jax.nn.one_hot(indices, n), indices)

    @classmethod
    def from_logits(cls, logits) -> "SoftIndex":
        """`softmax(logits)`, with exact `log_probs`.

        Args:
            logits: `(..., n)`, floating.

        Examples:
            >>> import jax.numpy as jnp, softtypes as sft
            >>> sft.SoftIndex.from_logits(jnp.array([0.0, 200.0])).log_probs()
            Array([-200.,    0.], dtype=float32)
        """
        logits = real_array("SoftIndex.from_logits", "logits", logits)
        if not jnp.issubdtype(logits.dtype, jnp.floating):
            raise TypeError(f"SoftIndex.from_logits: logits must be floating; got {logits.dtype}")
        if logits.ndim == 0 or logits.shape[-1] == 0:
            raise ValueError(NO_INDEX_AXIS.format(what="logits", shape=logits.shape))
        return cls(simplex.softmax(logits, 1.0))._with_logs(lambda: simplex.log_softmax(logits, 1.0))

    @classmethod
    def _mixture(cls, condition: SoftBool, x, y) -> "SoftIndex":
        """The index x with the condition's probability, else y."""
        n = next(branch.num_classes for branch in (x, y) if isinstance(branch, cls))
        branches = [branch if isinstance(branch, cls) else cls.from_hard(branch, n) for branch in (x, y)]
        if branches[0].num_classes != branches[1].num_classes:
            sizes = " and ".join(str(branch.num_classes) for branch in branches)
            raise ValueError(f"where: two SoftIndex branches must range over as many indices; got {sizes}")
        return cls._rebuild(*rules.mixture(condition._views, *(branch._views for branch in branches)))

    @property
    def _views(self) -> Views:
        return Views(self.probs, self.hard_view)

    @property
    def num_classes(self) -> int:
        """How many indices it ranges over."""
        return self.probs.shape[-1]

    def _hard_as_soft(self) -> Array:
        return one_hot_like(self.hard_view, self.probs)

    def log_probs(self, floor: float | None = None) -> Array:
        """Log-probabilities `(..., n)`.

        Straight from an operator in smooth mode, or from `from_logits`, they are exact where the probability itself
        underflows, with finite gradients.

        Args:
            floor: clip the probabilities from below and renormalise first, for modes with weights of exactly 0
                (whose logarithm is minus infinity, with gradient 0).

        Examples:
            >>> import jax.numpy as jnp, softtypes as sft
            >>> sft.SoftIndex(jnp.array([0.0, 1.0])).log_probs()
            Array([-inf,   0.], dtype=float32)
        """
        if floor is not None:
            clipped = jnp.maximum(self.probs, floor)
            return jnp.log(clipped / clipped.sum(-1, keepdims=True))
        logs = None if self._logs is None else self._logs()
        return safe_log(self.probs) if logs is None else logs

    def _structural(self, fn) -> "SoftIndex":
        try:
            hard = fn(self.hard_view)
        except (ValueError, IndexError, TypeError) as error:
            raise type(error)(
                f"{error}. This SoftIndex has shape {self.shape}; the axis over its {self.num_classes} indices is no "
                "axis of it and can't be indexed, reduced or reshaped: use .probs for the array"
            ) from error
        keep = jax.vmap(fn, in_axes=-1, out_axes=-1)
        out = SoftIndex._rebuild(keep(self.probs), hard)
        logs = self._logs
        return out if logs is None else out._with_logs(lambda: _mapped(keep, logs()))

    # Comparisons, with exact probabilities; two SoftIndex are independent

    __eq__ = _comparing(rules.equal, jnp.equal, "==")  # type: ignore[assignment]
    __ne__ = _comparing(rules.not_equal, jnp.not_equal, "!=")  # type: ignore[assignment]
    __lt__ = _comparing(rules.less, jnp.less, "<")
    __le__ = _comparing(rules.less_equal, jnp.less_equal, "<=")
    __gt__ = _comparing(rules.greater, jnp.greater, ">")
    __ge__ = _comparing(rules.greater_equal, jnp.greater_equal, ">=")
    # not wrapped: + - * (what an index past the end means is the program's to say; see .expected() for a number)

    def take(self, x, axis: int | None = None):
        """The expected entry of x along an axis (of flattened x by default), laid out as jnp.take."""
        if not isinstance(x, SoftValue):
            x = real_array("SoftIndex.take", "x", x)
            x = neutral(x, x)
        if axis is None:
            return x.ravel()[self]
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(f"take: axis {axis} is out of bounds for an array of dimension {x.ndim}")
        return x[(slice(None),) * (axis % x.ndim) + (self,)]

    def expected(self) -> SoftArray:
        """The mean index, `sum_i i P_i`, and the index."""
        return neutral(rules.mean(self.probs), self.hard_view)

    def entropy(self) -> Array:
        """`-sum_i P_i log P_i` in nats, a plain array `(...)`: 0 for a certain index, log n for a uniform one."""
        return rules.entropy(self.probs)

    @property
    def at(self) -> At:
        """Updated copies, `index.at[i].set(other)`, at static positions."""
        return At(self, self._updated, ("set",))

    def _updated(self, key, name: str, value) -> "SoftIndex":
        value = value if isinstance(value, SoftIndex) else SoftIndex.from_hard(value, self.num_classes)
        put = jax.vmap(lambda a, b: a.at[key].set(b), in_axes=-1, out_axes=-1)
        return SoftIndex._rebuild(
            put(self.probs, value.probs.astype(self.probs.dtype)), self.hard_view.at[key].set(value.hard_view)
        )

    def __getitem__(self, key) -> "SoftIndex":
        check_static_key("SoftIndex", key)
        parts = key if isinstance(key, tuple) else (key,)
        axes = sum(part is not None and part is not Ellipsis for part in parts)
        if axes > self.ndim:
            raise IndexError(INDEX_AXIS.format(axis=self.ndim, shape=self.shape, n=self.num_classes))
        return self._structural(lambda a: a[key])

    def _conditions(self):
        tolerance = 8 * self.num_classes**0.5 * float(jnp.finfo(self.probs.dtype).eps)
        inside = jnp.isfinite(self.probs) & (self.probs >= 0) & (self.probs <= 1 + tolerance)
        return [
            (inside, "probabilities in [0, 1]"),
            (jnp.abs(self.probs.sum(-1) - 1) <= tolerance, "rows that sum to 1"),
            ((self.hard_view >= 0) & (self.hard_view < self.num_classes), f"indices in 0 .. {self.num_classes - 1}"),
        ]

    def _described(self) -> list[str]:
        if not hasattr(self.probs, "shape"):
            return [repr(self.probs)]
        batch = show_array(self.probs)[:-1].split("[")
        dims = batch[1].split(",")
        return [f"{batch[0]}[{','.join((*dims[:-1], f'[{dims[-1]}]'))}]"]


def _mapped(keep: Callable, logs: Array | None) -> Array | None:
    return None if logs is None else keep(logs)
