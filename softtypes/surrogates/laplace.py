"""Sums under the Laplace kernel over points in ascending order, in linear time.

    S_k = sum_j exp(-(distance of k and j)) v_j

The kernel is a product over the gaps between, so that two recurrences give all sums, one from each side:

    F_k = v_k + exp(-gap_k) F_(k-1).

No term grows, whatever the gaps.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax


def laplace_sums(gaps: Array, values: Array) -> Array:
    """The sums of each point.

    Args:
        gaps: `(..., n)`, each from the point before to this one, at least 0; the first is not used.
            Infinite ones part the points.
        values: `(..., n, c)`.

    Returns:
        `(..., n, c)`.
    """
    decays, values = jnp.exp(-jnp.moveaxis(gaps, -1, 0)[..., None]), jnp.moveaxis(values, -2, 0)
    nothing = jnp.zeros_like(decays[:1])  # leads to the first point, from either end
    decays = jnp.stack([jnp.concatenate([nothing, decays[1:]]), jnp.concatenate([nothing, decays[:0:-1]])], 1)
    terms = jnp.stack([values, values[::-1]], 1)
    sums = _recur(jnp.broadcast_to(decays, terms.shape), terms)
    return jnp.moveaxis(sums[:, 0] + sums[::-1, 1] - values, 0, -2)


def _recur(coefficients: Array, terms: Array) -> Array:
    """`y_k = terms_k + coefficients_k y_(k-1)` along the first axis."""
    one_by_one = jax.default_backend() == "cpu"
    return in_turn(coefficients, terms) if one_by_one else by_doubling(coefficients, terms)


def in_turn(coefficients: Array, terms: Array) -> Array:
    """In n steps of little work: for one processor."""

    def step(before: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        coefficient, term = now
        y = term + coefficient * before
        return y, y

    return lax.scan(step, jnp.zeros_like(terms[0]), (coefficients, terms))[1]


def by_doubling(coefficients: Array, terms: Array) -> Array:
    """In `2 log2 n` steps over all points: for many processors."""

    def composed(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        return first[0] * second[0], second[0] * first[1] + second[1]

    return lax.associative_scan(composed, (coefficients, terms))[1]
