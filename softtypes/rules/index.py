"""Rules of distributions over indices: exact probabilities of comparisons, mean, entropy, mixture."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

from softtypes._lift import Views, wide_dtype
from softtypes.surrogates.contraction import mix
from softtypes.surrogates.logic import safe_log


def _probability(p: Array) -> Array:
    return jnp.clip(p, 0, 1)  # a sum of probabilities may round past 1


def _total(p: Array, other: Array, test: Callable[[Array, Array], Array]) -> Array:
    """`sum_i P_i [test(i, other)]` for integers of any sign; exactly 1 where no index fails.

    Not an entry of the cumulative sum: XLA compiles some gradients of `cumsum(p)[k]` wrongly (jax 0.8 to 0.12).
    """
    n = p.shape[-1]
    if n > jnp.iinfo(other.dtype).max:
        other = other.astype(int)
    batch = jnp.broadcast_shapes(p.shape[:-1], other.shape)
    p, other = jnp.broadcast_to(p, (*batch, n)), jnp.broadcast_to(other[..., None], (*batch, n))
    holds = test(lax.broadcasted_iota(other.dtype, other.shape, other.ndim - 1), other)
    return jnp.where(holds.all(-1), 1, _probability(jnp.where(holds, p, 0).sum(-1)))


def _paired(p: Array, q: Array) -> tuple[Array, Array]:
    """Two distributions over as many indices: the shorter is padded with zeros."""
    n = max(p.shape[-1], q.shape[-1])
    batch = jnp.broadcast_shapes(p.shape[:-1], q.shape[:-1])
    padded = (jnp.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, n - a.shape[-1])]) for a in (p, q))
    p, q = (jnp.broadcast_to(a, (*batch, n)) for a in padded)
    return p, q


def equal(p: Array, other: Array) -> Array:
    """`P_k`, or `sum_i P_i Q_i`."""
    if jnp.issubdtype(other.dtype, jnp.integer):
        return _total(p, other, jnp.equal)
    p, q = _paired(p, other)
    return _probability((p * q).sum(-1))


def not_equal(p: Array, other: Array) -> Array:
    return 1 - equal(p, other)


def less_equal(p: Array, other: Array) -> Array:
    """`sum_{i <= k} P_i`, or `sum_j Q_j sum_{i <= j} P_i`."""
    if jnp.issubdtype(other.dtype, jnp.integer):
        return _total(p, other, jnp.less_equal)
    p, q = _paired(p, other)
    return _probability((jnp.cumsum(p, -1) * q).sum(-1))


def less(p: Array, other: Array) -> Array:
    """`sum_{i < k} P_i`, or `sum_j Q_j sum_{i < j} P_i`."""
    if jnp.issubdtype(other.dtype, jnp.integer):
        return less_equal(p, other.astype(int) - 1)  # an unsigned 0 - 1 would wrap
    p, q = _paired(p, other)
    return _probability(((jnp.cumsum(p, -1) - p) * q).sum(-1))


def greater(p: Array, other: Array) -> Array:
    return 1 - less_equal(p, other)


def greater_equal(p: Array, other: Array) -> Array:
    return 1 - less(p, other)


def mean(p: Array) -> Array:
    """`sum_i i P_i`."""
    wide = wide_dtype(p.dtype)
    return jnp.dot(p.astype(wide), jnp.arange(p.shape[-1], dtype=wide), precision="highest").astype(p.dtype)


def entropy(p: Array) -> Array:
    """`-sum_i P_i log P_i`."""
    return -jnp.where(p > 0, p * jnp.where(p > 0, safe_log(p), 0), 0).sum(-1)


def mixture(condition: Views, x: Views, y: Views) -> Views:
    """The distribution of the index that the condition chooses."""
    batch = jnp.broadcast_shapes(condition.soft.shape, x.hard.shape, y.hard.shape)
    dtype = jnp.result_type(x.soft, y.soft)
    p = jnp.broadcast_to(condition.soft, batch).astype(dtype)[..., None]
    a, b = (jnp.broadcast_to(v.soft, (*batch, v.soft.shape[-1])).astype(dtype) for v in (x, y))
    return Views(mix(jnp.broadcast_to(p, a.shape), a, b), jnp.where(condition.hard, x.hard, y.hard))
