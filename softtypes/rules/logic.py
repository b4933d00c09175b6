"""Logic rules: a family of t-norms on probabilities, jnp's logic on the exact bits."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array

from softtypes._lift import Views, wide_dtype
from softtypes.surrogates.logic import FAMILIES, log_disjunction_over


def negation(a: Views) -> Views:
    return Views(1 - a.soft, ~a.hard)


def conjunction(a: Views, b: Views, logic: str) -> Views:
    return Views(FAMILIES[logic].conjunction(a.soft, b.soft), a.hard & b.hard)


def disjunction(a: Views, b: Views, logic: str) -> Views:
    """`~(~a & ~b)`."""
    return Views(1 - FAMILIES[logic].conjunction(1 - a.soft, 1 - b.soft), a.hard | b.hard)


def exclusive(a: Views, b: Views, logic: str) -> Views:
    """`(a & ~b) | (~a & b)`."""
    either = disjunction(conjunction(a, negation(b), logic), conjunction(negation(a), b, logic), logic)
    return Views(either.soft, a.hard ^ b.hard)


def equivalence(a: Views, b: Views, logic: str) -> Views:
    """`~(a ^ b)`."""
    return negation(exclusive(a, b, logic))


def implication(a: Views, b: Views, logic: str) -> Views:
    """`~a | b`."""
    return disjunction(negation(a), b, logic)


def _counted(p: Array, axes: Sequence[int], where) -> tuple[Array, Array | int]:
    """Entries that do not count set to 1, and how many count along the axes."""
    if where is None:
        count = 1
        for axis in axes:
            count *= p.shape[axis]
        return p, count
    where = jnp.broadcast_to(where, p.shape)
    return jnp.where(where, p, 1), where.sum(axes).astype(p.dtype)


def conjunction_over(a: Views, logic: str, axes: tuple[int, ...], where=None) -> Views:
    wide = a.soft.astype(wide_dtype(a.soft.dtype))
    soft = FAMILIES[logic].conjunction_over(*_over(wide, axes, where))
    return Views(soft.astype(a.soft.dtype), jnp.all(a.hard, axes, where=where))


def disjunction_over(a: Views, logic: str, axes: tuple[int, ...], where=None) -> Views:
    """`~all(~a)`."""
    return negation(conjunction_over(negation(a), logic, axes, where))


def log_conjunction_over(p: Array, logic: str, axes: tuple[int, ...], where=None) -> Array:
    wide = p.astype(wide_dtype(p.dtype))
    return FAMILIES[logic].log_conjunction_over(*_over(wide, axes, where)).astype(p.dtype)


def log_disjunction_over_axes(p: Array, logic: str, axes: tuple[int, ...], where=None) -> Array:
    wide = 1 - p.astype(wide_dtype(p.dtype))
    entries, axes, count = _over(wide, axes, where)
    return log_disjunction_over(FAMILIES[logic], 1 - entries, axes, count).astype(p.dtype)


def _over(p: Array, axes: tuple[int, ...], where):
    entries, count = _counted(p, axes, where)
    return entries, axes, count
