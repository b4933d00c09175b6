"""Families of t-norms: the connectives of many-valued logic on probabilities in [0, 1].

Sources: Hajek (1998), *Metamathematics of Fuzzy Logic*, for the product, Goedel and Lukasiewicz t-norms. The
geometric mean is no t-norm (it is idempotent but not associative); it keeps gradients of long conjunctions alive.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax

Axes: TypeAlias = Sequence[int]
Count: TypeAlias = Array | int


class Family(NamedTuple):
    """The connectives of two, of the entries along some axes (`count` of which count), and their logarithms.

    Disjunctions are the De Morgan duals, written out so that small probabilities keep their digits. An entry that
    does not count has been set to 1 for a conjunction, to 0 for a disjunction.
    """

    conjunction: Callable[[Array, Array], Array]
    disjunction: Callable[[Array, Array], Array]
    conjunction_over: Callable[[Array, Axes, Count], Array]
    disjunction_over: Callable[[Array, Axes, Count], Array]
    log_conjunction_over: Callable[[Array, Axes, Count], Array]
    log_disjunction_over: Callable[[Array, Axes, Count], Array]


def safe_log(p: Array) -> Array:
    """`log p`, minus infinity at 0 with gradient 0."""
    positive = p > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, p, 1)), -jnp.inf)


def log_not(p: Array) -> Array:
    """`log(1 - p)`, minus infinity at 1 with gradient 0."""
    uncertain = p < 1
    return jnp.where(uncertain, jnp.log1p(jnp.where(uncertain, -p, 0)), -jnp.inf)


def log_complement(log_p: Array) -> Array:
    """`log(1 - exp(log_p))` for `log_p <= 0`, by whichever of expm1 and log1p keeps its digits."""
    near_one = log_p > -0.6931471805599453
    far = jnp.log1p(-jnp.exp(jnp.where(near_one, -1, log_p)))
    gap = -jnp.expm1(jnp.where(near_one, log_p, -1))
    return jnp.where(near_one, safe_log(gap), far)


def _folded(
    pair: Callable[[Array, Array], Array], unit: float, split: Callable[[Array, int], Array]
) -> Callable[[Array, Axes, Count], Array]:
    """Fold an associative connective along axes, halves with halves: the gradient is exact at 0 and 1 alike.

    An axis that an explicit mesh splits over devices can't be cut in halves: `split` reduces it, by logarithms.
    """

    def along(p: Array, axis: int) -> Array:
        if p.shape[axis] == 0:
            return jnp.full_like(p.sum(axis), unit)
        if _is_split(p, axis):
            return split(p, axis)
        while (size := p.shape[axis]) > 1:
            low, high, rest = (
                _part(p, axis, *ends) for ends in ((0, size // 2), (size // 2, size // 2 * 2), (size - 1, size))
            )
            p = pair(low, high)
            p = jnp.concatenate([p, rest], axis) if size % 2 else p
        return p.squeeze(axis)

    def over(p: Array, axes: Axes, count: Count) -> Array:
        for axis in sorted(axes, reverse=True):
            p = along(p, axis)
        return p

    return over


def _is_split(p: Array, axis: int) -> bool:
    sharding = getattr(jax.typeof(p), "sharding", None)
    spec = getattr(sharding, "spec", None) or ()
    return axis < len(spec) and spec[axis] is not None


def _part(p: Array, axis: int, start: int, stop: int) -> Array:
    return lax.slice_in_dim(p, start, stop, axis=axis)


def _either(a: Array, b: Array) -> Array:
    return jnp.where(a < b, b + a * (1 - b), a + b * (1 - a))  # a + b - a b, exact where one is 1


def _minimum_over(p: Array, axes: Axes, count: Count) -> Array:
    return p.min(axes, initial=1)


def _maximum_over(p: Array, axes: Axes, count: Count) -> Array:
    return p.max(axes, initial=0)


def _bounded_conjunction_over(p: Array, axes: Axes, count: Count) -> Array:
    return jnp.maximum(1 - (1 - p).sum(axes), 0)


def _bounded_sum_over(p: Array, axes: Axes, count: Count) -> Array:
    return jnp.minimum(p.sum(axes), 1)


def _mean_over(logs: Array, axes: Axes, count: Count) -> Array:
    return logs.sum(axes) / jnp.maximum(count, 1)


def _log_mean_over(p: Array, axes: Axes, count: Count) -> Array:
    return _mean_over(safe_log(p), axes, count)


def _log_dual_mean_over(p: Array, axes: Axes, count: Count) -> Array:
    return log_complement(_mean_over(log_not(p), axes, count))


def _geometric_conjunction_over(p: Array, axes: Axes, count: Count) -> Array:
    open_ = (p > 0).all(axes, keepdims=True)  # the root has no finite slope at 0
    mean = _mean_over(jnp.log(jnp.where(open_, p, 1)), axes, count)
    return jnp.where(open_.squeeze(axes), jnp.exp(mean), 0)


def _geometric_disjunction_over(p: Array, axes: Axes, count: Count) -> Array:
    open_ = (p < 1).all(axes, keepdims=True)
    mean = _mean_over(jnp.log1p(-jnp.where(open_, p, 0)), axes, count)
    return jnp.where(open_.squeeze(axes), -jnp.expm1(mean), 1)


def _of_two(over: Callable[[Array, Axes, Count], Array]) -> Callable[[Array, Array], Array]:
    return lambda a, b: over(jnp.stack(jnp.broadcast_arrays(a, b)), (0,), 2)


def _log_of(over: Callable[[Array, Axes, Count], Array]) -> Callable[[Array, Axes, Count], Array]:
    return lambda p, axes, count: safe_log(over(p, axes, count))


FAMILIES = {
    "product": Family(
        jnp.multiply,
        _either,
        _folded(jnp.multiply, 1, lambda p, axis: jnp.exp(safe_log(p).sum(axis))),
        _folded(_either, 0, lambda p, axis: -jnp.expm1(log_not(p).sum(axis))),
        lambda p, axes, count: safe_log(p).sum(axes),
        lambda p, axes, count: log_complement(log_not(p).sum(axes)),
    ),
    "godel": Family(
        jnp.minimum,
        jnp.maximum,
        _minimum_over,
        _maximum_over,
        _log_of(_minimum_over),
        _log_of(_maximum_over),
    ),
    "lukasiewicz": Family(
        lambda a, b: jnp.maximum(a + b - 1, 0),
        lambda a, b: jnp.minimum(a + b, 1),
        _bounded_conjunction_over,
        _bounded_sum_over,
        _log_of(_bounded_conjunction_over),
        _log_of(_bounded_sum_over),
    ),
    "geometric": Family(
        _of_two(_geometric_conjunction_over),
        _of_two(_geometric_disjunction_over),
        _geometric_conjunction_over,
        _geometric_disjunction_over,
        _log_mean_over,
        _log_dual_mean_over,
    ),
}
