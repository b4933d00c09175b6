"""The ordering methods of SoftArray: both views of order statistics, their indices, and ranks."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import Array

from softtypes._lift import Views, canonical_axes, to_last, wide_dtype
from softtypes._relaxation import Relaxation, resolve
from softtypes.rules import ordering as rules
from softtypes.rules.order import Ordering
from softtypes.rules.ordering import Quantiles
from softtypes.types.base import KINDS, SoftValue


class OrderingMethods(SoftValue):
    """Order statistics along axes of a value with two views and a relaxation."""

    values: Array
    relaxation: Relaxation
    _relaxation: Relaxation | None

    # Extremes

    def max(self, axis=None, keepdims: bool = False, *, initial=None, where=None, **relaxation):
        """The relaxed maximum over axes; softness in units of the standardised data."""
        return self._extreme(True, axis, keepdims, initial, where, relaxation)

    def min(self, axis=None, keepdims: bool = False, *, initial=None, where=None, **relaxation):
        """The relaxed minimum over axes; softness in units of the standardised data."""
        return self._extreme(False, axis, keepdims, initial, where, relaxation)

    def argmax(self, axis: int | None = None, keepdims: bool = False, *, where=None, **relaxation):
        """The relaxed index of the maximum, a SoftIndex."""
        return self._arg_extreme(True, axis, keepdims, where, relaxation)

    def argmin(self, axis: int | None = None, keepdims: bool = False, *, where=None, **relaxation):
        """The relaxed index of the minimum, a SoftIndex."""
        return self._arg_extreme(False, axis, keepdims, where, relaxation)

    def _extreme(self, largest: bool, axis, keepdims: bool, initial, where, knobs: Mapping):
        axes = canonical_axes(axis, self.ndim)
        rows, mask, relaxation = self._rows(axes, where, knobs)
        if initial is not None:
            rows = Views(*(_with_entry(a, initial) for a in rows))
            mask = None if mask is None else _with_entry(mask, True)
        _check_not_empty("max" if largest else "min", rows.soft)
        ordering = Ordering(descending=largest, nan_first=True, where=mask)
        soft = rules.values(rows.soft, rules.extreme(rows.soft), ordering, relaxation, "softsort")
        soft = rules.nan_where_empty(soft, mask)[..., 0]
        return self._reduced_to(soft, rules.hard_extreme(rows.hard, largest, mask), axes, keepdims)

    def _arg_extreme(self, largest: bool, axis, keepdims: bool, where, knobs: Mapping):
        axes = canonical_axes(axis, self.ndim)
        rows, mask, relaxation = self._rows(axes, where, knobs)
        _check_not_empty("argmax" if largest else "argmin", rows.soft)
        ordering = Ordering(descending=largest, nan_first=True, where=mask)
        ask = (rows.soft, rules.extreme(rows.soft), ordering, relaxation, "softsort")
        weights = rules.uniform_where_empty(rules.weights(*ask), mask)[..., 0, :]
        logs = lambda: _map(rules.log_weights(*ask), lambda a: rules.uniform_where_empty(a, mask, logs=True)[..., 0, :])
        return _index(weights, rules.hard_extreme_index(rows.hard, largest, mask), logs, axes, keepdims)

    # Sorting

    def sort(self, axis: int | None = -1, *, descending: bool = False, where=None, **relaxation):
        """The relaxed sort along an axis (of the flattened value for None); masked entries last, in their order."""
        if axis is None:
            return self.ravel().sort(0, descending=descending, where=_ravelled(where, self.shape), **relaxation)
        return self._selected(axis, None, Ordering(descending, descending), where, relaxation)

    def argsort(self, axis: int | None = -1, *, descending: bool = False, where=None, **relaxation):
        """The relaxed indices that sort along an axis, a SoftIndex."""
        if axis is None:
            return self.ravel().argsort(0, descending=descending, where=_ravelled(where, self.shape), **relaxation)
        return self._selected_index(axis, None, Ordering(descending, descending), where, relaxation)

    def top_k(self, k: int, axis: int = -1, *, where=None, **relaxation):
        """The k largest entries along an axis, largest first, and their indices: `(SoftArray, SoftIndex | None)`."""
        (canonical,) = canonical_axes(axis, self.ndim)
        size = self.shape[canonical]
        if not 0 <= k <= size:
            raise ValueError(f"top_k: k must lie in 0 .. {size}, the size of axis {axis}; got {k}")
        ordering = Ordering(descending=True, nan_first=True)
        values = self._selected(axis, k, ordering, where, relaxation)
        if not rules.has_weights(resolve(relaxation, self.relaxation)):
            return values, None
        return values, self._selected_index(axis, k, ordering, where, relaxation)

    def _selected(self, axis: int, k: int | None, ordering: Ordering, where, knobs: Mapping):
        axes = canonical_axes(axis, self.ndim)
        rows, mask, relaxation = self._rows(axes, where, knobs)
        ordering = ordering._replace(where=mask)
        soft = rules.values(rows.soft, rules.first(rows.soft, k), ordering, relaxation, "neuralsort")
        hard = rules.hard_sorted(rows.hard, k, ordering)
        carried = self._relaxation and self._relaxation._map_softness(
            lambda s: jnp.broadcast_to(jnp.max(to_last(s, axes), -1, keepdims=True), soft.shape), self.shape
        )
        return type(self)._rebuild(soft, hard, carried)._structural(lambda a: jnp.moveaxis(a, -1, axis))

    def _selected_index(self, axis: int, k: int | None, ordering: Ordering, where, knobs: Mapping):
        axes = canonical_axes(axis, self.ndim)
        rows, mask, relaxation = self._rows(axes, where, knobs)
        ordering = ordering._replace(where=mask)
        ask = (rows.soft, rules.first(rows.soft, k), ordering, relaxation, "neuralsort")
        out = _index(rules.weights(*ask), rules.hard_order(rows.hard, k, ordering), lambda: rules.log_weights(*ask))
        return out._structural(lambda a: jnp.moveaxis(a, -1, axis))

    def rank(self, axis: int | None = None, *, descending: bool = False, where=None, **relaxation):
        """The relaxed ranks from 1 along an axis (of the flattened value for None); 0 for masked entries."""
        if axis is None:
            return self.ravel().rank(0, descending=descending, where=_ravelled(where, self.shape), **relaxation)
        axes = canonical_axes(axis, self.ndim)
        rows, mask, knobs = self._rows(axes, where, relaxation)
        ordering = Ordering(descending=descending, where=mask)
        views = Views(rules.ranks(rows.soft, ordering, knobs), rules.hard_ranks(rows.hard, ordering))
        soft, hard = (jnp.moveaxis(a, -1, axis) for a in views)
        return type(self)._rebuild(soft, hard, self._relaxation)

    # Quantiles

    def quantile(
        self, q, axis=None, method: str = "linear", keepdims: bool = False, *, weights=None, where=None, **relaxation
    ):
        """The relaxed q-th quantile over axes; a vector q comes first in the shape."""
        return self._quantile(Quantiles(q, 1, method, where, weights), axis, keepdims, relaxation)

    def argquantile(
        self, q, axis=None, method: str = "linear", keepdims: bool = False, *, weights=None, where=None, **relaxation
    ):
        """The relaxed index of the q-th quantile; the hard index is that of the nearer order statistic."""
        return self._arg_quantile(Quantiles(q, 1, method, where, weights), axis, keepdims, relaxation)

    def percentile(
        self, q, axis=None, method: str = "linear", keepdims: bool = False, *, weights=None, where=None, **relaxation
    ):
        """The relaxed quantile at `q / 100`."""
        return self._quantile(Quantiles(q, 100, method, where, weights), axis, keepdims, relaxation)

    def argpercentile(
        self, q, axis=None, method: str = "linear", keepdims: bool = False, *, weights=None, where=None, **relaxation
    ):
        """The relaxed index of the quantile at `q / 100`, a SoftIndex."""
        return self._arg_quantile(Quantiles(q, 100, method, where, weights), axis, keepdims, relaxation)

    def median(self, axis=None, keepdims: bool = False, *, where=None, **relaxation):
        """The relaxed median over axes."""
        return self.quantile(0.5, axis, "midpoint", keepdims, where=where, **relaxation)

    def argmedian(self, axis=None, keepdims: bool = False, *, where=None, **relaxation):
        """The relaxed index of the median, a SoftIndex."""
        return self.argquantile(0.5, axis, "midpoint", keepdims, where=where, **relaxation)

    def _quantile(self, asked: Quantiles, axis, keepdims: bool, knobs: Mapping):
        axes, shape = canonical_axes(axis, self.ndim), jnp.shape(asked.q)
        rows, asked, relaxation = self._quantile_rows(asked, axes, knobs)
        wanted, upper, ordering = rules.quantile(rows.soft, asked)
        soft = rules.between(rules.values(rows.soft, wanted, ordering, relaxation, "neuralsort"), upper)
        soft = rules.nan_where_empty(soft, asked.where)
        soft, hard = (_first_shaped(a, shape) for a in (soft, rules.hard_quantile(rows.hard, asked)))
        return self._reduced_to(soft, hard, axes, keepdims, len(shape))

    def _arg_quantile(self, asked: Quantiles, axis, keepdims: bool, knobs: Mapping):
        axes, shape = canonical_axes(axis, self.ndim), jnp.shape(asked.q)
        rows, asked, relaxation = self._quantile_rows(asked, axes, knobs)
        wanted, upper, ordering = rules.quantile(rows.soft, asked)
        upper = None if upper is None else upper[..., None]
        ask = (rows.soft, wanted, ordering, relaxation, "neuralsort")
        placed = lambda a, logs: _first_shaped(rules.uniform_where_empty(a, asked.where, logs), shape, -2)
        soft = placed(rules.between(rules.weights(*ask), upper, -2), False)
        logs = lambda: _map(rules.log_weights(*ask), lambda a: placed(rules.log_between(a, upper, -2), True))
        hard = _first_shaped(rules.hard_quantile_index(rows.hard, asked), shape)
        return _index(soft, hard, logs, tuple(a + len(shape) for a in axes), keepdims)

    def _quantile_rows(self, asked: Quantiles, axes: tuple[int, ...], knobs: Mapping):
        """Rows, the quantiles that are asked of them in the form that the rules take, and the relaxation per row."""
        rows, mask, relaxation = self._rows(axes, asked.where, knobs)
        _check_not_empty("quantile", rows.soft)
        rules.check_quantiles(asked.q, asked.per)
        q = jnp.asarray(asked.q, wide_dtype(rows.soft.dtype)).ravel()
        shares = _along(asked.shares, self.shape, axes)
        return rows, asked._replace(q=q, where=mask, shares=shares), relaxation

    # What they share

    def _rows(self, axes: tuple[int, ...], where, knobs: Mapping) -> tuple[Views, Array | None, Relaxation]:
        """Both views with the axes flattened into the last, the mask alike, and the relaxation per row."""
        relaxation = rules.per_row(resolve(knobs, self.relaxation), self.ndim, axes)
        rows = Views(to_last(self.values, axes), to_last(self.hard_view, axes))
        return rows, _along(where, self.shape, axes), relaxation

    def _reduced_to(self, soft: Array, hard: Array, axes: tuple[int, ...], keepdims: bool, leading: int = 0):
        carried = self._relaxation and self._relaxation._map_softness(lambda s: jnp.max(s, axes), self.shape)
        dims = tuple(axis + leading for axis in axes)
        if keepdims:
            carried = carried and carried._map_softness(lambda s: jnp.expand_dims(s, axes), soft.shape[leading:])
            soft, hard = (jnp.expand_dims(a, dims) for a in (soft, hard))
        return type(self)._rebuild(soft, hard, carried)


def _along(x, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array | None:
    """A mask or weights of an operand, in the form of its rows."""
    return None if x is None else to_last(jnp.broadcast_to(x, shape), axes)


def _with_entry(rows: Array, value) -> Array:
    """Rows with one more entry."""
    return jnp.concatenate([rows, jnp.broadcast_to(jnp.asarray(value, rows.dtype), (*rows.shape[:-1], 1))], -1)


def _check_not_empty(name: str, rows: Array) -> None:
    if rows.shape[-1] == 0:
        raise ValueError(f"{name}: expected at least one entry along the axis; got an empty one")


def _ravelled(where, shape: tuple[int, ...]) -> Array | None:
    return None if where is None else jnp.broadcast_to(where, shape).ravel()


def _map(x: Array | None, fn) -> Array | None:
    return None if x is None else fn(x)


def _index(probs: Array, hard: Array, logs: Any, axes: tuple[int, ...] = (), keepdims: bool = False):
    out = KINDS["SoftIndex"]._rebuild(probs, hard)._with_logs(logs)
    return out._structural(lambda a: jnp.expand_dims(a, axes)) if keepdims else out


def _first_shaped(x: Array, shape: tuple[int, ...], axis: int = -1) -> Array:
    """An axis moved to the front and given another shape."""
    x = jnp.moveaxis(x, axis, 0)
    return x.reshape(*shape, *x.shape[1:])
