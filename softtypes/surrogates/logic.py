"""Families of t-norms: the connectives of many-valued logic on probabilities in [0, 1].

Sources: Hajek (1998), *Metamathematics of Fuzzy Logic*, for the product, Goedel and Lukasiewicz t-norms. The
geometric mean is no t-norm (it is idempotent but not associative); it keeps gradients of long conjunctions alive.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import Array

Axes: TypeAlias = Sequence[int]
Count: TypeAlias = Array | int


class Family(NamedTuple):
    """Conjunction of two, of the entries along some axes (`count` of them count), and its logarithm.

    The disjunctions are the De Morgan duals. An entry that does not count has been set to 1.
    """

    conjunction: Callable[[Array, Array], Array]
    conjunction_over: Callable[[Array, Axes, Count], Array]
    log_conjunction_over: Callable[[Array, Axes, Count], Array]


def safe_log(p: Array) -> Array:
    """`log p`, minus infinity at 0 with gradient 0."""
    positive = p > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, p, 1)), -jnp.inf)


def _log_of(conjunction_over):
    return lambda p, axes, count: safe_log(conjunction_over(p, axes, count))


def _minimum_over(p: Array, axes: Axes, count: Count) -> Array:
    return p.min(axes, initial=1)


def _bounded_sum_over(p: Array, axes: Axes, count: Count) -> Array:
    return jnp.maximum(1 - (1 - p).sum(axes), 0)


def _geometric_mean(a: Array, b: Array) -> Array:
    both = (a > 0) & (b > 0)  # the root has no finite slope at 0
    return jnp.where(both, jnp.sqrt(jnp.where(both, a, 1)) * jnp.sqrt(jnp.where(both, b, 1)), 0)


def _log_geometric_mean_over(p: Array, axes: Axes, count: Count) -> Array:
    return safe_log(p).sum(axes) / jnp.maximum(count, 1)


def _geometric_mean_over(p: Array, axes: Axes, count: Count) -> Array:
    positive = (p > 0).all(axes, keepdims=True)
    mean = _log_geometric_mean_over(jnp.where(positive, p, 1), axes, count)
    return jnp.where(positive.squeeze(axes), jnp.exp(mean), 0)


FAMILIES = {
    "product": Family(
        jnp.multiply,
        lambda p, axes, count: p.prod(axes),
        lambda p, axes, count: safe_log(p).sum(axes),
    ),
    "godel": Family(jnp.minimum, _minimum_over, _log_of(_minimum_over)),
    "lukasiewicz": Family(lambda a, b: jnp.maximum(a + b - 1, 0), _bounded_sum_over, _log_of(_bounded_sum_over)),
    "geometric": Family(_geometric_mean, _geometric_mean_over, _log_geometric_mean_over),
}


def log_disjunction_over(family: Family, p: Array, axes: Axes, count: Count) -> Array:
    """`log(1 - exp(log_all(1 - p)))`, with the digits of a small probability kept."""
    return log_complement(family.log_conjunction_over(1 - p, axes, count))


def log_complement(log_p: Array) -> Array:
    """`log(1 - exp(log_p))` for `log_p <= 0`, by whichever of expm1 and log1p keeps its digits."""
    near_one = log_p > -0.6931471805599453
    far = jnp.log1p(-jnp.exp(jnp.where(near_one, -1, log_p)))
    gap = -jnp.expm1(jnp.where(near_one, log_p, -1))
    return jnp.where(near_one, safe_log(gap), far)
