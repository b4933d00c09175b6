"""Which form of an algorithm suits the machine: many small steps in turn, or few that do all at once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

ENTRIES = 2**26  # of an array that is made at once, where there is a choice


def in_turn() -> bool:
    """Whether steps are best taken one after the other: on a CPU a step costs little more than its arithmetic."""
    return jax.default_backend() == "cpu"


def each(fn: Callable, xs: Any, entries: int) -> Any:
    """`fn` of each slice of the leaves of `xs`: in turn, or side by side, as many as `parts` has it."""
    if in_turn():
        return lax.map(fn, xs)
    length = jax.tree.leaves(xs)[0].shape[0]
    out = lax.map(jax.vmap(fn), parts(xs, entries))
    return jax.tree.map(lambda y: y.reshape(y.shape[0] * y.shape[1], *y.shape[2:])[:length], out)


def parts(xs: Any, entries: int) -> Any:
    """The slices of leaves in parts of equal length, the last filled up with zeros: as long as fit at once if each
    slice makes arrays of so many entries."""
    length = jax.tree.leaves(xs)[0].shape[0]
    size = max(min(ENTRIES // entries, length), 1)
    spare = -length % size

    def split(x: jax.Array) -> jax.Array:
        x = jnp.pad(x, [(0, spare), *[(0, 0)] * (x.ndim - 1)])
        return x.reshape((length + spare) // size, size, *x.shape[1:])

    return jax.tree.map(split, xs)
