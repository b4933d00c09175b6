"""Ordering rules: weights of order statistics, and the values that they select."""

import jax
import jax.numpy as jnp
from jax import Array

from softtypes._lift import Rule, Views, as_float, both, effective_softness, relax, to_last, wide_dtype
from softtypes._relaxation import Relaxation
from softtypes.surrogates import contraction
from softtypes.surrogates.algorithms import ALGORITHMS
from softtypes.surrogates.modes import MODES
from softtypes.surrogates.standardize import standardize


def keys_of(x: Array, relaxation: Relaxation, largest: bool, where: Array | None) -> Array:
    """What the algorithms order: the row (standardised), its infinities, NaN beyond all, masked entries below."""
    finite = jnp.isfinite(x)
    keys = standardize(x, finite if where is None else finite & where) if relaxation.standardize else x
    keys = jnp.where(finite, keys, x)
    keys = jnp.where(jnp.isnan(x), jnp.inf, keys if largest else -keys)
    return keys if where is None else jnp.where(where, keys, -jnp.inf)


def _algorithm(relaxation: Relaxation, default: str):
    return ALGORITHMS[relaxation.algorithm or default]


def _extreme_weights(x, s, relaxation, largest, where):
    keys = keys_of(x, relaxation, largest, where)
    return _algorithm(relaxation, "softsort").extreme_weights(keys, s, MODES[relaxation.mode])


def _extreme_index(x, largest, where):
    arg = jnp.argmax if largest else jnp.argmin
    if where is None:
        return arg(x, -1)
    index = arg(jnp.where(where, x, _least(x.dtype) if largest else _greatest(x.dtype)), -1)
    counted = jnp.take_along_axis(where, index[..., None], -1)[..., 0]
    return jnp.where(counted, index, jnp.argmax(where, -1))  # every entry that counts is as low as a masked one


def _least(dtype):
    return -jnp.inf if jnp.issubdtype(dtype, jnp.floating) else dtype.type(jnp.iinfo(dtype).min)


def _greatest(dtype):
    return jnp.inf if jnp.issubdtype(dtype, jnp.floating) else dtype.type(jnp.iinfo(dtype).max)


def one_hot(index: Array, x: Array, **_) -> Array:
    return jax.nn.one_hot(index, x.shape[-1])


EXTREME = Rule(_extreme_weights, _extreme_index, one_hot)


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
    return relaxation.map_softness(lambda s: jnp.squeeze(s, axes)[..., None], softness.shape)


def extreme_weights(x: Array, relaxation: Relaxation, axes: tuple[int, ...], largest: bool, where=None) -> Array:
    """Weights `(..., n)` of the largest or smallest entry over the flattened axes."""
    where = _row_mask(x, axes, where)
    row = per_row(relaxation, x.ndim, axes)
    return relax(EXTREME, row, to_last(x, axes), largest=largest, where=where)


def extreme_index(x: Views, relaxation: Relaxation, axes: tuple[int, ...], largest: bool, where=None) -> Views:
    """Both views of argmax or argmin."""
    rows = Views(to_last(x.soft, axes), to_last(x.hard, axes))
    row = per_row(relaxation, x.soft.ndim, axes)
    return both(EXTREME, row, rows, largest=largest, where=_row_mask(x.hard, axes, where))


def log_extreme_weights(
    x: Array, relaxation: Relaxation, axes: tuple[int, ...], largest: bool, where=None
) -> Array | None:
    """Logarithms of the weights where the mode and the algorithm have them exactly, else None."""
    mode = MODES.get(relaxation.mode)
    if mode is None or relaxation.is_hard:
        return None
    rows, wide = to_last(x, axes), wide_dtype(x.dtype)
    keys = keys_of(rows.astype(wide), relaxation, largest, _row_mask(x, axes, where))
    s = effective_softness(relaxation, x.dtype)
    logs = _algorithm(relaxation, "softsort").log_extreme_weights(keys, s, mode)
    return None if logs is None else logs.astype(x.dtype)


def _row_mask(x: Array, axes: tuple[int, ...], where):
    return None if where is None else to_last(jnp.broadcast_to(where, x.shape), axes)


def extreme_value(x: Array, relaxation: Relaxation, axes: tuple[int, ...], largest: bool, where=None) -> Array:
    """The expected value of the original entries under the weights; NaN where no entry counts."""
    weights = extreme_weights(x, relaxation, axes, largest, where)
    if not relaxation.gated_grad:
        weights = jax.lax.stop_gradient(weights)
    wide = wide_dtype(x.dtype)
    value = contraction.dot(weights.astype(wide), to_last(as_float(x, wide), axes)).astype(x.dtype)
    return value if where is None else _or_nan(value, x, axes, where)


def hard_extreme(x: Array, axes: tuple[int, ...], largest: bool, where=None) -> Array:
    """jnp's max or min; of no entry at all NaN."""
    reduce = jnp.max if largest else jnp.min
    if where is None:
        return reduce(x, axes)
    value = reduce(x, axes, initial=_least(x.dtype) if largest else _greatest(x.dtype), where=where)
    return _or_nan(value, x, axes, where)


def _or_nan(value: Array, x: Array, axes: tuple[int, ...], where: Array) -> Array:
    """NaN where no entry counts, in the dtypes that have one."""
    if not jnp.issubdtype(value.dtype, jnp.floating):
        return value
    return jnp.where(jnp.broadcast_to(where, x.shape).any(axes), value, jnp.nan)
