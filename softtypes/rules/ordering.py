"""Ordering rules: rows with their exact order, weights and values of order statistics, ranks.

NaN, infinities and masked entries are ordered exactly, whatever the algorithm: it sees the finite entries that
count. Positions that fall outside of these select one entry.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import AxisType, PartitionSpec

from softtypes._lift import as_float, effective_softness, float_dtype, iota_like, wide_dtype
from softtypes._relaxation import Relaxation, check_choice
from softtypes.rules.order import Ordering, ahead, exact_order, leading, levels, order_and_starts, order_of, reverse
from softtypes.rules.order import first as first_of
from softtypes.surrogates import along, contraction
from softtypes.surrogates.algorithm import Algorithm, Request, Row
from softtypes.surrogates.algorithms import ALGORITHMS
from softtypes.surrogates.modes import MODES
from softtypes.surrogates.standardize import Moments, Tally, deviation, moments, number, standardize, tally
from softtypes.surrogates.straight_through import straight_through


class Wanted(NamedTuple):
    """Which order statistics: a kind of request, and positions `(..., k)` that count from the first in the order."""

    kind: str
    positions: Array


# Rows


def row_of(x: Array, ordering: Ordering, relaxation: Relaxation, wanted: Wanted | None = None) -> Row:
    """The row's keys and their exact order, as far as it is wanted."""
    counted = tally(x, ordering.where)
    if wanted and wanted.kind == "extreme":
        order, value = first_of(x, ordering)
        start = (~jnp.isfinite(value)).astype(jnp.int32)  # of what comes before, one entry matters
    else:
        signed = -x if ordering.descending else x
        k = wanted.positions.shape[-1] if wanted and wanted.kind == "top" else None
        finite = counted.count == x.shape[-1]
        order = order_of(signed, ordering) if k is None else leading(signed, ordering, k, finite)
        start = number(ahead(signed, ordering), x.dtype)
    return _row(x, counted, ordering, relaxation, order=order, start=start)


def _row(x: Array, tally: Tally, ordering: Ordering, relaxation: Relaxation, **rest: Any) -> Row:
    counted, down = tally.counts, ordering.descending
    finite = jnp.where(counted, x, 0)
    signed = -finite if down else finite
    found = moments(x, tally) if relaxation.standardize else None
    keys = standardize(x, counted, found, mirrored=down) if found else signed
    keys = straight_through(jnp.where(counted, keys, 0), keys)  # whose derivative is 0 there already
    data = lax.stop_gradient(signed)
    return Row(keys, counted, count=tally.count, data=data, mirrored=down, moments=found, **rest)


def row_in_order(x: Array, ordering: Ordering, relaxation: Relaxation) -> tuple[Row, Array, Array, Array]:
    """The row with its entries in their exact order, the entries, the order, and where in it the levels start."""
    signed = -x if ordering.descending else x
    order, starts = order_and_starts(signed, ordering)
    x = along.at(x, order)
    start, count = starts[..., 2:3], starts[..., 3:4] - starts[..., 2:3]
    places = iota_like(order)
    counted = (places >= start) & (places < start + count)
    row = _row(x, Tally(counted, count), ordering, relaxation, order=places, start=start, in_order=True)
    return row, x, order, starts


def per_row(relaxation: Relaxation, ndim: int, axes: tuple[int, ...]) -> Relaxation:
    """The relaxation of rows: a softness per element has to be one per row, and comes out as `(..., 1)`."""
    if relaxation.is_static or jnp.ndim(relaxation.softness) == 0:
        return relaxation
    given = jnp.asarray(relaxation.softness)
    softness = jnp.expand_dims(given, tuple(range(ndim - given.ndim)))
    if any(softness.shape[axis] != 1 for axis in axes):
        raise ValueError(
            f"an ordering operator takes one softness a row: expected size 1 along axes {axes}, got a softness of "
            f"shape {given.shape}; pass softness= to this operator"
        )
    return relaxation._map_softness(lambda s: jnp.squeeze(s, axes)[..., None], softness.shape)


def algorithm_of(relaxation: Relaxation, default: str, *, weights: bool) -> Algorithm:
    """The algorithm asked for, if it can do what is wanted of it; the error names those that can."""
    name = relaxation.algorithm or default
    algorithm = ALGORITHMS[name]
    if weights and not algorithm.has_weights:
        able = tuple(key for key, other in ALGORITHMS.items() if other.has_weights)
        _refuse(name, "has no weights over the entries, which an index is made of", able)
    if relaxation.mode not in (*algorithm.modes, "hard"):
        able = tuple(key for key, other in ALGORITHMS.items() if relaxation.mode in other.modes)
        _refuse(name, f"has no mode {relaxation.mode!r} (it has {', '.join(map(repr, algorithm.modes))})", able)
    return algorithm


def _unstandardized(relaxation: Relaxation, algorithm: Algorithm) -> Relaxation:
    """Without standardisation, for an algorithm that takes the data as they are."""
    return relaxation if algorithm.standardizes else relaxation.replace(standardize=False)


def _refuse(name: str, why: str, able: tuple[str, ...]):
    raise ValueError(f"algorithm {name!r} {why}; those that do are {', '.join(map(repr, able))}")


# Order statistics of the last axis; positions (..., k) count from the first entry in the order


def placed_freely(rule: Callable) -> Callable:
    """A rule of rows whose arrays the compiler places; on a mesh with explicit axes it would have to say each place.

    The batch of the result is placed as that of the rows.
    """

    @wraps(rule)
    def run(x: Array, *rest):
        if AxisType.Explicit not in jax.sharding.get_abstract_mesh().axis_types:
            return rule(x, *rest)
        leaves, tree = jax.tree.flatten((x, *rest))
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Array | np.ndarray)]

        def of_arrays(*arrays):
            known = dict(zip(places, arrays, strict=True))
            return rule(*tree.unflatten([known.get(i, leaf) for i, leaf in enumerate(leaves)]))

        batch = PartitionSpec(*jax.typeof(x).sharding.spec[:-1])
        return jax.sharding.auto_axes(of_arrays, out_sharding=batch)(*(leaves[i] for i in places))

    return run


def _exact_weights(row: Row, positions: Array, dtype) -> Array:
    index = along.at(row.order, positions).astype(jnp.int32)
    return (index[..., :, None] == iota_like(row.keys)[..., None, :]).astype(dtype)


def _relative(row: Row, positions: Array) -> tuple[Array, Array]:
    """Which positions fall among the entries that the algorithm sees, and where."""
    inside = (positions >= row.start) & (positions < row.start + row.count)
    return inside, jnp.clip(positions - row.start, 0, jnp.maximum(row.count - 1, 0))


@placed_freely
def weights(x: Array, wanted: Wanted, ordering: Ordering, relaxation: Relaxation, default: str) -> Array:
    """Weights `(..., k, n)` of order statistics over the entries."""
    if x.shape[-1] == 0:
        return jnp.zeros((*wanted.positions.shape, 0), x.dtype)
    wide = as_float(x, wide_dtype(x.dtype))
    row = row_of(wide, ordering, relaxation, _part(wanted, wide, relaxation, default))
    exact = _exact_weights(row, wanted.positions, wide.dtype)
    if relaxation.is_hard:
        return exact.astype(x.dtype)
    algorithm = algorithm_of(relaxation, default, weights=True)
    inside, places = _relative(row, wanted.positions)
    s = effective_softness(relaxation, x.dtype)
    soft = algorithm.weights(row, Request(wanted.kind, places), s, MODES[relaxation.mode])
    return jnp.where((inside & _soft(relaxation))[..., None], soft, exact).astype(x.dtype)


@placed_freely
def log_weights(x: Array, wanted: Wanted, ordering: Ordering, relaxation: Relaxation, default: str) -> Array | None:
    """Their logarithms, where the algorithm has them exactly in this mode."""
    if relaxation.is_hard:
        return None
    wide = as_float(x, wide_dtype(x.dtype))
    row = row_of(wide, ordering, relaxation, _part(wanted, wide, relaxation, default))
    inside, places = _relative(row, wanted.positions)
    s = effective_softness(relaxation, x.dtype)
    algorithm = algorithm_of(relaxation, default, weights=True)
    logs = algorithm.log_weights(row, Request(wanted.kind, places), s, MODES[relaxation.mode])
    if logs is None:
        return None
    exact = jnp.where(_exact_weights(row, wanted.positions, wide.dtype) > 0, 0, -jnp.inf)
    return jnp.where((inside & _soft(relaxation))[..., None], logs, exact).astype(x.dtype)


def _part(wanted: Wanted, x: Array, relaxation: Relaxation, default: str) -> Wanted | None:
    """What the order of rows is needed for; None for the whole of it."""
    algorithm = ALGORITHMS[relaxation.algorithm or default]
    return None if algorithm.orders(x.shape[-1]) and not relaxation.is_hard else wanted


def _soft(relaxation: Relaxation) -> Array | bool:
    """Where the softness is not 0, `(..., 1)`."""
    return True if relaxation.is_static else relaxation.softness > 0


def has_weights(relaxation: Relaxation) -> bool:
    """Whether the algorithm asked for has weights over the entries, which an index is made of."""
    return relaxation.algorithm is None or ALGORITHMS[relaxation.algorithm].has_weights


@placed_freely
def values(x: Array, wanted: Wanted, ordering: Ordering, relaxation: Relaxation, default: str) -> Array:
    """Expected values `(..., k)` of order statistics: `weights @ x`, or what an algorithm without them gives."""
    algorithm = algorithm_of(relaxation, default, weights=False)
    if x.shape[-1] == 0:
        return jnp.zeros(wanted.positions.shape, x.dtype)
    wide = as_float(x, wide_dtype(x.dtype))
    relaxation = _unstandardized(relaxation, algorithm)
    s = effective_softness(relaxation, x.dtype)
    turned = algorithm.has_values and ordering.descending
    if wanted.kind == "sort" and algorithm.symmetric and not turned:
        row, wide, *_ = row_in_order(wide, ordering, relaxation)
    else:
        row = row_of(wide, ordering, relaxation, _part(wanted, wide, relaxation, default))
    return _values_of(row, wide, wanted, ordering, relaxation, s, algorithm).astype(x.dtype)


def statistics_of(x: Array, ordering: Ordering, relaxation: Relaxation, default: str) -> Callable[[Array], Array]:
    """Expected values of order statistics at positions `(..., k)`, asked for one after another: they share what
    depends on the row alone, also in the derivative; but on a mesh with explicit axes, where each finds it again."""
    if AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types:
        return lambda positions: values(x, Wanted("single", positions), ordering, relaxation, default)
    algorithm = algorithm_of(relaxation, default, weights=False)
    wide = as_float(x, wide_dtype(x.dtype))
    relaxation = _unstandardized(relaxation, algorithm)
    row = row_of(wide, ordering, relaxation)
    s = effective_softness(relaxation, x.dtype)
    if not relaxation.is_hard:
        row = algorithm.prepared(row, s, MODES[relaxation.mode])

    def at(positions: Array) -> Array:
        return _values_of(row, wide, Wanted("single", positions), ordering, relaxation, s, algorithm).astype(x.dtype)

    return at


def _values_of(row: Row, x, wanted: Wanted, ordering, relaxation, softness, algorithm: Algorithm) -> Array:
    exact = x if row.in_order else along.at(x, along.at(row.order, wanted.positions))
    if relaxation.is_hard:
        return exact
    relaxed = _sorted_values if algorithm.has_values else _expected_values
    inside, places = _relative(row, wanted.positions)
    soft = relaxed(algorithm, x, row, Request(wanted.kind, places), ordering, relaxation, softness)
    return jnp.where(inside & _soft(relaxation), soft, exact)


def _expected_values(algorithm: Algorithm, x, row: Row, request: Request, ordering, relaxation, softness) -> Array:
    """The weights' means of the data."""
    if not relaxation.gated_grad:
        row = row._replace(keys=lax.stop_gradient(row.keys), shared=lax.stop_gradient(row.shared))
        softness = softness if isinstance(softness, float) else lax.stop_gradient(softness)
    finite = jnp.where(row.counted, x, 0)
    return algorithm.expected(row, request, finite, softness, MODES[relaxation.mode])


def _sorted_values(algorithm: Algorithm, x, row: Row, request: Request, ordering, relaxation, softness) -> Array:
    """The keys that the algorithm sorts, ascending in either direction, so that max is sort[-1]."""
    if algorithm.symmetric and not row.in_order:
        row, x, *_ = row_in_order(x, ordering._replace(descending=False), relaxation)
    elif ordering.descending:
        row = row_of(x, ordering._replace(descending=False), relaxation)
    keys = algorithm.values(row, softness, MODES[relaxation.mode])
    places = request.positions
    places = jnp.maximum(row.count - 1 - places, 0) if ordering.descending else places
    return along.at(_in_unit_of_data(keys, row.moments), places)


def _in_unit_of_data(keys: Array, moments: Moments | None) -> Array:
    """Undo the standardisation: `mean + std logit(z)`."""
    if moments is None:
        return keys
    clipped = lax.stop_gradient(jnp.clip(keys, jnp.finfo(keys.dtype).tiny, 1 - jnp.finfo(keys.dtype).epsneg))
    inside = keys == clipped
    logit = jnp.where(inside, _logit(jnp.where(inside, keys, 0.5)), _logit(clipped))  # its curvature at 0 overflows
    return moments.mean + deviation(moments) / moments.factor * logit


def _logit(p: Array) -> Array:
    return jnp.log(p / (1 - p))


# Operators on the last axis


def extreme(x: Array) -> Wanted:
    """The first entry in the order."""
    return Wanted("extreme", jnp.zeros_like(x.sum(-1, keepdims=True), dtype=jnp.int32))


def first(x: Array, k: int | None) -> Wanted:
    """The first k entries in the order, or all of them."""
    return Wanted("sort" if k is None else "top", iota_like(x)[..., :k])


def uniform_where_empty(rows: Array, where: Array | None, logs: bool = False) -> Array:
    """A row in which nothing counts has uniform weights, or the logarithms of these."""
    if where is None:
        return rows
    n = rows.shape[-1]
    return jnp.where(where.any(-1)[..., None, None], rows, -np.log(n) if logs else 1 / n)


def nan_where_empty(out: Array, where: Array | None) -> Array:
    """A row in which nothing counts has no value, in the dtypes that can say so."""
    if where is None or not jnp.issubdtype(out.dtype, jnp.floating):
        return out
    return jnp.where(where.any(-1, keepdims=True), out, jnp.nan)


@placed_freely
def ranks(x: Array, ordering: Ordering, relaxation: Relaxation) -> Array:
    """Relaxed ranks from 1; exact, ties averaged, for infinities; 0 for masked entries."""
    algorithm = algorithm_of(relaxation, "neuralsort", weights=False)
    if x.shape[-1] == 0:
        return x
    wide = as_float(x, wide_dtype(x.dtype))
    relaxation = _unstandardized(relaxation, algorithm)
    if relaxation.is_hard:
        return exact_ranks(wide, ordering).astype(x.dtype)
    if not algorithm.symmetric:
        row = row_of(wide, ordering, relaxation)
        soft, exact = _soft_ranks(algorithm, row, relaxation, x.dtype), exact_ranks(wide, ordering)
        return jnp.where(row.counted & _soft(relaxation), soft, exact).astype(x.dtype)
    row, _, order, starts = row_in_order(wide, ordering, relaxation)
    soft = _soft_ranks(algorithm, row, relaxation, x.dtype)
    soft = along.put(jnp.where(row.counted, soft, _ranks_outside(order, starts, ordering, soft.dtype)), order)
    soft = soft if relaxation.is_static else jnp.where(_soft(relaxation), soft, exact_ranks(wide, ordering))
    return soft.astype(x.dtype)


def _soft_ranks(algorithm: Algorithm, row: Row, relaxation: Relaxation, dtype) -> Array:
    ranks = algorithm.ranks(row, effective_softness(relaxation, dtype), MODES[relaxation.mode])
    return ranks + row.start.astype(ranks.dtype)


def _ranks_outside(order: Array, starts: Array, ordering: Ordering, dtype) -> Array:
    """The exact ranks in the order of entries that are not finite, of which each level is tied; 0 for masked ones.

    In few operations: with more than bytes XLA's CPU shares them among threads, which takes longer in short rows.
    """
    places = iota_like(order)
    shared = (starts[..., :-1] + 1 + starts[..., 1:]).astype(dtype) / 2
    first, *others = (0, 1, 3) if ordering.nan_first else (1, 3, 4)
    ranks = shared[..., first, None]
    for level in others:  # which takes over where it starts
        ranks = jnp.where(places >= starts[..., level, None], shared[..., level, None], ranks)
    return ranks if ordering.where is None else jnp.where(places < starts[..., 5, None], ranks, 0)


def exact_ranks(x: Array, ordering: Ordering) -> Array:
    """Ranks from 1 as floats, tied entries sharing their mean; 0 for masked entries."""
    if x.shape[-1] == 0:
        return as_float(x)
    signed = reverse(x) if ordering.descending else x
    level = levels(signed, ordering)
    order = order_of(signed, ordering)
    finite = jnp.where(level == 0, signed, jnp.zeros_like(signed))
    level, value = (along.at(a, order) for a in (level, finite))
    changes = (level[..., 1:] != level[..., :-1]) | (value[..., 1:] != value[..., :-1])
    edge = jnp.ones_like(order[..., :1], dtype=bool)
    places = iota_like(order)
    first = along.running_max(jnp.where(jnp.concatenate([edge, changes], -1), places, 0))
    closing = jnp.where(jnp.concatenate([changes, edge], -1), places, x.shape[-1])
    last = along.following_min(closing)
    shared = 1 + (first + last).astype(float_dtype(x)) / 2
    rank = along.put(shared, order)
    return rank if ordering.where is None else jnp.where(ordering.where, rank, 0)


# Quantiles

QUANTILE_METHODS = ("linear", "lower", "higher", "nearest", "midpoint", "inverted_cdf")


class Quantiles(NamedTuple):
    """Which quantiles: `q` in units of `1 / per`, jnp's method, and what counts, and for how much.

    The rules take a vector `q`, and `where` and `shares` in the form of the rows.
    """

    q: Any
    per: int  # 1, or 100 for percentiles
    method: str
    where: Any
    shares: Any


def quantile(x: Array, asked: Quantiles) -> tuple[Wanted, Array | None, Ordering]:
    """The order statistics that quantiles lie between, and the weight of the upper ones `(..., q)`.

    A method that takes one order statistic has no such weight. A NaN among the entries that count is the quantile.
    """
    q, per, method, where, shares = asked
    check_choice("method", method, QUANTILE_METHODS)
    if shares is not None and method != "inverted_cdf":
        raise ValueError(f"weights need method='inverted_cdf', as in jnp.quantile; got method={method!r}")
    ordering = Ordering(nan_first=True, where=where)
    counted = jnp.ones(x.shape, bool) if where is None else where
    last = jnp.maximum(counted.sum(-1, keepdims=True, dtype=jnp.int32) - 1, 0)
    poisoned = (jnp.isnan(x) & counted).any(-1, keepdims=True)
    q = (q / per).reshape((1,) * (x.ndim - 1) + q.shape)
    place = q * last.astype(q.dtype)
    low = jnp.clip(jnp.floor(place).astype(jnp.int32), 0, last)
    share = place - jnp.floor(place)
    high = jnp.minimum(low + 1, last)
    if method in ("linear", "midpoint"):
        positions = jnp.concatenate([low, high], -1)
        upper = share if method == "linear" else jnp.where(share > 0, 0.5, 0.0).astype(q.dtype)
        return Wanted("between", jnp.where(poisoned, 0, positions)), upper, ordering
    if method == "inverted_cdf":
        single = _inverted_cdf(x, q, ordering, counted, shares)
    else:
        up = {"lower": jnp.zeros_like(share, bool), "higher": share > 0, "nearest": share > 0.5}[method]
        single = jnp.where(up, high, low)
    return Wanted("single", jnp.where(poisoned, 0, single)), None, ordering


def _inverted_cdf(x: Array, q: Array, ordering: Ordering, counted: Array, shares: Array | None) -> Array:
    """The first position at which the cumulated weights reach `q` of their sum."""
    shares = jnp.where(counted, jnp.ones_like(x) if shares is None else shares.astype(x.dtype), 0)
    total = jnp.cumsum(along.at(shares, exact_order(x, ordering)), -1)
    position = (total[..., None, :] < (q * total[..., -1:])[..., :, None]).sum(-1)
    return jnp.minimum(position, jnp.maximum(counted.sum(-1, keepdims=True, dtype=jnp.int32) - 1, 0))


def between(rows: Array, upper: Array | None, axis: int = -1) -> Array:
    """Interpolate the lower half of the entries along an axis with the upper half; exactly at weights 0 and 1."""
    if upper is None:
        return rows
    low, high = jnp.split(rows, 2, axis)
    dtype = rows.dtype
    low, high, upper = jnp.broadcast_arrays(low, high, upper.astype(dtype))
    return contraction.mix(upper, high, low)


def log_between(rows: Array, upper: Array | None, axis: int = -1) -> Array:
    """`between`, of logarithms."""
    if upper is None:
        return rows
    low, high = jnp.split(rows, 2, axis)
    low, high, upper = jnp.broadcast_arrays(low, high, upper.astype(rows.dtype))
    inner = jnp.where((upper > 0) & (upper < 1), upper, 0.5)
    mixed = jnp.logaddexp(low + jnp.log1p(-inner), high + jnp.log(inner))
    return jnp.where(upper == 0, low, jnp.where(upper == 1, high, mixed))


def check_quantiles(q, per: int) -> None:
    """Refuse a quantile outside of [0, per], where that can be seen."""
    if isinstance(q, jax.core.Tracer):
        return
    if not np.all((np.asarray(q) >= 0) & (np.asarray(q) <= per)):
        raise ValueError(f"q must lie in [0, {per}]; got {q}")


# Exact counterparts, on the hard view


def hard_extreme(x: Array, largest: bool, where: Array | None) -> Array:
    """jnp's max or min of the last axis; of no entry at all NaN."""
    reduce = jnp.max if largest else jnp.min
    if where is None:
        return reduce(x, -1)
    value = reduce(x, -1, initial=_outermost(x.dtype, largest), where=where)
    return nan_where_empty(value[..., None], where)[..., 0]


def hard_extreme_index(x: Array, largest: bool, where: Array | None) -> Array:
    """jnp's argmax or argmin of the last axis; of no entry at all 0."""
    arg = jnp.argmax if largest else jnp.argmin
    if where is None:
        return arg(x, -1)
    index = arg(jnp.where(where, x, _outermost(x.dtype, largest)), -1)
    counted = along.at(where, index[..., None])[..., 0]
    return jnp.where(counted, index, jnp.argmax(where, -1))  # every entry that counts is as extreme as a masked one


def _outermost(dtype, largest: bool) -> Array:
    """The value that no other is beyond, from the far side."""
    if jnp.issubdtype(dtype, jnp.bool_):
        return jnp.asarray(not largest)
    if jnp.issubdtype(dtype, jnp.floating):
        return jnp.asarray(-jnp.inf if largest else jnp.inf, dtype)
    info = jnp.iinfo(dtype)
    return jnp.asarray(info.min if largest else info.max, dtype)


@placed_freely
def hard_order(x: Array, k: int | None, ordering: Ordering) -> Array:
    """jnp's argsort of the last axis, or the indices of top_k."""
    if ordering.where is None and k is not None:
        return lax.top_k(x, k)[1]
    if ordering.where is None and not jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.argsort(x, -1, descending=ordering.descending)
    return exact_order(x, ordering)[..., :k].astype(jnp.result_type(int))


@placed_freely
def hard_sorted(x: Array, k: int | None, ordering: Ordering) -> Array:
    """jnp's sort of the last axis, or the values of top_k. By the order of the soft view, so that XLA sorts once."""
    if ordering.where is None and k is not None:
        return lax.top_k(x, k)[0]
    if ordering.where is None and not jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.sort(x, -1, descending=ordering.descending)
    x = along.at(x, hard_order(x, k, ordering))
    return _zeros_turned(x) if ordering.descending and ordering.where is None else x


def _zeros_turned(x: Array) -> Array:
    """The run of zeros, of either sign, turned round: jnp sorts descending by turning the ascending order round."""
    places, zero = iota_like(x), x == 0
    first = jnp.where(zero, places, x.shape[-1]).min(-1, keepdims=True, initial=x.shape[-1])
    last = jnp.where(zero, places, 0).max(-1, keepdims=True, initial=0)
    places = jnp.where(zero, first + last - places, places)
    return along.at(x, places)


@placed_freely
def hard_ranks(x: Array, ordering: Ordering) -> Array:
    """The average ranks of `jax.scipy.stats.rankdata`, NaN for a row with a NaN that counts."""
    ranked = exact_ranks(x, ordering)
    counted = jnp.ones(x.shape, bool) if ordering.where is None else ordering.where
    poisoned = (jnp.isnan(x) & counted).any(-1, keepdims=True)
    return jnp.where(poisoned & counted, jnp.nan, ranked)


@placed_freely
def hard_quantile(x: Array, asked: Quantiles) -> Array:
    """jnp's quantile or percentile of the last axis, `(..., q)`; with a mask that of the entries that count."""
    x = as_float(x)
    if asked.where is None and asked.method == "linear":  # the others need no sort but that of the soft view
        return jnp.moveaxis(_jnp_linear(x, asked), 0, -1)
    wanted, upper, ordering = quantile(x, asked)
    order = exact_order(x, ordering)
    picked = along.at(x, along.at(order, wanted.positions))
    if asked.where is None and upper is not None:  # jnp's midpoint, which keeps -0.0 and the smallest numbers
        low, high = jnp.split(picked, 2, -1)
        return jnp.where(upper > 0, (low + high) * 0.5, low)
    return nan_where_empty(between(picked, upper), asked.where)


def _jnp_linear(x: Array, asked: Quantiles) -> Array:
    exact = {1: jnp.quantile, 100: jnp.percentile}[asked.per]  # sums of our own would be rounded otherwise
    return exact(x, asked.q, -1)


@placed_freely
def hard_quantile_index(x: Array, asked: Quantiles) -> Array:
    """The index of the order statistic that the quantile is nearest to, `(..., q)`."""
    x = as_float(x)
    wanted, upper, ordering = quantile(x, asked)
    positions = wanted.positions
    if upper is not None:
        low, high = jnp.split(positions, 2, -1)
        positions = jnp.where(upper > 0.5, high, low)
    return along.at(exact_order(x, ordering), positions)
