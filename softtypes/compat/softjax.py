"""The public functions of softjax 0.1.1 and of its development head, made of those of softtypes.

    import softtypes.compat.softjax as sj  # was: import softjax as sj

Names, arguments, defaults and layouts are softjax's, and so are plain arrays in and out: a soft Boolean is an array of
probabilities, a soft index one of distributions, whose last axis runs over the indices. `return_log_probs` and
`log_prob_eps` are those of the development head.

Where softjax is wrong, these functions differ from it:

- `isclose` is a probability, 1 at distance 0 (softjax: up to 2).
- `dynamic_slice` and `dynamic_slice_in_dim` clamp a start near the end, as `jax.lax` does (softjax wraps around).
- `standardize` works at every scale of the data (softjax takes data of size 1e-8 for a constant).
- Method "sorting_network" is doubly stochastic for every size (softjax: for powers of two).
- `rank` by "neuralsort" gives every element a rank (softjax: 0 to one without weights); hard ranks average ties.
- Infinities and NaN are ordered exactly and do not spread; a relaxed rank puts a NaN last. A probability of exactly 0
  or 1 selects exactly, whatever the other branch is.
- Straight-through values are the hard ones bit for bit, infinities too. Arguments may follow `mode` by position.

Some arguments mean more, or less:

- `softness` may be an array; connectives and `choose` broadcast; `take` takes an index of any shape.
- `ot_kwargs` is not used: transport is solved until its marginals hold.
- `epsilon` shifts the tie of `greater` and its like; `equal`, `not_equal`, `isclose` and `all` are exact without it.
- A quantile outside of its range is an error where it can be seen (softjax clips it).
- The private modes "_c1_pnorm" and "_c2_pnorm" do not exist.

Examples:
    >>> import jax.numpy as jnp, softtypes.compat.softjax as sj
    >>> sj.argmax(jnp.array([1.0, 2.0, 3.0])).round(4)
    Array([0.004, 0.061, 0.935], dtype=float32)
    >>> sj.sort_st(jnp.array([3.0, 1.0, 2.0]), descending=True)
    Array([3., 2., 1.], dtype=float32)
"""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, getdoc
from typing import Any

import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

import softtypes as sft
from softtypes._lift import as_float
from softtypes._relaxation import CHOICES, check_choice
from softtypes.surrogates.algorithms import ALGORITHMS

SoftBool = Float[Array, "..."]
SoftIndex = Float[Array, "..."]

st, grad_replace = sft.st, sft.grad_replace

sqrt, log, arcsin, arccos, div, norm = sft.sqrt, sft.log, sft.arcsin, sft.arccos, sft.div, sft.norm


# How a function of softjax is made of one of ours

NEEDED = Parameter.empty
BLANK = "\n\n"
TIE = 1e-10  # the shift at a tie: ours, and softjax's default


def _peer(ours: Callable, weights: bool = False, /, **parameters) -> Callable[..., Any]:
    """`ours` under softjax's parameters, `name=default` in their order, on plain arrays.

    Parameters without a default go to `ours` by position, the others by name. `weights`: whether it needs a method
    that has weights over the entries, which an index is made of.
    """
    signature = Signature([Parameter(p, Parameter.POSITIONAL_OR_KEYWORD, default=d) for p, d in parameters.items()])
    needed = [name for name, default in parameters.items() if default is NEEDED]

    def peer(*args, **kwargs):
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{ours.__name__}: {error}; it takes {signature}") from None
        bound.apply_defaults()
        options = dict(bound.arguments)
        x, *rest = (OPERANDS.get(name, lambda x: x)(options.pop(name)) for name in needed)
        read = _reading(options)
        hard = "mode" in options and _settle(options, weights)
        out = ours(sft.soft(x) if hard else x, *rest, **options)
        return tuple(_plain(part, hard, read) for part in out) if isinstance(out, tuple) else _plain(out, hard, read)

    peer.__name__ = peer.__qualname__ = ours.__name__
    peer.__doc__ = f"As softjax's `{ours.__name__}`. {(getdoc(ours) or '').partition(BLANK)[0]}"
    vars(peer)["__signature__"] = signature  # what `inspect` shows
    return peer


def _truth(probs, geometric: bool = False) -> sft.SoftBool:
    return sft.SoftBool(as_float(jnp.asarray(probs)), logic="geometric" if geometric else "product")


def _index(probs) -> sft.SoftIndex:
    return sft.SoftIndex(as_float(jnp.asarray(probs)))


OPERANDS = {"condition": _truth, "soft_index": _index, "soft_start_index": _index}


def _reading(options: dict) -> Callable[[sft.SoftIndex], Array]:
    """How an index is read: as probabilities or, if the options say so, as their logarithms."""
    logs, floor = options.pop("return_log_probs", False), options.pop("log_prob_eps", None)
    if floor is None:
        return sft.SoftIndex.log_probs if logs else sft.SoftIndex.soft
    if not logs:
        raise ValueError("log_prob_eps is the floor of log-probabilities: it goes with return_log_probs=True")
    if jnp.ndim(floor) or not _within(floor, 1):
        raise ValueError(f"log_prob_eps must be in (0, 1], and one number; got {floor}")
    return lambda index: index.log_probs(floor)


def _settle(options: dict, weights: bool) -> bool:
    """Check the options and turn them into our knobs. Whether the exact function is asked for."""
    mode = options["mode"] = "hard" if options["mode"] == "_hard" else options["mode"]  # softjax's tests say "_hard"
    check_choice("mode", mode, CHOICES["mode"])
    hard = mode == "hard"
    if not hard and not _within(options["softness"], np.inf):
        raise ValueError(f"softness must be positive; got {options['softness']}; for the hard limit take mode='hard'")
    if "method" in options:
        able = [n for n, a in ALGORITHMS.items() if hard or (mode in a.modes and a.has_weights >= weights)]
        check_choice(f"method in mode {mode!r}", options["method"], tuple(able))
        options["algorithm"] = None if hard else options["method"]
        del options["method"], options["ot_kwargs"]
    if "quantile_method" in options:
        options["method"] = options.pop("quantile_method")
    return hard


def _within(x, top: float) -> bool:
    """Whether `0 < x <= top`, as far as can be seen; what is no number our functions refuse."""
    if isinstance(x, jax.core.Tracer) or not np.issubdtype(np.asarray(x).dtype, np.number):
        return True
    return bool(np.all((np.asarray(x) > 0) & (np.asarray(x) <= top)))


def _plain(part, hard: bool, read: Callable) -> Array | None:
    """A part of a result as a plain array."""
    if isinstance(part, sft.SoftArray):
        return part.hard() if hard else part.soft()  # hard: integers stay integers
    if isinstance(part, sft.SoftBool):
        return part.soft()
    return read(part) if isinstance(part, sft.SoftIndex) else part


def _tied(ours: Callable, side: int) -> Callable:
    """A comparison whose tie `epsilon` moves to the right of y (side 1), to its left (-1), or not at all (0)."""

    @wraps(ours)
    def comparison(x, y, *, epsilon, **knobs):
        stays = side == 0 or knobs["mode"] == "hard" or (isinstance(epsilon, float) and epsilon == TIE)
        return ours(x, y if stays else jnp.asarray(y) + side * (epsilon - TIE), **knobs)

    return comparison


def _connective(ours: Callable) -> Callable:
    """A connective of probabilities."""

    @wraps(ours)
    def connective(*probs, use_geometric_mean=False, epsilon=None, **axis):
        return ours(*(_truth(p, use_geometric_mean) for p in probs), **axis)

    return connective


def _few(ours: Callable) -> Callable:
    """A quantile at one place or at a row of them."""

    @wraps(ours)
    def quantile(x, q, **options):
        if jnp.ndim(q) > 1:
            raise ValueError(f"{ours.__name__}: q must be scalar or 1-D; got shape {jnp.shape(q)}")
        return ours(x, q, **options)

    return quantile


@wraps(sft.top_k)
def _top_k(x, k, *, axis, **knobs):
    if k <= 0:
        raise ValueError(f"top_k: k must be positive; got {k}")
    values, index = sft.top_k(x.ravel() if axis is None else x, k, -1 if axis is None else axis, **knobs)
    return values, None if knobs["algorithm"] == "sorting_network" else index


@wraps(sft.take_along_axis)
def _take_along_axis(x, soft_index, axis):
    return sft.take_along_axis(jnp.ravel(x) if axis is None else x, soft_index, 0 if axis is None else axis)


@wraps(sft.dynamic_slice_in_dim)
def _dynamic_slice_in_dim(x, start, size, axis):
    if size <= 0:
        raise ValueError(f"dynamic_slice_in_dim: slice_size must be positive; got {size}")
    return sft.dynamic_slice_in_dim(x, start, size, axis)


@wraps(sft.dynamic_slice)
def _dynamic_slice(x, starts, sizes):
    if not len(starts) == len(sizes) == jnp.ndim(x):
        got = f"{len(starts)}, {len(sizes)} and {jnp.ndim(x)}"
        raise ValueError(f"dynamic_slice: len(soft_start_indices), len(slice_sizes), x.ndim must be equal; got {got}")
    for axis, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        x = _dynamic_slice_in_dim(x, _index(start), size, axis)
    return x


# Elementwise functions, comparisons, logic, selection

SOFT: dict[str, Any] = {"softness": 0.1, "mode": "smooth"}
X: dict[str, Any] = {"x": NEEDED}
XY: dict[str, Any] = {"x": NEEDED, "y": NEEDED}

sigmoidal = _peer(sft.sigmoidal, **X, **SOFT)
softrelu = _peer(sft.softrelu, **X, **SOFT, gated=False)
heaviside = _peer(sft.heaviside, **X, **SOFT)
round = _peer(sft.round, **X, **SOFT, neighbor_radius=5)
sign = _peer(sft.sign, **X, **SOFT)
abs = _peer(sft.abs, **X, **SOFT)
relu = _peer(sft.relu, **X, **SOFT, gated=False)
clip = _peer(sft.clip, **X, a=NEEDED, b=NEEDED, **SOFT, gated=False)

greater = _peer(_tied(sft.greater, 1), **XY, **SOFT, epsilon=TIE)
greater_equal = _peer(_tied(sft.greater_equal, -1), **XY, **SOFT, epsilon=TIE)
less = _peer(_tied(sft.less, -1), **XY, **SOFT, epsilon=TIE)
less_equal = _peer(_tied(sft.less_equal, 1), **XY, **SOFT, epsilon=TIE)
equal = _peer(_tied(sft.equal, 0), **XY, **SOFT, epsilon=TIE)
not_equal = _peer(_tied(sft.not_equal, 0), **XY, **SOFT, epsilon=TIE)
isclose = _peer(_tied(sft.isclose, 0), **XY, softness=0.1, rtol=1e-5, atol=1e-8, mode="smooth", epsilon=TIE)

logical_not = _peer(_connective(sft.logical_not), **X)
logical_and = _peer(_connective(sft.logical_and), **XY, use_geometric_mean=False)
logical_or = _peer(_connective(sft.logical_or), **XY, use_geometric_mean=False)
logical_xor = _peer(_connective(sft.logical_xor), **XY, use_geometric_mean=False)
all = _peer(_connective(sft.all), **X, axis=-1, epsilon=TIE, use_geometric_mean=False)
any = _peer(_connective(sft.any), **X, axis=-1, use_geometric_mean=False)

where = _peer(sft.where, condition=NEEDED, **XY)
take_along_axis = _peer(_take_along_axis, **X, soft_index=NEEDED, axis=-1)
take = _peer(sft.take, **X, soft_index=NEEDED, axis=None)
choose = _peer(sft.choose, soft_index=NEEDED, choices=NEEDED)
dynamic_index_in_dim = _peer(sft.dynamic_index_in_dim, **X, soft_index=NEEDED, axis=0, keepdims=True)
dynamic_slice_in_dim = _peer(_dynamic_slice_in_dim, **X, soft_start_index=NEEDED, slice_size=NEEDED, axis=0)
dynamic_slice = _peer(_dynamic_slice, **X, soft_start_indices=NEEDED, slice_sizes=NEEDED)

# Ordering

ONE: dict[str, Any] = {"axis": None, "keepdims": False, **SOFT}
ROW: dict[str, Any] = {"axis": None, "descending": False, **SOFT}
LAST: dict[str, Any] = {"standardize": True, "ot_kwargs": None}
VALUE: dict[str, Any] = {**LAST, "gated_grad": True}
LOGS: dict[str, Any] = {"return_log_probs": False, "log_prob_eps": None}
INDEX: dict[str, Any] = {**LAST, **LOGS}
NTH: dict[str, Any] = {"method": "neuralsort", "quantile_method": "linear"}

argmax = _peer(sft.argmax, True, **X, **ONE, method="softsort", **INDEX)
max = _peer(sft.max, **X, **ONE, method="softsort", **VALUE)
argmin = _peer(sft.argmin, True, **X, **ONE, method="softsort", **INDEX)
min = _peer(sft.min, **X, **ONE, method="softsort", **VALUE)
argsort = _peer(sft.argsort, True, **X, **ROW, method="neuralsort", **INDEX)
sort = _peer(sft.sort, **X, **ROW, method="neuralsort", **VALUE)
argquantile = _peer(_few(sft.argquantile), True, **X, q=NEEDED, **ONE, **NTH, **INDEX)
quantile = _peer(_few(sft.quantile), **X, q=NEEDED, **ONE, **NTH, **VALUE)
argmedian = _peer(sft.argmedian, True, **X, **ONE, method="neuralsort", **INDEX)
median = _peer(sft.median, **X, **ONE, method="neuralsort", **VALUE)
argpercentile = _peer(_few(sft.argpercentile), True, **X, p=NEEDED, **ONE, **NTH, **INDEX)
percentile = _peer(_few(sft.percentile), **X, p=NEEDED, **ONE, **NTH, **VALUE)
top_k = _peer(_top_k, **X, k=NEEDED, axis=-1, **SOFT, method="neuralsort", **VALUE, **LOGS)
rank = _peer(sft.rank, **X, axis=None, **SOFT, method="neuralsort", descending=True, **LAST)

# Straight-through: the hard value with the derivative in the mode asked for


def _st(fn: Callable[..., Any]) -> Callable[..., Any]:
    out = st(fn)
    out.__name__ = out.__qualname__ = f"{fn.__name__}_st"
    out.__doc__ = f"The value of `{fn.__name__}` in mode 'hard', with the derivative of the mode asked for."
    return out


abs_st, clip_st, heaviside_st, relu_st, round_st, sign_st = map(_st, (abs, clip, heaviside, relu, round, sign))
greater_st, greater_equal_st, less_st, less_equal_st = map(_st, (greater, greater_equal, less, less_equal))
equal_st, not_equal_st, isclose_st = map(_st, (equal, not_equal, isclose))
argmax_st, max_st, argmin_st, min_st = map(_st, (argmax, max, argmin, min))
argsort_st, sort_st, rank_st, top_k_st = map(_st, (argsort, sort, rank, top_k))
argquantile_st, quantile_st, argmedian_st, median_st = map(_st, (argquantile, quantile, argmedian, median))
argpercentile_st, percentile_st = map(_st, (argpercentile, percentile))
