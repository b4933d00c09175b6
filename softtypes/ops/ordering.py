"""Ordering: extremes, sorting, ranks, quantiles, and their indices.

Softness is in units of the standardised data (each row mapped to (0, 1) by the sigmoid of its z-scores), or of x with
`standardize=False`.
"""

from typing import Any, TypeAlias, Unpack

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from softtypes._lift import as_float
from softtypes._relaxation import Knobs
from softtypes._typecheck import typechecked
from softtypes.ops._shared import Operand
from softtypes.ops.selection import take_along_axis
from softtypes.types.base import SoftValue, real_array
from softtypes.types.soft_array import SoftArray
from softtypes.types.soft_index import SoftIndex

Axis: TypeAlias = int | tuple[int, ...] | None


def _soft_array(name: str, x: Operand) -> SoftArray:
    """A SoftArray as it is; a plain array as one without a relaxation of its own."""
    if isinstance(x, SoftArray):
        return x
    if isinstance(x, SoftValue):
        raise TypeError(f"{name}: x must be an array or a SoftArray; got a {type(x).__name__}")
    x = real_array(name, "x", x)
    return SoftArray._rebuild(as_float(x), x, None)


@typechecked
def argmax(
    x: Operand, axis: int | None = None, keepdims: bool = False, *, where: Any = None, **relaxation: Unpack[Knobs]
) -> SoftIndex:
    """Relaxed index of the maximum: the projection of `z / softness` onto the simplex, z the standardised row.

    The softmax in mode "smooth", sparse projections in "c0", "c1" and "c2".

    Args:
        x: array or SoftArray.
        axis: the axis; None for the flattened array.
        keepdims: whether the axis stays, with size 1.
        where: bool array, broadcast to x: entries that count. The others have weight exactly 0.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        A SoftIndex of the reduced shape over the size of the axis.

    Raises:
        TypeError: if x is no real array or SoftArray, or a knob is unknown.
        ValueError: if the axis does not exist or is empty, or a knob has no such choice.

    Source: Prillo, Eisenschlos (2020), SoftSort.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.argmax(jnp.array([1.0, 2.0, 3.0])).probs.round(4)
        Array([0.004, 0.061, 0.935], dtype=float32)
    """
    return _soft_array("argmax", x).argmax(axis, keepdims, where=where, **relaxation)


@typechecked
def argmin(
    x: Operand, axis: int | None = None, keepdims: bool = False, *, where: Any = None, **relaxation: Unpack[Knobs]
) -> SoftIndex:
    """Relaxed index of the minimum: the projection of `-z / softness` onto the simplex, z the standardised row.

    Args:
        x: array or SoftArray.
        axis: the axis; None for the flattened array.
        keepdims: whether the axis stays, with size 1.
        where: bool array, broadcast to x: entries that count. The others have weight exactly 0.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        A SoftIndex of the reduced shape over the size of the axis.

    Raises:
        TypeError: if x is no real array or SoftArray, or a knob is unknown.
        ValueError: if the axis does not exist or is empty, or a knob has no such choice.

    Source: Prillo, Eisenschlos (2020), SoftSort.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.argmin(jnp.array([3.0, 1.0, 2.0])).hard()
        Array(1, dtype=int32)
    """
    return _soft_array("argmin", x).argmin(axis, keepdims, where=where, **relaxation)


def _as_given(x: Operand, out: SoftArray) -> Array | SoftArray:
    """Soft for a soft operand, else the plain relaxed array."""
    return out if isinstance(x, SoftArray) else out.soft()


@typechecked
def max(
    x: Operand,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    initial: Any = None,
    where: Any = None,
    **relaxation: Unpack[Knobs],
) -> Array | SoftArray:
    """Relaxed maximum: the expected entry under the weights of `argmax`, `sum_i P_i x_i`.

    Args:
        x: array or SoftArray.
        axis: an axis, a tuple of axes, or None for all.
        keepdims: whether reduced axes stay, with size 1.
        initial: a number that takes part as one more entry of every row; with it, an axis may be empty.
        where: bool array, broadcast to x: entries that count. The others have weight exactly 0.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        The relaxed maximum in the reduced shape, NaN where nothing counts; a SoftArray for a SoftArray.

    Raises:
        TypeError: if x is no real array or SoftArray, or a knob is unknown.
        ValueError: if an axis does not exist or is empty, or a knob has no such choice.

    Source: Prillo, Eisenschlos (2020), SoftSort.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.max(jnp.array([1.0, 2.0, 3.0])).round(4)
        Array(2.931, dtype=float32)
    """
    return _as_given(x, _soft_array("max", x).max(axis, keepdims, initial=initial, where=where, **relaxation))


@typechecked
def min(
    x: Operand,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    initial: Any = None,
    where: Any = None,
    **relaxation: Unpack[Knobs],
) -> Array | SoftArray:
    """Relaxed minimum: the expected entry under the weights of `argmin`, `sum_i P_i x_i`.

    Args:
        x: array or SoftArray.
        axis: an axis, a tuple of axes, or None for all.
        keepdims: whether reduced axes stay, with size 1.
        initial: a number that takes part as one more entry of every row; with it, an axis may be empty.
        where: bool array, broadcast to x: entries that count. The others have weight exactly 0.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        The relaxed minimum in the reduced shape, NaN where nothing counts; a SoftArray for a SoftArray.

    Raises:
        TypeError: if x is no real array or SoftArray, or a knob is unknown.
        ValueError: if an axis does not exist or is empty, or a knob has no such choice.

    Source: Prillo, Eisenschlos (2020), SoftSort.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.min(jnp.array([1.0, 2.0, 3.0])).round(4)
        Array(1.069, dtype=float32)
    """
    return _as_given(x, _soft_array("min", x).min(axis, keepdims, initial=initial, where=where, **relaxation))


@typechecked
def sort(
    a: Operand, axis: int | None = -1, *, descending: bool = False, where: Any = None, **relaxation: Unpack[Knobs]
) -> Array | SoftArray:
    """Relaxed sort along an axis: expected entries under the weights of `argsort`, `P a`.

    Args:
        a: array or SoftArray.
        axis: the axis; None for the flattened array.
        descending: whether the largest comes first.
        where: bool array, broadcast to a: entries that count. Masked ones come last, in their order.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        The relaxed sorted array, in the shape of a; a SoftArray for a SoftArray.

    Raises:
        TypeError: if a is no real array or SoftArray, or a knob is unknown.
        ValueError: if the axis does not exist, a knob has no such choice, or the algorithm cannot do this.

    Source: by default Grover, Wang, Zweig, Ermon (2019), NeuralSort; `algorithm=` chooses another.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.sort(jnp.array([3.0, 1.0, 2.0]), softness=0.01).round()
        Array([1., 2., 3.], dtype=float32)
    """
    return _as_given(a, _soft_array("sort", a).sort(axis, descending=descending, where=where, **relaxation))


@typechecked
def argsort(
    a: Operand, axis: int | None = -1, *, descending: bool = False, where: Any = None, **relaxation: Unpack[Knobs]
) -> SoftIndex:
    """Relaxed indices that sort along an axis: row k holds the weights of the k-th entry in the order.

    Args:
        a: array or SoftArray.
        axis: the axis; None for the flattened array.
        descending: whether the largest comes first.
        where: bool array, broadcast to a: entries that count. Masked ones come last, in their order.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        A SoftIndex in the shape of a, over the size of the axis.

    Raises:
        TypeError: if a is no real array or SoftArray, or a knob is unknown.
        ValueError: if the axis does not exist, a knob has no such choice, or the algorithm cannot do this.

    Source: by default Grover, Wang, Zweig, Ermon (2019), NeuralSort; `algorithm=` chooses another.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.argsort(jnp.array([3.0, 1.0, 2.0])).hard()
        Array([1, 2, 0], dtype=int32)
    """
    return _soft_array("argsort", a).argsort(axis, descending=descending, where=where, **relaxation)


@typechecked
def sort_by(
    keys: Operand,
    values: Any,
    axis: int = -1,
    *,
    descending: bool = False,
    where: Any = None,
    **relaxation: Unpack[Knobs],
) -> tuple[Array | SoftArray, Any]:
    """Sort keys and carry values along: `P keys`, and `P v` for every leaf v, with P the weights of `argsort(keys)`.

    Args:
        keys: array or SoftArray.
        values: a pytree of arrays or SoftArrays in the shape of the keys.
        axis: the axis.
        descending: whether the largest key comes first.
        where: bool array, broadcast to keys: entries that count. Masked ones come last, in their order.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        The sorted keys, and the values in their order; soft where the keys or the value are.

    Raises:
        TypeError: if the keys are no real array or SoftArray, or a knob is unknown.
        ValueError: if a value has another shape, or the algorithm has no weights.

    Source: by default Grover, Wang, Zweig, Ermon (2019), NeuralSort; `algorithm=` chooses another.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> keys, values = jnp.array([3.0, 1.0, 2.0]), {"name": jnp.array([30.0, 10.0, 20.0])}
        >>> sft.sort_by(keys, values, softness=0.01)[1]["name"].round()
        Array([10., 20., 30.], dtype=float32)
    """
    index = _soft_array("sort_by", keys).argsort(axis, descending=descending, where=where, **relaxation)

    def carried(value: Operand) -> Array | SoftArray:
        if jnp.shape(value.soft() if isinstance(value, SoftValue) else value) != index.shape:
            raise ValueError(f"sort_by: a value must have the shape of the keys, {index.shape}; got {value!r}")
        out: Any = take_along_axis(value, index, axis)
        return out if isinstance(keys, SoftValue) or isinstance(value, SoftValue) else out.soft()

    soft_leaf = lambda leaf: isinstance(leaf, SoftValue)
    return carried(keys), jax.tree.map(carried, values, is_leaf=soft_leaf)


@typechecked
def top_k(
    operand: Operand, k: int, axis: int = -1, *, where: Any = None, **relaxation: Unpack[Knobs]
) -> tuple[Array | SoftArray, SoftIndex | None]:
    """The k largest entries along an axis, largest first, and their indices, as `jax.lax.top_k`.

    Args:
        operand: array or SoftArray.
        k: how many.
        axis: the axis.
        where: bool array, broadcast to operand: entries that count. Masked ones come last, in their order.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        The relaxed values, with size k on the axis, and their SoftIndex; None in its place for an algorithm that
        has no weights over the entries.

    Raises:
        TypeError: if operand is no real array or SoftArray, or a knob is unknown.
        ValueError: if k is out of range, the axis does not exist, or a knob has no such choice.

    Source: by default Grover, Wang, Zweig, Ermon (2019), NeuralSort; `algorithm=` chooses another.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> values, index = sft.top_k(jnp.array([3.0, 1.0, 2.0]), 2, softness=0.01)
        >>> values.round(), index.hard()
        (Array([3., 2.], dtype=float32), Array([0, 2], dtype=int32))
    """
    values, index = _soft_array("top_k", operand).top_k(k, axis, where=where, **relaxation)
    return _as_given(operand, values), index


@typechecked
def rank(
    a: Operand, axis: int | None = None, *, descending: bool = False, where: Any = None, **relaxation: Unpack[Knobs]
) -> Array | SoftArray:
    """Relaxed ranks from 1, tied entries sharing theirs, as `jax.scipy.stats.rankdata`.

    Args:
        a: array or SoftArray.
        axis: the axis; None for the flattened array.
        descending: whether the largest comes first.
        where: bool array, broadcast to a: entries that count. Masked ones have rank 0.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        Ranks in the shape of a (flattened for axis None); a SoftArray for a SoftArray.

    Raises:
        TypeError: if a is no real array or SoftArray, or a knob is unknown.
        ValueError: if the axis does not exist, a knob has no such choice, or the algorithm cannot do this.

    Source: by default Grover, Wang, Zweig, Ermon (2019), NeuralSort; `algorithm=` chooses another.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.rank(jnp.array([3.0, 1.0, 2.0]), softness=0.01).round()
        Array([3., 1., 2.], dtype=float32)
    """
    return _as_given(a, _soft_array("rank", a).rank(axis, descending=descending, where=where, **relaxation))


@typechecked
def quantile(
    a: Operand,
    q: ArrayLike,
    axis: Axis = None,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
    where: Any = None,
    **relaxation: Unpack[Knobs],
) -> Array | SoftArray:
    """Relaxed q-th quantile: an order statistic, or a weighted mean of the two that it lies between.

    Args:
        a: array or SoftArray.
        q: probabilities in [0, 1], a number or an array.
        axis: an axis, a tuple of axes, or None for all.
        method: "linear", "lower", "higher", "nearest", "midpoint" or "inverted_cdf", as in `jnp.quantile`.
        keepdims: whether reduced axes stay, with size 1.
        weights: weights of the entries, broadcast to a; with method="inverted_cdf", as in `jnp.quantile`.
        where: bool array, broadcast to a: entries that count. The others have weight exactly 0.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        The relaxed quantiles in shape `q.shape` and the reduced shape; a SoftArray for a SoftArray.

    Raises:
        TypeError: if a is no real array or SoftArray, or a knob is unknown.
        ValueError: if the axis does not exist, a knob has no such choice, or the algorithm cannot do this.

    Source: by default Grover, Wang, Zweig, Ermon (2019), NeuralSort; `algorithm=` chooses another.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.quantile(jnp.array([3.0, 1.0, 2.0]), 0.5, softness=0.01).round()
        Array(2., dtype=float32)
    """
    out = _soft_array("quantile", a).quantile(q, axis, method, keepdims, weights=weights, where=where, **relaxation)
    return _as_given(a, out)


@typechecked
def percentile(
    a: Operand,
    q: ArrayLike,
    axis: Axis = None,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
    where: Any = None,
    **relaxation: Unpack[Knobs],
) -> Array | SoftArray:
    """Relaxed q-th percentile, `quantile(q / 100)`: an order statistic, or a weighted mean of the two around it.

    Args:
        a: array or SoftArray.
        q: percentages in [0, 100], a number or an array.
        axis: an axis, a tuple of axes, or None for all.
        method: "linear", "lower", "higher", "nearest", "midpoint" or "inverted_cdf", as in `jnp.quantile`.
        keepdims: whether reduced axes stay, with size 1.
        weights: weights of the entries, broadcast to a; with method="inverted_cdf", as in `jnp.quantile`.
        where: bool array, broadcast to a: entries that count. The others have weight exactly 0.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        The relaxed quantiles in shape `q.shape` and the reduced shape; a SoftArray for a SoftArray.

    Raises:
        TypeError: if a is no real array or SoftArray, or a knob is unknown.
        ValueError: if the axis does not exist, a knob has no such choice, or the algorithm cannot do this.

    Source: by default Grover, Wang, Zweig, Ermon (2019), NeuralSort; `algorithm=` chooses another.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.percentile(jnp.array([3.0, 1.0, 2.0]), 50.0, softness=0.01).round()
        Array(2., dtype=float32)
    """
    out = _soft_array("percentile", a).percentile(q, axis, method, keepdims, weights=weights, where=where, **relaxation)
    return _as_given(a, out)


@typechecked
def median(
    a: Operand, axis: Axis = None, keepdims: bool = False, *, where: Any = None, **relaxation: Unpack[Knobs]
) -> Array | SoftArray:
    """Relaxed median, `quantile(0.5)`.

    Args:
        a: array or SoftArray.
        axis: an axis, a tuple of axes, or None for all.
        keepdims: whether reduced axes stay, with size 1.
        where: bool array, broadcast to a: entries that count. The others have weight exactly 0.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        The relaxed median in the reduced shape; a SoftArray for a SoftArray.

    Raises:
        TypeError: if a is no real array or SoftArray, or a knob is unknown.
        ValueError: if the axis does not exist, a knob has no such choice, or the algorithm cannot do this.

    Source: by default Grover, Wang, Zweig, Ermon (2019), NeuralSort; `algorithm=` chooses another.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.median(jnp.array([3.0, 1.0, 2.0]), softness=0.01).round()
        Array(2., dtype=float32)
    """
    return _as_given(a, _soft_array("median", a).median(axis, keepdims, where=where, **relaxation))


@typechecked
def argquantile(
    a: Operand,
    q: ArrayLike,
    axis: Axis = None,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
    where: Any = None,
    **relaxation: Unpack[Knobs],
) -> SoftIndex:
    """Relaxed index of the q-th quantile: the weights of an order statistic, or a mix of two.

    Args:
        a: array or SoftArray.
        q: probabilities in [0, 1], a number or an array.
        axis: an axis, a tuple of axes, or None for all.
        method: "linear", "lower", "higher", "nearest", "midpoint" or "inverted_cdf", as in `jnp.quantile`.
        keepdims: whether reduced axes stay, with size 1.
        weights: weights of the entries, broadcast to a; with method="inverted_cdf", as in `jnp.quantile`.
        where: bool array, broadcast to a: entries that count. The others have weight exactly 0.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        A SoftIndex of shape `q.shape` and the reduced shape; its hard view is the nearer order statistic.

    Raises:
        TypeError: if a is no real array or SoftArray, or a knob is unknown.
        ValueError: if the axis does not exist, a knob has no such choice, or the algorithm cannot do this.

    Source: by default Grover, Wang, Zweig, Ermon (2019), NeuralSort; `algorithm=` chooses another.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.argquantile(jnp.array([3.0, 1.0, 2.0]), 0.5).hard()
        Array(2, dtype=int32)
    """
    out = _soft_array("argquantile", a).argquantile(
        q, axis, method, keepdims, weights=weights, where=where, **relaxation
    )
    return out


@typechecked
def argpercentile(
    a: Operand,
    q: ArrayLike,
    axis: Axis = None,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: Any = None,
    where: Any = None,
    **relaxation: Unpack[Knobs],
) -> SoftIndex:
    """Relaxed index of the q-th percentile, `argquantile(q / 100)`: the weights of an order statistic, or a mix of two.

    Args:
        a: array or SoftArray.
        q: percentages in [0, 100], a number or an array.
        axis: an axis, a tuple of axes, or None for all.
        method: "linear", "lower", "higher", "nearest", "midpoint" or "inverted_cdf", as in `jnp.quantile`.
        keepdims: whether reduced axes stay, with size 1.
        weights: weights of the entries, broadcast to a; with method="inverted_cdf", as in `jnp.quantile`.
        where: bool array, broadcast to a: entries that count. The others have weight exactly 0.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        A SoftIndex of shape `q.shape` and the reduced shape; its hard view is the nearer order statistic.

    Raises:
        TypeError: if a is no real array or SoftArray, or a knob is unknown.
        ValueError: if the axis does not exist, a knob has no such choice, or the algorithm cannot do this.

    Source: by default Grover, Wang, Zweig, Ermon (2019), NeuralSort; `algorithm=` chooses another.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.argpercentile(jnp.array([3.0, 1.0, 2.0]), 50.0).hard()
        Array(2, dtype=int32)
    """
    out = _soft_array("argpercentile", a).argpercentile(
        q, axis, method, keepdims, weights=weights, where=where, **relaxation
    )
    return out


@typechecked
def argmedian(
    a: Operand, axis: Axis = None, keepdims: bool = False, *, where: Any = None, **relaxation: Unpack[Knobs]
) -> SoftIndex:
    """Relaxed index of the median, `argquantile(0.5)`.

    Args:
        a: array or SoftArray.
        axis: an axis, a tuple of axes, or None for all.
        keepdims: whether reduced axes stay, with size 1.
        where: bool array, broadcast to a: entries that count. The others have weight exactly 0.
        **relaxation: knobs of `Relaxation`; softness in units of the standardised data.

    Returns:
        A SoftIndex of the reduced shape.

    Raises:
        TypeError: if a is no real array or SoftArray, or a knob is unknown.
        ValueError: if the axis does not exist, a knob has no such choice, or the algorithm cannot do this.

    Source: by default Grover, Wang, Zweig, Ermon (2019), NeuralSort; `algorithm=` chooses another.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.argmedian(jnp.array([3.0, 1.0, 2.0])).hard()
        Array(2, dtype=int32)
    """
    return _soft_array("argmedian", a).argmedian(axis, keepdims, where=where, **relaxation)
