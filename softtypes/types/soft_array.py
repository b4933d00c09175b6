"""SoftArray: real values and their relaxation."""

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, Self

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array

from softtypes._lift import Rule, Views, as_float, both, canonical_axes
from softtypes._relaxation import DEFAULT, Relaxation, merge, merge_at, resolve
from softtypes._typecheck import held_array
from softtypes.rules import comparison, elementwise
from softtypes.types.base import (
    ARRAYS,
    KINDS,
    NUMBERS,
    SoftValue,
    check_same_shape,
    check_static_key,
    real_array,
    show_array,
)
from softtypes.types.indexing import select
from softtypes.types.ordering import OrderingMethods
from softtypes.types.update import At

MIXED = (
    "{symbol} of a SoftArray and a {other} is not defined; a SoftBool selects with cond.where(x, y), "
    "a SoftIndex with x[index] or index.expected()"
)


def _operand(other: Any, dtype, symbol: str) -> tuple[Views, Relaxation | None] | None:
    """An operand's views and relaxation, exact integers as `dtype` in the soft view; None for a stranger."""
    other = held_array(other)
    if isinstance(other, SoftArray):
        return other._views, other._relaxation
    if isinstance(other, SoftValue):
        raise TypeError(MIXED.format(symbol=symbol, other=type(other).__name__))
    if isinstance(other, NUMBERS):
        return Views(other, other), None
    if isinstance(other, ARRAYS):
        floating = jnp.issubdtype(other.dtype, jnp.floating)
        return Views(other if floating else as_float(other, dtype), other), None
    return None


def operands(name: str, *values) -> tuple[list[Views], Relaxation | None]:
    """The views of operands that are SoftArrays, arrays or numbers, and the relaxation that they carry."""
    soft = [value.values for value in values if isinstance(value, SoftArray)]
    dtype = jnp.result_type(*soft) if soft else jnp.result_type(float)
    found = []
    for value in values:
        operand = _operand(value, dtype, name)
        if operand is None:
            raise TypeError(f"{name}: expected an array, a number or a SoftArray; got {type(value).__name__}")
        found.append(operand)
    return [views for views, _ in found], reduce(merge, (carried for _, carried in found))


def relaxed(name: str, rule: Rule, knobs: Mapping, *values, **static) -> "SoftArray":
    """A relaxed elementwise function of soft values. Keywords hold for it; the result carries on what was carried."""
    views, carried = operands(name, *values)
    return SoftArray._rebuild(*both(rule, resolve(knobs, carried), *views, **static), carried)


def _arithmetic(fn: Callable, symbol: str, swapped: bool = False, mixes: bool = False):
    """An operator that acts on each view as jnp does, element by element or mixing them."""

    def method(self: "SoftArray", other):
        operand = _operand(other, self.values.dtype, symbol)
        if operand is None:
            return NotImplemented
        views, relaxation = operand
        pairs = zip(views, self._views, strict=True) if swapped else zip(self._views, views, strict=True)
        soft, hard = (fn(a, b) for a, b in pairs)
        if hard.dtype == bool:
            raise TypeError(f"{symbol} of Booleans is logic in jnp: use SoftBool and & | ^, or .astype(int) first")
        if mixes:
            own, relaxation = (r and r._softest() for r in (self._relaxation, relaxation))
            return SoftArray._rebuild(soft, hard, merge(own, relaxation))
        return SoftArray._rebuild(soft, hard, merge(self._relaxation, relaxation))

    return method


def _comparing(rule: Rule, symbol: str):
    """An operator that yields a SoftBool."""

    def method(self: "SoftArray", other):
        operand = _operand(other, self.values.dtype, symbol)
        if operand is None:
            return NotImplemented
        views, relaxation = operand
        relaxation = merge(self._relaxation, relaxation) or DEFAULT
        return KINDS["SoftBool"]._rebuild(*both(rule, relaxation, self._views, views), relaxation.logic)

    return method


def _unary(fn: Callable):
    def method(self: "SoftArray") -> "SoftArray":
        return SoftArray._rebuild(fn(self.values), fn(self.hard_view), self._relaxation)

    return method


class SoftArray(OrderingMethods, SoftValue):
    """Real values: `soft()` relaxed, `hard()` what plain JAX would have computed.

    Arithmetic acts on both views, comparisons give a `SoftBool`, `x[index]` with a `SoftIndex` selects expected
    values. Methods are those of `jax.Array`, with the relaxation keywords where they are relaxed.

    Args:
        values: the soft view; floating, or integers and Booleans (which the hard view keeps as they are).
        hard_view: the exact view, of the same shape; the values themselves by default.
        relaxation: how operators on this value relax.

    Raises:
        TypeError: if the views are no real arrays.
        ValueError: if the shapes of the views or the softness do not agree.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> x = sft.SoftArray(jnp.array([-1.0, 2.0]))
        >>> (x > 0).hard()
        Array([False,  True], dtype=bool)
    """

    _leaves = ("values", "hard_view", "_relaxation")

    def __init__(self, values, hard_view=None, relaxation: Relaxation = DEFAULT):
        values = real_array("SoftArray", "values", values)
        hard_view = values if hard_view is None else real_array("SoftArray", "hard_view", hard_view)
        check_same_shape("SoftArray", hard_view, values.shape)
        if not isinstance(relaxation, Relaxation):
            raise TypeError(f"SoftArray: relaxation must be a Relaxation; got {type(relaxation).__name__}")
        shape = np.shape(relaxation.softness)
        if len(shape) > values.ndim or any(
            a not in (1, b) for a, b in zip(shape[::-1], values.shape[::-1], strict=False)
        ):
            raise ValueError(f"SoftArray: softness of shape {shape} does not broadcast to the values' {values.shape}")
        self.values = as_float(values)
        # two leaves, two buffers: one buffer can't be donated twice
        same = hard_view is self.values and not isinstance(values, jax.core.Tracer)
        self.hard_view = jnp.copy(hard_view) if same else hard_view
        self._relaxation = relaxation

    @classmethod
    def _rebuild(cls, values, hard_view, relaxation) -> Self:
        out = object.__new__(cls)
        out.values, out.hard_view, out._relaxation = values, hard_view, relaxation
        return out

    @property
    def _views(self) -> Views:
        return Views(self.values, self.hard_view)

    @property
    def relaxation(self) -> Relaxation:
        """How operators on this value relax."""
        # A selection among plain arrays has none of its own and takes on that of the values it meets.
        return self._relaxation or DEFAULT

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of both views."""
        return self.values.shape

    @property
    def dtype(self):
        """The dtype of the soft view."""
        return self.values.dtype

    def _structural(self, fn) -> "SoftArray":
        relaxation = self._relaxation and self._relaxation._map_softness(fn, self.shape)
        return SoftArray._rebuild(fn(self.values), fn(self.hard_view), relaxation)

    # Arithmetic, on both views

    __add__ = _arithmetic(jnp.add, "+")
    __radd__ = _arithmetic(jnp.add, "+", swapped=True)
    __sub__ = _arithmetic(jnp.subtract, "-")
    __rsub__ = _arithmetic(jnp.subtract, "-", swapped=True)
    __mul__ = _arithmetic(jnp.multiply, "*")
    __rmul__ = _arithmetic(jnp.multiply, "*", swapped=True)
    __truediv__ = _arithmetic(jnp.true_divide, "/")
    __rtruediv__ = _arithmetic(jnp.true_divide, "/", swapped=True)
    __pow__ = _arithmetic(jnp.power, "**")
    __rpow__ = _arithmetic(jnp.power, "**", swapped=True)
    __matmul__ = _arithmetic(jnp.matmul, "@", mixes=True)
    __rmatmul__ = _arithmetic(jnp.matmul, "@", swapped=True, mixes=True)
    __neg__ = _unary(jnp.negative)
    __pos__ = _unary(jnp.positive)
    # not wrapped: // and % and divmod (steps at multiples of a divisor, which no single softness fits),
    # & | ^ ~ << >> (logic is SoftBool's), in-place operators (soft values are immutable: Python rebinds)

    # Comparisons

    __lt__ = _comparing(comparison.LESS, "<")
    __le__ = _comparing(comparison.LESS_EQUAL, "<=")
    __gt__ = _comparing(comparison.GREATER, ">")
    __ge__ = _comparing(comparison.GREATER_EQUAL, ">=")
    __eq__ = _comparing(comparison.EQUAL, "==")  # type: ignore[assignment]
    __ne__ = _comparing(comparison.NOT_EQUAL, "!=")  # type: ignore[assignment]

    # Elementwise relaxations

    def abs(self, **relaxation) -> "SoftArray":
        """The relaxed absolute value, `x (2 S(x) - 1)`."""
        return relaxed("abs", elementwise.ABS, relaxation, self)

    def sign(self, **relaxation) -> "SoftArray":
        """The relaxed sign, `2 S(x) - 1`."""
        return relaxed("sign", elementwise.SIGN, relaxation, self)

    def relu(self, **relaxation) -> "SoftArray":
        """The relaxed rectifier, the integral of S."""
        return relaxed("relu", elementwise.RELU, relaxation, self)

    def heaviside(self, **relaxation) -> "SoftArray":
        """The relaxed unit step, `S(x)`."""
        return relaxed("heaviside", elementwise.HEAVISIDE, relaxation, self)

    def __abs__(self) -> "SoftArray":
        return self.abs()

    def round(self, decimals: int = 0, *, neighbor_radius: int = 5, **relaxation) -> "SoftArray":
        """The relaxed rounding, a sum of steps."""
        static = {"decimals": decimals, "neighbor_radius": neighbor_radius}
        return relaxed("round", elementwise.ROUND, relaxation, self, **static)

    def __round__(self, ndigits: int = 0) -> "SoftArray":
        return self.round(ndigits or 0)

    def clip(self, min=None, max=None, **relaxation) -> "SoftArray":
        """The relaxed clip; either bound may be left out."""
        bounds = [bound for bound in (min, max) if bound is not None]
        flags = {"has_low": min is not None, "has_high": max is not None}
        return relaxed("clip", elementwise.CLIP, relaxation, self, *bounds, **flags)

    def where(self, condition, other) -> "SoftArray":
        """These values where the condition holds, the other's elsewhere."""
        return KINDS["SoftBool"]._certain_or_soft(condition).where(self, other)

    # Reductions

    def _reduced(self, fn: Callable, axis, keepdims: bool) -> "SoftArray":
        axes = canonical_axes(axis, self.ndim)
        relaxation = self._relaxation and self._relaxation._map_softness(
            lambda s: jnp.max(s, axes, keepdims=keepdims), self.shape
        )
        return SoftArray._rebuild(fn(self.values, axis), fn(self.hard_view, axis), relaxation)

    def sum(self, axis=None, keepdims: bool = False, *, initial=None, where=None) -> "SoftArray":
        """The sum over axes."""
        knobs = {"keepdims": keepdims, "initial": initial, "where": where}
        return self._reduced(lambda a, axis: jnp.sum(a, axis, **knobs), axis, keepdims)

    def prod(self, axis=None, keepdims: bool = False, *, initial=None, where=None) -> "SoftArray":
        """The product over axes."""
        knobs = {"keepdims": keepdims, "initial": initial, "where": where}
        return self._reduced(lambda a, axis: jnp.prod(a, axis, **knobs), axis, keepdims)

    def mean(self, axis=None, keepdims: bool = False, *, where=None) -> "SoftArray":
        """The mean over axes."""
        return self._reduced(lambda a, axis: jnp.mean(a, axis, keepdims=keepdims, where=where), axis, keepdims)

    def var(self, axis=None, ddof: int = 0, keepdims: bool = False, *, where=None) -> "SoftArray":
        """The variance over axes."""
        knobs = {"ddof": ddof, "keepdims": keepdims, "where": where}
        return self._reduced(lambda a, axis: jnp.var(a, axis, **knobs), axis, keepdims)

    def std(self, axis=None, ddof: int = 0, keepdims: bool = False, *, where=None) -> "SoftArray":
        """The standard deviation over axes."""
        knobs = {"ddof": ddof, "keepdims": keepdims, "where": where}
        return self._reduced(lambda a, axis: jnp.std(a, axis, **knobs), axis, keepdims)

    # Other methods of jax.Array

    def cumsum(self, axis: int | None = None) -> "SoftArray":
        """The cumulative sum along an axis."""
        return SoftArray._rebuild(jnp.cumsum(self.values, axis), jnp.cumsum(self.hard_view, axis), self._flat(axis))

    def cumprod(self, axis: int | None = None) -> "SoftArray":
        """The cumulative product along an axis."""
        return SoftArray._rebuild(jnp.cumprod(self.values, axis), jnp.cumprod(self.hard_view, axis), self._flat(axis))

    def _flat(self, axis) -> Relaxation | None:
        if axis is not None or self._relaxation is None:
            return self._relaxation
        return self._relaxation._map_softness(jnp.ravel, self.shape)

    def dot(self, other) -> "SoftArray":
        """The dot product, as jnp.dot."""
        return _DOT(self, other)

    def astype(self, dtype) -> "SoftArray":
        """Both views in another dtype; for an integer dtype the soft view stays floating."""
        hard = self.hard_view.astype(dtype)
        floating = jnp.issubdtype(hard.dtype, jnp.floating)
        return SoftArray._rebuild(self.values.astype(hard.dtype) if floating else self.values, hard, self._relaxation)

    @property
    def at(self) -> At:
        """Updated copies, `x.at[i].set(y)`, at static indices."""
        return At(self, self._updated)

    def _updated(self, key, name: str, value) -> "SoftArray":
        (_, views), carried = operands(f".at[...].{name}", value, value)
        soft, hard = (getattr(a.at[key], name)(b) for a, b in zip(self._views, views, strict=True))
        return SoftArray._rebuild(soft, hard, merge_at(self._relaxation, carried, self.shape, key))

    def __getitem__(self, key) -> "SoftArray":
        parts = key if isinstance(key, tuple) else (key,)
        if not any(isinstance(part, KINDS["SoftIndex"]) for part in parts):
            return self._structural(lambda a: a[check_static_key("SoftArray", key)])
        soft, hard = select(self._views, parts)
        relaxation = self._relaxation
        if relaxation is not None and not relaxation.is_static and jnp.ndim(relaxation.softness):
            spread = jnp.broadcast_to(relaxation.softness, self.shape)
            relaxation = relaxation._map_softness(lambda _: select(Views(spread, spread), parts).soft, self.shape)
        return SoftArray._rebuild(soft, hard, relaxation)

    def _conditions(self):
        softness = jnp.asarray(self.relaxation.softness)
        return [(jnp.isfinite(self.values), "finite values"), (softness >= 0, "a softness of at least 0")]

    def _described(self) -> list[str]:
        relaxation = self.relaxation
        shown = [show_array(self.values)]
        if getattr(self.hard_view, "dtype", None) != getattr(self.values, "dtype", None):
            shown.append(f"hard={show_array(self.hard_view)}")
        return [*shown, *repr(relaxation)[len("Relaxation(") : -1].split(", ")]


_DOT = _arithmetic(jnp.dot, "dot", mixes=True)


def neutral(soft: Array, hard: Array) -> SoftArray:
    """A selection among plain arrays: no relaxation of its own."""
    return SoftArray._rebuild(soft, hard, None)
