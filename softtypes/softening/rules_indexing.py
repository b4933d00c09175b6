"""Selection and updates at soft positions: expected values."""

import string
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from softtypes.rules import selection
from softtypes.softening.joining import join
from softtypes.softening.rule import Here, rule
from softtypes.softening.rules_integers import distribution
from softtypes.softening.rules_ordering import order_statistic
from softtypes.softening.values import (
    Columns,
    Integer,
    Known,
    Value,
    hard,
    is_bool,
    is_float,
    is_integer,
    real,
    recall,
    softs,
    structural,
)
from softtypes.types import SoftArray, SoftBool

SOFT_INDEX = (Integer, SoftArray)


def expected(here: Here, x: Value, exact, select) -> Value:
    """What a selection that is linear in the array makes of a value."""
    if is_bool(x):
        return SoftBool._rebuild(jnp.clip(select(softs([x])[0]), 0, 1), exact, here.logic)
    (values,) = softs([x], exact.dtype if is_float(x) else None)
    return real(select(values), exact)


# gather


class Gather(NamedTuple):
    """The parameters of a gather, and the shape of its index vectors."""

    numbers: lax.GatherDimensionNumbers
    sizes: tuple[int, ...]
    batch: tuple[int, ...]


@rule("gather", became="expected entries under the distribution of the index", is_site=False)
def gather(here: Here, x: Value, at: Value):
    columns = index_columns(at)
    decided = here.decide((at,)) if any(isinstance(c, SOFT_INDEX) for c in columns) else None
    if decided is None:
        found = _of_sorted(here, x, at)
        return structural(lambda a: here.bind(a, hard(at)), x) if found is None else found
    asked = Gather(here.params["dimension_numbers"], tuple(here.params["slice_sizes"]), hard(at).shape[:-1])
    relabelled = _relabelled(here, x, columns, asked)
    if relabelled is not None:
        return relabelled
    return expected(here, x, here.hard(x, at), lambda values: _expected(here, values, columns, asked))


def _of_sorted(here: Here, x: Value, at: Value) -> SoftArray | None:
    """Of sorted rows one entry each, at an exact position."""
    _, axis = recall(x, "sorted_from", (None, None))
    whole = axis is not None and all(
        size == (1 if d == axis else x.shape[d]) for d, size in enumerate(here.params["slice_sizes"])
    )
    if not whole or hard(at).shape != (1,) or here.params["dimension_numbers"].start_index_map != (axis,):
        return None
    return order_statistic(here, x, hard(at)[0], here.hard(x, at))


def index_columns(at: Value) -> list[Value]:
    """The entries of index vectors, one for each axis that is indexed."""
    if isinstance(at, Columns):
        return list(at.parts)
    return [structural(lambda a, i=i: a[..., i], at) for i in range(hard(at).shape[-1])]


def _relabelled(here: Here, x: Value, columns: Sequence[Value], asked: Gather) -> Integer | None:
    """Of known integers in a row the distribution of the entry."""
    if not (isinstance(x, Known) and x.const.ndim == 1 and len(columns) == 1 and asked.sizes == (1,)):
        return None
    if not is_integer(x) or asked.numbers.offset_dims:
        return None
    return Integer(
        distribution(columns[0], x.const.size), here.hard(x, Columns(tuple(columns), _stacked(columns))), x.const
    )


def _stacked(columns: Sequence[Value]):
    return jnp.stack([hard(c) for c in columns], -1)


def _expected(here: Here, x, columns: Sequence[Value], asked: Gather):
    """`sum_k P_k x[k]`, jointly over all soft columns; the array is gathered once for all places of the batch
    at which nothing but the distribution differs."""
    numbers, batch = asked.numbers, asked.batch
    limits = [x.shape[d] - asked.sizes[d] + 1 for d in numbers.start_index_map]
    spots = [i for i, c in enumerate(columns) if isinstance(c, SOFT_INDEX)]
    probs = [distribution(columns[i], limits[i]) for i in spots]
    exact = [i for i in range(len(columns)) if i not in spots]
    own = tuple(range(len(batch))) if exact else tuple(sorted(numbers.start_indices_batching_dims))
    entries = _entries(here, x, columns, spots, [limits[i] for i in spots], own, asked)
    letters = iter(string.ascii_letters)
    at_batch = [next(letters) for _ in batch]
    at_spots = [next(letters) for _ in spots]
    rest = [next(letters) for _ in range(entries.ndim - len(own) - len(spots))]
    terms = ["".join(at_batch) + k for k in at_spots]
    held = "".join(at_batch[i] for i in own) + "".join(at_spots) + "".join(rest)
    probs = [jnp.broadcast_to(p, (*batch, p.shape[-1])) for p in probs]
    out = selection.expectation(f"{','.join(terms)},{held}->{''.join(at_batch + rest)}", probs, entries)
    ndim = len(batch) + len(rest)
    places = [i for i in range(ndim) if i not in numbers.offset_dims]
    return jnp.moveaxis(out, range(ndim), [*places, *numbers.offset_dims])


def _entries(here: Here, x, columns, spots, limits, own: tuple[int, ...], asked: Gather):
    """The array at every place of the soft columns: `(own batch, places of each soft column, window)`."""
    numbers = asked.numbers
    whole = all(asked.sizes[d] == (1 if _indexed(d, numbers) else x.shape[d]) for d in range(x.ndim))
    if whole and len(spots) == len(columns):
        return _as_it_is(x, own, asked)
    kept = [asked.batch[i] for i in own]
    shape = (*kept, *limits)
    starts = []
    for i, c in enumerate(columns):
        if i in spots:
            axis = len(kept) + spots.index(i)
            starts.append(lax.broadcasted_iota(jnp.int32, shape, axis))
        else:
            exact = hard(c).astype(jnp.int32)
            starts.append(jnp.broadcast_to(exact.reshape(*exact.shape, *(1,) * len(limits)), shape))
    offset = tuple(range(len(shape), len(shape) + len(numbers.offset_dims)))
    moved = lax.GatherDimensionNumbers(
        offset_dims=offset,
        collapsed_slice_dims=numbers.collapsed_slice_dims,
        start_index_map=numbers.start_index_map,
        operand_batching_dims=numbers.operand_batching_dims,
        start_indices_batching_dims=tuple(own.index(i) for i in numbers.start_indices_batching_dims),
    )
    options = {name: here.params[name] for name in ("mode", "fill_value")}
    return lax.gather(x, jnp.stack(starts, -1), moved, asked.sizes, **options)


def _indexed(d: int, numbers) -> bool:
    return d in numbers.start_index_map or d in numbers.operand_batching_dims


def _as_it_is(x, own: tuple[int, ...], asked: Gather):
    """Every place of an axis in its order is the array itself."""
    numbers = asked.numbers
    batching = dict(zip(numbers.start_indices_batching_dims, numbers.operand_batching_dims, strict=True))
    front = [batching[i] for i in own] + list(numbers.start_index_map)
    window = [d for d in range(x.ndim) if d not in front]
    moved = x.transpose(front + window)
    hidden = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    return moved.reshape(*moved.shape[: len(front)], *(asked.sizes[d] for d in range(x.ndim) if d not in hidden))


# Slices


@rule("dynamic_slice", became="average of the slices over their starts", is_site=False)
def dynamic_slice(here: Here, x: Value, *starts: Value):
    sizes = here.params["slice_sizes"]
    shape = hard(x).shape
    soft_axes = [d for d, start in enumerate(starts) if isinstance(start, SOFT_INDEX) and shape[d] > sizes[d]]
    if not soft_axes or here.decide(starts) is None:
        return structural(lambda a: here.bind(a, *map(hard, starts)), x)
    exact_starts = [jnp.int32(0) if d in soft_axes else _as_int32(start) for d, start in enumerate(starts)]
    exact_sizes = [shape[d] if d in soft_axes else sizes[d] for d in range(len(shape))]

    def select(values):
        if len(soft_axes) < len(shape):
            values = lax.dynamic_slice(values, exact_starts, exact_sizes)
        for d in soft_axes:
            values = _sliced(distribution(starts[d], shape[d] - sizes[d] + 1), values, sizes[d], d)
        return values

    return expected(here, x, here.hard(x, *starts), select)


def _as_int32(start: Value):
    return jnp.asarray(hard(start)).astype(jnp.int32)


def _sliced(starts, x, size: int, axis: int):
    if size == 1:
        return jnp.expand_dims(selection.joint(x, [axis], [starts], 0), axis)
    padded = jnp.concatenate([starts, jnp.zeros(size - 1, starts.dtype)])
    return selection.dynamic_slice_in_dim(padded, x, size, axis)


# Updates


@rule("dynamic_update_slice", became="mixture of the updates over their starts", is_site=False)
def dynamic_update_slice(here: Here, x: Value, update: Value, *starts: Value):
    if not any(isinstance(start, SOFT_INDEX) for start in starts) or here.decide(starts) is None:
        return join(lambda a, b: here.bind(a, b, *map(hard, starts)), (x, update), here.logic)
    shape, window = hard(x).shape, hard(update).shape

    def place(values, new):
        """For every place the new values are put there with its probability; the old ones stay with the rest."""
        ones = jnp.ones(window, values.dtype)
        for d, start in enumerate(starts):
            count = shape[d] - window[d] + 1
            if isinstance(start, SOFT_INDEX):
                probs = distribution(start, count)
            else:
                places = jnp.clip(hard(start), 0, count - 1)
                probs = (jnp.arange(count) == places).astype(values.dtype)
            ones, new = (_placed(probs.astype(values.dtype), a, shape[d], d) for a in (ones, new))
        return _overwritten(values, jnp.clip(ones, 0, 1), new)

    return updated(here, x, update, here.hard(x, update, *starts), place)


def _placed(probs, x, size: int, axis: int):
    """`sum_k P_k (x at places k .. k + window)`."""
    window = x.shape[axis]
    shifts = jnp.arange(size)[:, None] - jnp.arange(window)[None, :]
    inside = (shifts >= 0) & (shifts < len(probs))
    weights = jnp.where(inside, probs[jnp.clip(shifts, 0, len(probs) - 1)], 0)
    return jnp.moveaxis(selection.expectation("ki,...i->...k", [weights], jnp.moveaxis(x, axis, -1)), -1, axis)


def _overwritten(old, share, new):
    """`(1 - share) old + new`; what is surely overwritten leaves no trace."""
    gone = share == 1
    return jnp.where(gone, 0, old) * (1 - share) + new


def updated(here: Here, x: Value, update: Value, exact, place) -> Value:
    """An update of an array by another, both of any kind."""
    if is_bool(x):
        return SoftBool._rebuild(jnp.clip(place(*softs((x, update))), 0, 1), exact, here.logic)
    return real(place(*softs((x, update), exact.dtype if is_float(x) else None)), exact)


@rule(
    *("scatter", "scatter-add", "scatter_add", "scatter-sub", "scatter_sub"),
    became="updates at every place by its probability",
    is_site=False,
)
def scatter(here: Here, x: Value, at: Value, update: Value):
    columns = index_columns(at)
    if not any(isinstance(c, SOFT_INDEX) for c in columns) or here.decide((at,)) is None:
        return join(lambda a, b: here.bind(a, hard(at), b), (x, update), here.logic)
    batch = hard(at).shape[:-1]
    spread = _Spread(here, columns, batch)
    place = spread.overwrite if here.eqn.primitive.name == "scatter" else spread.add
    return updated(here, x, update, here.hard(x, at, update), place)


class _Spread:
    """Updates at soft positions: one for every place that each may have."""

    def __init__(self, here: Here, columns: Sequence[Value], batch: tuple[int, ...]):
        self.here, self.columns, self.batch = here, columns, batch
        self.numbers = here.params["dimension_numbers"]

    def add(self, x, update):
        """`x + sum_b sum_k P_b(k) (update_b at k)`."""
        sign = -1 if self.here.eqn.primitive.name in ("scatter-sub", "scatter_sub") else 1
        places, window, weights = self._places(x, update)
        values = jnp.expand_dims(update, self._axes(update)) * weights
        return lax.scatter_add(x, places, sign * values.astype(x.dtype), window, mode=self.here.params["mode"])

    def overwrite(self, x, update):
        """The updates in their order, each of which replaces what is there with its probability."""
        batching = self.numbers.scatter_indices_batching_dims
        free = [i for i in range(len(self.batch)) if i not in batching]
        count = int(np.prod([self.batch[i] for i in free]))
        if count == 1:
            return self._once(x, update)
        for b in range(count):
            chosen = np.zeros([self.batch[i] if i in free else 1 for i in range(len(self.batch))], bool)
            chosen.flat[b] = True
            x = self._once(x, update, jnp.asarray(chosen, x.dtype))
        return x

    def _once(self, x, update, chosen=None):
        places, window, weights = self._places(x, update)
        if chosen is not None:
            weights = weights * self._like_update(chosen, update)
        options = {"mode": self.here.params["mode"]}
        weights = jnp.broadcast_to(
            weights, jnp.broadcast_shapes(weights.shape, jnp.expand_dims(update, self._axes(update)).shape)
        )
        values = jnp.expand_dims(update, self._axes(update)) * weights
        share = lax.scatter_add(jnp.zeros_like(x), places, weights.astype(x.dtype), window, **options)
        new = lax.scatter_add(jnp.zeros_like(x), places, values.astype(x.dtype), window, **options)
        return _overwritten(x, jnp.clip(share, 0, 1), new)

    def _soft(self):
        return [i for i, c in enumerate(self.columns) if isinstance(c, SOFT_INDEX)]

    def _batch_axes(self, update):
        return [i for i in range(update.ndim) if i not in self.numbers.update_window_dims]

    def _axes(self, update):
        """Where the axes of places come to stand in an update: after its last batch axis."""
        after = max(self._batch_axes(update), default=-1) + 1
        return tuple(range(after, after + len(self._soft())))

    def _like_update(self, a, update):
        """An array over the batch, in the form of the spread updates."""
        full = jnp.expand_dims(update, self._axes(update))
        shape = [1] * full.ndim
        for axis, size in zip(self._batch_axes(update), a.shape, strict=True):
            shape[axis] = size
        return a.reshape(shape)

    def _places(self, x, update):
        """Index vectors `(batch, places)`, their dimension numbers, and probabilities in the form of the updates."""
        numbers, spots = self.numbers, self._soft()
        hidden = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
        windows = dict(
            zip(
                [d for d in range(x.ndim) if d not in hidden],
                [update.shape[i] for i in numbers.update_window_dims],
                strict=True,
            )
        )
        counts = {i: x.shape[d] - windows.get(d, 1) + 1 for i, d in enumerate(numbers.scatter_dims_to_operand_dims)}
        shape = (*self.batch, *(counts[i] for i in spots))
        starts = []
        for i, c in enumerate(self.columns):
            if i in spots:
                starts.append(lax.broadcasted_iota(jnp.int32, shape, len(self.batch) + spots.index(i)))
            else:
                exact = hard(c).astype(jnp.int32)
                starts.append(jnp.broadcast_to(exact.reshape(*exact.shape, *(1,) * len(spots)), shape))
        axes = self._axes(update)
        moved = (
            numbers.update_window_dims
            if not axes
            else tuple(i + len(spots) if i >= axes[0] else i for i in numbers.update_window_dims)
        )
        changed = lax.ScatterDimensionNumbers(
            update_window_dims=moved,
            inserted_window_dims=numbers.inserted_window_dims,
            scatter_dims_to_operand_dims=numbers.scatter_dims_to_operand_dims,
            operand_batching_dims=numbers.operand_batching_dims,
            scatter_indices_batching_dims=numbers.scatter_indices_batching_dims,
        )
        weights = jnp.ones(())
        for spot, axis in zip(spots, axes, strict=True):
            p = jnp.broadcast_to(distribution(self.columns[spot], counts[spot]), (*self.batch, counts[spot]))
            shaped = [1] * (update.ndim + len(spots))
            for at, size in zip(self._batch_axes(update), self.batch, strict=True):
                shaped[at] = size
            shaped[axis] = counts[spot]
            weights = weights * p.reshape(shaped)
        return jnp.stack(starts, -1), changed, weights
