"""Sums under the Laplace kernel over points in ascending order, in linear time.

    S_k = sum_j exp(-(distance of k and j)) v_j

The kernel is a product over the gaps between, so that two recurrences give all sums, one from each side:

    F_k = v_k + exp(-gap_k) F_(k-1).

No term grows, whatever the gaps.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates import along, platform


def laplace_sums(gaps: Array, *values: Array) -> list[Array]:
    """The sums of each of several values.

    Args:
        gaps: `(..., n)`, each from the point before to this one, at least 0; the first is not used.
            Infinite ones part the points.
        values: `(..., n)` each.

    Returns:
        `(..., n)` each.
    """
    first = lambda x: jnp.moveaxis(jnp.broadcast_to(x, gaps.shape), -1, 0)
    decays, terms = jnp.exp(-first(gaps)), list(map(first, values))
    nothing = jnp.zeros_like(decays[:1])  # leads to the first point, from either end
    decays = decays[1:]
    upwards = recur(jnp.concatenate([nothing, decays]), terms, False)
    downwards = recur(jnp.concatenate([decays, nothing]), terms, True)
    sums = (up + down - own for up, down, own in zip(upwards, downwards, terms, strict=True))
    return [jnp.moveaxis(x, 0, -1) for x in sums]


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def recur(coefficients: Array, terms: list[Array], reverse: bool) -> list[Array]:
    """`y_k = terms_k + coefficients_k y_(k-1)` along the first axis, for each of the terms; in reverse `y_(k+1)`."""
    return _recurrence()(coefficients, terms, reverse)


@recur.defjvp
def _recur_jvp(reverse, primals, tangents):
    """The derivative is such a recurrence, linear in its terms: nothing else is kept of the steps."""
    coefficients, change = primals[0], tangents[0]
    sums = recur(*primals, reverse)
    terms = [dot + change * along.shifted(y, -1 if reverse else 1) for y, dot in zip(sums, tangents[1], strict=True)]
    return sums, _recurrence()(coefficients, terms, reverse)


def _recurrence():
    return in_turn if platform.in_turn() else by_doubling


def in_turn(coefficients: Array, terms: list[Array], reverse: bool = False) -> list[Array]:
    """In n steps of little work: for one processor."""

    def step(before, now):
        coefficient, terms = now
        y = [term + coefficient * one for term, one in zip(terms, before, strict=True)]
        return y, y

    return lax.scan(step, [jnp.zeros_like(term[0]) for term in terms], (coefficients, terms), reverse=reverse)[1]


def by_doubling(coefficients: Array, terms: list[Array], reverse: bool = False) -> list[Array]:
    """In log2 n steps over all points, each from twice as far: for many processors; as a loop, which compiles once."""
    n = coefficients.shape[0]

    def step(state, distance):
        def there(x: Array) -> Array:
            nothing = jnp.zeros_like(x)
            x = jnp.concatenate([x, nothing] if reverse else [nothing, x])
            return lax.dynamic_slice_in_dim(x, distance if reverse else n - distance, n)

        coefficient, sums = state
        sums = [y + coefficient * there(y) for y in sums]
        return (coefficient * there(coefficient), sums), None

    distances = 1 << jnp.arange(max(n - 1, 0).bit_length(), dtype=jnp.int32)
    return lax.scan(step, (coefficients, terms), distances)[0][1]
