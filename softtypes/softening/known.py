"""Exact integers and Booleans that are computed while the program is traced, as far as indexing needs it."""

import numpy as np

from softtypes.softening.rule import Here, aval
from softtypes.softening.values import Known, Value


def _iota(*, dtype, shape, dimension, **_):
    along = np.arange(shape[dimension], dtype=dtype)
    return np.broadcast_to(along.reshape([-1 if i == dimension else 1 for i in range(len(shape))]), shape)


def _broadcast(x, *, shape, broadcast_dimensions, **_):
    places = dict(zip(broadcast_dimensions, x.shape, strict=True))
    return np.broadcast_to(x.reshape([places.get(i, 1) for i in range(len(shape))]), shape)


def _slice(x, *, start_indices, limit_indices, strides, **_):
    strides = strides or (1,) * x.ndim
    return x[tuple(map(slice, start_indices, limit_indices, strides))]


def _convert(x, *, new_dtype, **_):
    return x.astype(new_dtype)


def _select(which, *cases, **_):
    return np.choose(which.astype(int), cases)


def _elementwise(fn):
    return lambda *arrays, **_: fn(*arrays)


FOLDS = {
    "iota": _iota,
    "broadcast_in_dim": _broadcast,
    "convert_element_type": _convert,
    "reshape": lambda x, *, new_sizes, **_: x.reshape(new_sizes),
    "squeeze": lambda x, *, dimensions, **_: np.squeeze(x, tuple(dimensions)),
    "expand_dims": lambda x, *, dimensions, **_: np.expand_dims(x, tuple(dimensions)),
    "transpose": lambda x, *, permutation, **_: np.transpose(x, permutation),
    "rev": lambda x, *, dimensions, **_: np.flip(x, tuple(dimensions)),
    "slice": _slice,
    "concatenate": lambda *xs, dimension, **_: np.concatenate(xs, dimension),
    "select_n": _select,
    "add": _elementwise(np.add),
    "sub": _elementwise(np.subtract),
    "mul": _elementwise(np.multiply),
    "neg": _elementwise(np.negative),
    "max": _elementwise(np.maximum),
    "min": _elementwise(np.minimum),
    "clamp": _elementwise(lambda low, x, high: np.clip(x, low, high)),
    "div": _elementwise(lambda a, b: np.trunc(a / b).astype(a.dtype)),
    "rem": _elementwise(np.fmod),
    "abs": _elementwise(np.abs),
    "sign": _elementwise(np.sign),
    "and": _elementwise(np.bitwise_and),
    "or": _elementwise(np.bitwise_or),
    "xor": _elementwise(np.bitwise_xor),
    "lt": _elementwise(np.less),
    "le": _elementwise(np.less_equal),
    "gt": _elementwise(np.greater),
    "ge": _elementwise(np.greater_equal),
    "eq": _elementwise(np.equal),
    "ne": _elementwise(np.not_equal),
    "not": _elementwise(np.invert),
    "stop_gradient": lambda x, **_: x,
    "copy": lambda x, **_: x,
}


def known(here: Here, values: list[Value]) -> list[Value] | None:
    """The result beside what is known of it; None where nothing is."""
    fold = FOLDS.get(here.eqn.primitive.name)
    if fold is None or not all(isinstance(x, Known) for x in values):
        return None
    (var,) = here.eqn.outvars
    dtype = aval(var).dtype
    exact = np.issubdtype(dtype, np.bool_) or np.issubdtype(dtype, np.integer)
    if not exact and here.eqn.primitive.name not in ("convert_element_type", "broadcast_in_dim"):
        return None
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        const = fold(*(x.const for x in values), **here.params)
    return [Known(here.hard(*values), np.asarray(const).astype(dtype))]
