"""Logic rules: a family of t-norms on probabilities, jnp's logic on the exact bits."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from softtypes._lift import Views, wide_dtype
from softtypes.surrogates.logic import FAMILIES


def negation(a: Views) -> Views:
    return Views(1 - a.soft, ~a.hard)


def conjunction(a: Views, b: Views, logic: str) -> Views:
    return Views(FAMILIES[logic].conjunction(a.soft, b.soft), a.hard & b.hard)


def disjunction(a: Views, b: Views, logic: str) -> Views:
    """`~(~a & ~b)`."""
    return Views(FAMILIES[logic].disjunction(a.soft, b.soft), a.hard | b.hard)


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


def _over(fold: Callable, p: Array, axes: tuple[int, ...], where, unit: int) -> Array:
    """Fold the entries that count along the axes; the others are set to the fold's unit."""
    wide = p.astype(wide_dtype(p.dtype))
    if where is None:
        count = math.prod(p.shape[axis] for axis in axes)
    else:
        where = jnp.broadcast_to(where, p.shape)
        wide, count = jnp.where(where, wide, unit), where.sum(axes).astype(wide.dtype)
    return fold(wide, axes, count).astype(p.dtype)


def conjunction_over(a: Views, logic: str, axes: tuple[int, ...], where=None) -> Views:
    soft = _over(FAMILIES[logic].conjunction_over, a.soft, axes, where, 1)
    return Views(soft, jnp.all(a.hard, axes, where=where))


def disjunction_over(a: Views, logic: str, axes: tuple[int, ...], where=None) -> Views:
    soft = _over(FAMILIES[logic].disjunction_over, a.soft, axes, where, 0)
    return Views(soft, jnp.any(a.hard, axes, where=where))


def log_conjunction_over(p: Array, logic: str, axes: tuple[int, ...], where=None) -> Array:
    return _over(FAMILIES[logic].log_conjunction_over, p, axes, where, 1)


def log_disjunction_over(p: Array, logic: str, axes: tuple[int, ...], where=None) -> Array:
    return _over(FAMILIES[logic].log_disjunction_over, p, axes, where, 0)
