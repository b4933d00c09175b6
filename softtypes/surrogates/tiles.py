"""Sums over the tiles of a band: chunk c of the rows meets group g of the columns where `first_c <= g < last_c`.

The loop over a chunk's groups has as many steps as there are, whatever the shapes: memory and time are those of the
band, under `vmap` too. JAX cannot transpose such a loop, so the derivative is told what it is: a sum over tiles again,
of the tile's derivative, and so is its transpose. Derivatives of any order follow, forwards and backwards.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax


class Parts(NamedTuple):
    """Trees of arrays with leading axes `c`, `c, g` and `g`; a tile takes and gives those of one chunk and group."""

    chunk: Any = ()
    pair: Any = ()
    group: Any = ()


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def tile_sums(tile: Callable[[Parts], Parts], parts: Parts, first: Array, last: Array) -> Parts:
    """What the tiles of the band give, summed over the groups of a chunk, and over the chunks of a group."""
    each = jax.eval_shape(tile, _of(parts, 0, 0))
    nothing = _nothing(parts, first)
    zeros = lambda tree, *lead: jax.tree.map(lambda x: jnp.zeros((*lead, *x.shape), x.dtype) + nothing, tree)
    groups = jax.tree.leaves((parts.pair, parts.group))
    count = jax.tree.leaves(parts.group)[0].shape[0] if groups else 0

    def of_chunk(to_group, args):
        chunk, pair, first, last = args

        def add(g, state):
            to_chunk, to_pair, to_group = state
            own = jax.tree.map(lambda x: x[g], (pair, parts.group))
            more = tile(Parts(chunk, *own))
            to_chunk = jax.tree.map(jnp.add, to_chunk, more.chunk)
            to_pair = jax.tree.map(lambda x, y: x.at[g].set(y), to_pair, more.pair)
            return to_chunk, to_pair, jax.tree.map(lambda x, y: x.at[g].add(y), to_group, more.group)

        start = zeros(each.chunk), zeros(each.pair, count), to_group
        to_chunk, to_pair, to_group = lax.fori_loop(first, last, add, start)
        return to_group, (to_chunk, to_pair)

    to_group, rest = lax.scan(of_chunk, zeros(each.group, count), (parts.chunk, parts.pair, first, last))
    return Parts(*rest, to_group)


def _of(parts: Parts, c: int, g: int) -> Parts:
    pick = lambda i: lambda x: x[i]
    return Parts(jax.tree.map(pick(c), parts.chunk), jax.tree.map(pick((c, g)), parts.pair),
                 jax.tree.map(pick(g), parts.group))  # fmt: skip


def _nothing(parts: Parts, first: Array) -> Array:
    """A zero that varies over a mesh as all of the data do."""
    corners = [x.ravel()[0] for x in jax.tree.leaves(parts)]
    return sum((jnp.zeros_like(x) for x in corners), jnp.zeros_like(first[0]).astype(corners[0].dtype))


@tile_sums.defjvp
def _tile_sums_jvp(tile, primals, tangents):
    parts, first, last = primals
    out = tile_sums(tile, parts, first, last)

    def pushed(both: Parts) -> Parts:
        own, change = _unzipped(both)
        return jax.jvp(tile, (own,), (change,))[1]

    def pulled(both: Parts) -> Parts:
        own, change = _unzipped(both)
        return jax.vjp(tile, own)[1](change)[0]

    push = lambda change: tile_sums(pushed, _zipped(parts, change), first, last)
    pull = lambda change: tile_sums(pulled, _zipped(parts, change), first, last)
    return out, _linear(push, pull, tangents[0], out)


def _zipped(parts: Parts, change: Parts) -> Parts:
    return Parts(*zip(parts, change, strict=True))


def _unzipped(both: Parts) -> tuple[Parts, Parts]:
    return Parts(*(part[0] for part in both)), Parts(*(part[1] for part in both))


def _linear(push: Callable, pull: Callable, x: Any, like: Any) -> Any:
    """`push(x)`, for JAX to transpose to `pull`.

    With M(y, x) = (push x, pull y), which is symmetric, the solution of the symmetric system

        b = c,  a - M b = d     is     a = M c + d,  b = c,

    and JAX differentiates and transposes solutions of linear systems.
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
