"""Expected values in which a weight of exactly zero selects nothing, be it NaN or infinite."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax


def mix(p: Array, x: Array, y: Array) -> Array:
    """`p x + (1 - p) y`; where p is exactly 0 or 1 a branch that is not finite cannot leak into the other."""
    unsafe = ~(jnp.isfinite(x) & jnp.isfinite(y))
    only_x, only_y = unsafe & (p == 1), unsafe & (p == 0)
    select = only_x | only_y
    x_in, y_in = jnp.where(select, 0, x), jnp.where(select, 0, y)
    return jnp.where(only_x, x, jnp.where(only_y, y, p * x_in + (1 - p) * y_in))


@partial(jax.jit, static_argnums=0)
def contract(subscripts: str, *weights_and_values: Array) -> Array:
    """`einsum(subscripts, *weights, values)` of nonnegative weights, to the precision of the dtype.

    Values that are not finite reach only the results in which their joint weight is not 0.
    """
    *weights, values = weights_and_values
    finite = jnp.isfinite(values)
    expected = _einsum(subscripts, *weights, jnp.where(finite, values, 0))
    poison = lax.cond(
        finite.all(),
        lambda w, v: jnp.zeros_like(expected),
        lambda w, v: _poison(subscripts, w, v),
        *lax.stop_gradient((weights, values)),
    )
    return expected + lax.stop_gradient(poison)


def _einsum(subscripts: str, *operands: Array) -> Array:
    return jnp.einsum(subscripts, *operands, precision=lax.Precision.HIGHEST)


def _poison(subscripts: str, weights: list[Array], values: Array) -> Array:
    """The sum of the infinities and NaNs that have weight, and 0 where there are none."""
    touched = [(w != 0).astype(values.dtype) for w in weights]
    up = _einsum(subscripts, *touched, ((values == jnp.inf) | jnp.isnan(values)).astype(values.dtype))
    down = _einsum(subscripts, *touched, ((values == -jnp.inf) | jnp.isnan(values)).astype(values.dtype))
    return (jnp.where(up > 0, jnp.inf, 0) + jnp.where(down > 0, -jnp.inf, 0)).astype(values.dtype)


def dot(weights: Array, values: Array) -> Array:
    """`sum_i weights_i values_i` along the last axis, by elementwise product; the same rule for weight 0."""
    values = jnp.where((weights == 0) & ~jnp.isfinite(values), 0, values)
    finite = jnp.isfinite(values)
    expected = (weights * jnp.where(finite, values, 0)).sum(-1)
    return expected + lax.stop_gradient(jnp.where(finite, 0, values).sum(-1))
