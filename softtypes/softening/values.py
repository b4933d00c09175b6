"""The values that a program is evaluated on: plain arrays, the soft types, and integers with a distribution."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from softtypes._lift import as_float, wide_dtype
from softtypes.types import SoftArray, SoftBool

WIDEST = 1024  # a distribution over more integers than these is not kept from step to step


def aligned(x: Array, ndim: int) -> Array:
    """An array with as many axes, by leading ones of size 1: what broadcasting does, where it is allowed to."""
    return x if x.ndim >= ndim else x.reshape((1,) * (ndim - x.ndim) + x.shape)


class Known(NamedTuple):
    """Exact integers or bools that are known while the program is traced."""

    array: Any
    const: np.ndarray


@jax.tree_util.register_pytree_node_class
class Smooth:
    """Floats that depend on a differentiable input, and whose two views agree."""

    def __init__(self, array):
        self.array = array

    def tree_flatten(self):
        return (self.array,), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


@jax.tree_util.register_pytree_node_class
class Integer:
    """Integers with a distribution: entry i of `probs (..., n)` is the probability of `support[..., i]`.

    The support is a numpy array `(n,)` of what is known, or an array `(..., n)` of what is not.
    """

    def __init__(self, probs, hard_view, support):
        self.probs, self.hard_view, self.support = probs, hard_view, support

    @property
    def is_static(self) -> bool:
        """Whether the support is known."""
        return isinstance(self.support, tuple | np.ndarray)

    def tree_flatten(self):
        if self.is_static:
            return (self.probs, self.hard_view), tuple(map(int, self.support))
        return (self.probs, self.hard_view, self.support), None

    @classmethod
    def tree_unflatten(cls, support, leaves):
        probs, hard_view, *rest = leaves
        return cls(probs, hard_view, rest[0] if support is None else np.asarray(support))

    def mean(self) -> Array:
        """`sum_i support_i P_i`."""
        found = recall(self, "mean")
        if found is not None:
            return found
        wide = wide_dtype(self.probs.dtype)
        probs = self.probs.astype(wide)
        if self.is_static and len(self.support) == 2:  # a Boolean as a number
            low, high = map(float, self.support)
            out = probs[..., 1] if (low, high) == (0, 1) else low + (high - low) * probs[..., 1]
        elif self.is_static:
            out = jnp.dot(probs, jnp.asarray(self.support, wide), precision="highest")
        else:
            out = (probs * self.support.astype(wide)).sum(-1)
        return out.astype(self.probs.dtype)

    def holds(self, test: Callable) -> Array:
        """The probability of what a test says of the support, entry by entry."""
        truth = jnp.asarray(test(self.support))
        probs = aligned(self.probs, truth.ndim)
        return jnp.clip(jnp.where(aligned(truth, probs.ndim), probs, 0).sum(-1), 0, 1)

    def map(self, fn: Callable, hard) -> "Integer":
        """The distribution of a function of it."""
        return Integer(self.probs, hard, fn(self.support))


class Columns(NamedTuple):
    """Integers along the last axis of an array, each with a kind of its own: the index vectors of a gather."""

    parts: tuple
    hard_view: Any


Value = Any
SOFT = (Smooth, SoftArray, SoftBool, Integer, Columns)
SPLIT = (SoftArray, SoftBool, Integer, Columns)  # the views differ


def is_soft(x: Value) -> bool:
    """Whether it depends on a differentiable input by a path that was relaxed."""
    return isinstance(x, SOFT)


def hard(x: Value):
    """The exact view: what the program itself would hold."""
    if isinstance(x, Known):
        return x.array
    if isinstance(x, Smooth):
        return without_gradient(x.array)
    return x.hard_view if isinstance(x, SPLIT) else x


def without_gradient(x):
    """The hard view has no derivative that anybody asks for."""
    return lax.stop_gradient(x) if isinstance(x, jax.core.Tracer) else x


def soft(x: Value):
    """The relaxed view: of a Boolean its probability, of an integer its mean."""
    if isinstance(x, Smooth | Known):
        return x.array
    if isinstance(x, Integer):
        return x.mean()
    return x.soft() if isinstance(x, SoftArray | SoftBool) else hard(x)


def dtype_of(x: Value):
    """The dtype that the program sees."""
    return jnp.result_type(hard(x))


def is_integer(x: Value) -> bool:
    return jnp.issubdtype(dtype_of(x), jnp.integer)


def is_bool(x: Value) -> bool:
    return dtype_of(x) == jnp.bool_


def is_float(x: Value) -> bool:
    return jnp.issubdtype(dtype_of(x), jnp.floating)


def real(values, exact) -> SoftArray:
    """A number with two views, and no relaxation of its own: each site says how it relaxes."""
    return SoftArray._rebuild(values, without_gradient(exact), None)


def as_real(x: Value) -> SoftArray:
    """A value as a number with two views; integers as floats in the soft one."""
    if isinstance(x, SoftArray):
        return x
    values = soft(x)
    return real(values if _floating(values) else as_float(values), hard(x))


# What a value remembers of where it comes from. It is lost on the way through a loop; nothing but precision is.


def remember(x: Any, name: str, fact: Any) -> Any:
    """The value with a fact about where it comes from."""
    object.__setattr__(x, f"_{name}", fact)
    return x


def recall(x: Any, name: str, default: Any = None) -> Any:
    """What is remembered of a value."""
    return getattr(x, f"_{name}", default)


def mark_whole(x: SoftArray) -> SoftArray:
    """Remember that the exact values are whole: a conversion to integers then changes nothing."""
    return remember(x, "whole", True)


def is_whole(x: Value) -> bool:
    """Whether the exact values are known to be whole."""
    if is_soft(x) or isinstance(x, jax.core.Tracer):
        return recall(x, "whole", False)
    x = np.asarray(x.const if isinstance(x, Known) else x)
    return x.size == 1 and float(x.ravel()[0]).is_integer()


def counted_bits(bits: SoftBool, exact) -> Integer:
    """Booleans as the integers 0 and 1."""
    return remember(Integer(jnp.stack([1 - bits.probs, bits.probs], -1), exact, np.arange(2)), "bits", bits)


def softs(values, dtype=None) -> list:
    """The soft views as floats of one dtype."""
    found = [soft(x) for x in values]
    dtype = dtype or jnp.result_type(*[x for x in found if _floating(x)] or [float])
    return [as_float(x, dtype) for x in found]


def _floating(x) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jnp.floating)


def as_soft_bool(x: Value, logic: str, dtype) -> SoftBool:
    """A Boolean value as a SoftBool; plain bits are certain."""
    if isinstance(x, SoftBool):
        return x
    bits = jnp.asarray(hard(x))
    return SoftBool._rebuild(bits.astype(dtype), bits, logic)


def constant(x: Value) -> int | None:
    """The one known integer that a value consists of, if it does."""
    if not isinstance(x, Known) or x.const.size == 0 or x.const.dtype.kind == "f":
        return None
    first = x.const.flat[0]
    uniform = x.const.size == 1 or not any(x.const.strides) or bool((x.const == first).all())
    return int(first) if uniform else None


def row_of(x: Value, axis: int) -> np.ndarray | None:
    """Known integers that vary along one axis only."""
    if not isinstance(x, Known) or not is_integer(x) or 0 in x.const.shape:
        return None
    rows = np.moveaxis(x.const, axis, -1)
    row = rows[(0,) * (rows.ndim - 1)]
    return row.copy() if not any(rows.strides[:-1]) or bool((rows == row).all()) else None


def structural(fn: Callable[[Array], Array], x: Value) -> Value:
    """A change of shape, or a selection at exact positions, of any kind of value."""
    if isinstance(x, Smooth):
        return Smooth(fn(x.array))
    if isinstance(x, SoftArray | SoftBool):
        return x._structural(fn)
    if isinstance(x, Integer):
        keep = jax.vmap(fn, in_axes=-1, out_axes=-1)
        support = x.support if x.is_static else keep(jnp.broadcast_to(x.support, x.probs.shape))
        return Integer(keep(x.probs), fn(x.hard_view), support)
    return fn(hard(x))


def integer_of(x: Value) -> Integer | None:
    """A value as integers with a known support; None where that is not known."""
    if isinstance(x, Integer):
        return x if x.is_static else None
    if isinstance(x, SoftBool):
        return counted_bits(x, x.hard_view.astype(jnp.int32))
    if isinstance(x, Known):
        return certain(x.array, np.unique(x.const))
    return None


def certain(x, support: np.ndarray, dtype=None) -> Integer | None:
    """Exact integers as certain ones over a support that holds them."""
    if support.size > WIDEST:
        return None
    dtype = dtype or jnp.result_type(float)
    x = jnp.asarray(x)
    return Integer((x[..., None] == aligned(jnp.asarray(support, x.dtype), x.ndim + 1)).astype(dtype), x, support)


def over(x: Integer, support: np.ndarray) -> Integer:
    """The same distribution over a larger support, ascending and without repetition."""
    if np.array_equal(x.support, support):
        return x
    own = np.asarray(x.support)
    placed = np.searchsorted(support, own)
    if len(np.unique(own)) == len(own):
        order = np.full(len(support), len(own))
        order[placed] = np.arange(len(own))
        padded = jnp.concatenate([x.probs, jnp.zeros_like(x.probs[..., :1])], -1)
        return Integer(padded[..., order], x.hard_view, support)
    gathered = jnp.zeros((*x.probs.shape[:-1], len(support)), x.probs.dtype).at[..., placed].add(x.probs)
    return Integer(gathered, x.hard_view, support)


def alike(values) -> list[Integer] | None:
    """Values as integers over one support; None where some support is not known or all together are too wide."""
    found = [integer_of(x) for x in values]
    known = [x for x in found if x is not None]
    if len(known) < len(found) or not known:
        return None
    support = np.unique(np.concatenate([np.asarray(x.support) for x in known]))
    if support.size > WIDEST:
        return None
    dtype = jnp.result_type(*[x.probs for x, value in zip(known, values, strict=True) if is_soft(value)] or [float])
    out = [over(x, support) for x in known]
    return [Integer(x.probs.astype(dtype), x.hard_view, support) for x in out]
