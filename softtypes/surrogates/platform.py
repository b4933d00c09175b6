"""Which form of an algorithm suits the machine: many small steps in turn, or few that do all at once."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

ENTRIES = 2**26  # of an array that is made at once, where there is a choice
SHORT = 2**14  # entries of an array, up to which one thread takes no longer over a few operations than several
BRANCHING = 2**12  # entries of an array, from which on a pass over it takes longer than a branch


def in_turn() -> bool:
    """Whether steps are best taken one after the other: on a CPU a step costs little more than its arithmetic."""
    return jax.default_backend() == "cpu"


def shortcut(holds: jax.Array, then: Callable, otherwise: Callable, x: jax.Array, *rest: jax.Array) -> Any:
    """`then(x, *rest)` if all of `holds`, or else `otherwise(x, *rest)`, which has to be right in any case.

    Not to be differentiated. It is `otherwise` where a branch takes longer than passes over x, or waits for the host,
    as on accelerators.
    """
    if in_turn() and x.size >= BRANCHING:
        return branch(holds, then, otherwise, x, *rest)
    return otherwise(x, *rest)


def branch(holds: jax.Array, then: Callable, otherwise: Callable, *operands: jax.Array) -> Any:
    """`then(*operands)` if all of `holds`, or else `otherwise(*operands)`; one of them runs, also for all of a batch
    under `vmap`. Not to be differentiated, and the functions may close over no array."""

    @jax.custom_batching.custom_vmap
    def run(holds, *operands):
        return lax.cond(holds.all(), then, otherwise, *operands)

    @run.def_vmap
    def of_batch(size, batched, holds, *operands):
        axes = tuple(0 if one else None for one in batched[1:])
        many = lambda fn: jax.vmap(fn, in_axes=axes, axis_size=size)
        out = branch(holds, many(then), many(otherwise), *operands)
        return out, jax.tree.map(lambda _: True, out)

    return run(holds, *operands)


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


def nothing(shape: tuple[int, ...], *likes: jax.Array) -> jax.Array:
    """Zeros to add to, in the dtype of the first of these, which shard_map sees vary as all of them do."""
    return jnp.broadcast_to(math.prod(jnp.zeros_like(like, likes[0].dtype, shape=()) for like in likes), shape)
