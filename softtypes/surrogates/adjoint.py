"""For loops that JAX can't transpose: linear functions whose transpose is told, and derivatives by another function."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def linear(push: Callable, pull: Callable, x: Any, like: Any) -> Any:
    """`push(x)`, for JAX to transpose to `pull`.

    With M(y, x) = (push x, pull y), which is symmetric, the solution of the symmetric system

        b = c,  a - M b = d     is     a = M c + d,  b = c,

    and JAX differentiates and transposes solutions of linear systems.

    Args:
        push: of a tree to a tree.
        pull: its transpose.
        x: the tree.
        like: a tree of the form of `push(x)`.
    """
    map2 = lambda fn: lambda a, b: jax.tree.map(fn, a, b)
    both = lambda pair: (push(pair[1]), pull(pair[0]))

    def matvec(ab):
        rest = map2(jnp.subtract)(ab[0], both(ab[1]))
        return map2(jnp.add)(ab[1], _nowhere(rest, ab[1])), rest

    solve = lambda _, cd: (map2(jnp.add)(both(cd[0]), cd[1]), cd[0])
    none = _nowhere(x, (like, x))
    right = (none[0], map2(jnp.add)(x, none[1])), none
    return lax.custom_linear_solve(matvec, right, solve, symmetric=True)[0][0]


def _nowhere(x: Any, like: Any) -> Any:
    """Zeros that JAX takes to be linear in x: it wants all of a system to change if a part of it does."""
    empty = jnp.concatenate([leaf.ravel()[:0] for leaf in jax.tree.leaves(x)])
    zeros = lambda leaf: lax.pad(empty.astype(leaf.dtype), jnp.zeros((), leaf.dtype), [(0, leaf.size, 0)])
    return jax.tree.map(lambda leaf: zeros(leaf).reshape(leaf.shape), like)


def derived(otherwise: Callable) -> Callable:
    """For a function of a static argument and of trees: what it computes is differentiated as `otherwise`."""

    def decorate(fn: Callable) -> Callable:
        out = jax.custom_jvp(fn, nondiff_argnums=(0,))
        change = lambda static, primals, tangents: jax.jvp(partial(otherwise, static), primals, tangents)[1]
        out.defjvp(lambda *args: (out(args[0], *args[1]), change(*args)))
        return out

    return decorate
