"""A band, its tiles, and loops over them.

Keys lie in blocks, blocks in groups; rows lie in chunks. A tile is what a chunk's rows weigh of a group's keys. The
bands of a batch are one band, whose chunks know where the groups of their own keys begin.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates import along, platform

GROUP = 4  # blocks in a group
FEW = 8  # vectors whose products are made one by one


class Ends(NamedTuple):
    """The first of the groups that chunks need, and the one after the last, which is before it where they need none;
    counted from the first of their own keys."""

    first: Array  # (c,)
    after: Array  # (c,)


class Chunks(NamedTuple):
    """Rows in c chunks of k, with the groups that they need; of their own keys there are m blocks."""

    heads: Array  # (c, 5, m), of the middle row: leans, logits at the first keys of blocks in two parts, and, in
    # two parts, the distances of these keys from the largest logit
    leads: Array  # (c, k), twice the rows after the middle one
    lifts: Array  # (c, k), what the rows' logits are counted from: 0, or once it is known about the largest of each
    ends: Ends
    base: Array  # (c,), the first group of their own keys


class Band(NamedTuple):
    """Ascending keys in g groups of GROUP blocks of b keys, and the rows that they weigh in.

    What logits are made of comes in two parts: few digits, which are summed and multiplied exactly, and the rest.
    """

    offsets: Array  # (g, 2, GROUP b), of keys from their block's first one
    bends: Array  # (g, 2, GROUP b), how far their logits fall below its, in the block's peak row
    peaks: Array  # (g, GROUP b), that row
    chunks: Chunks

    def ending(self, ends: Ends) -> "Band":
        """The band with other ends of the groups that its chunks need."""
        return self._replace(chunks=self.chunks._replace(ends=ends))

    def lifted(self, lifts: Array) -> "Band":
        """The band with logits that are counted from these."""
        return self._replace(chunks=self.chunks._replace(lifts=lifts))


def flat(band: Band, x: Any) -> Array:
    """A field of the keys, `(n, ...)`, as the band has it, `(g, GROUP b, ...)`."""
    x = jnp.pad(x, ((0, band.peaks.size - x.shape[0]), *((0, 0),) * (x.ndim - 1)))
    return x.reshape(*band.peaks.shape, *x.shape[1:])


def logits_of(band: Band, chunk: Chunks, g: Array) -> tuple[Array, Array]:
    """The logits of a chunk's rows over a group's keys, `(k, GROUP b)`, and the leans of the middle row,
    `(1, GROUP b)`."""
    size, here = band.peaks.shape[1] // GROUP, GROUP * (g - chunk.base)
    offset, bend = at(g, band.offsets), at(g, band.bends)
    shape = chunk.heads.shape[0], GROUP
    head = lax.dynamic_slice(chunk.heads, (jnp.zeros_like(here), here), shape, allow_negative_indices=False)
    head = jnp.broadcast_to(head[:, :, None], (*shape, size)).reshape(-1, GROUP * size)
    middle, level, distance = head[:1], head[1:3], head[3:]
    # held: or else the loop over the tile makes them again for each entry
    line, place, middle = along.held((level + (middle * offset - bend), distance + offset, middle))
    lead = chunk.leads[:, None]
    few = line[:1] + lead * place[:1] - chunk.lifts[:, None]
    return few + (line[1:] + lead * place[1:]), middle


def at(g: Array, x: Array) -> Array:
    """`x[g]`; told that g is not negative, it compiles sooner."""
    start = (g, *(jnp.zeros_like(g),) * (x.ndim - 1))
    return lax.dynamic_slice(x, start, (1, *x.shape[1:]), allow_negative_indices=False)[0]


def put(g: Array, x: Array, y: Array) -> Array:
    """x with y at g, likewise."""
    start = (g, *(jnp.zeros_like(g),) * (x.ndim - 1))
    return lax.dynamic_update_slice(x, y[None], start, allow_negative_indices=False)


def over_groups(chunk: Chunks, step: Callable, start: Any) -> Any:
    """`step(g, state)` over the groups that a chunk needs."""
    return lax.fori_loop(*chunk.ends, lambda i, state: step(chunk.base + i, state), start)


def entries(band: Band) -> int:
    """Of all tiles of a chunk, about."""
    return band.chunks.leads.shape[-1] * band.peaks.shape[-1]


def over_columns(
    band: Band, join: str, start: Array, of_tile: Callable, *rows: Array, prepare: Callable = lambda _, *rows: rows
) -> Array:
    """`of_tile(g, chunk, *prepare(chunk, *rows))` of all tiles, those of one group joined: `start` is the result of no
    tile, for each group."""
    if platform.in_turn():
        joined = {"add": jnp.add, "max": jnp.maximum}[join]

        def of_chunk(total, args):
            prepared = prepare(*args)

            def step(g, total):
                return put(g, total, joined(at(g, total), of_tile(g, args[0], *prepared)))

            return over_groups(args[0], step, total), None

        return lax.scan(of_chunk, start, (band.chunks, *rows))[0]

    def of_chunks(total, args):
        first, after = args[0].ends
        last = jnp.maximum(after - 1, 0)
        prepared = jax.vmap(prepare)(*args)

        def step(i, total):
            g = args[0].base + jnp.minimum(first + i, last)
            more = jax.vmap(of_tile)(g, args[0], *prepared)
            inside = (first + i < after).reshape(-1, *(1,) * (more.ndim - 1))
            return getattr(total.at[g], join)(jnp.where(inside, more, start[g]), mode="promise_in_bounds")

        return lax.fori_loop(0, (after - first).max(), step, total), None

    return lax.scan(of_chunks, start, platform.parts((band.chunks, *rows), entries(band)))[0]


# Products


def dot(a: Array, b: Array) -> Array:
    return jnp.dot(a, b, precision="highest")


def dot_few(few: Array, b: Array) -> Array:
    """`few @ b`, row by row: with products of matrices XLA's CPU takes half as long again for a rank."""
    if not platform.in_turn() or few.shape[0] > FEW:
        return dot(few, b)
    return jnp.stack([dot(row, b) for row in few])


def dot_narrow(a: Array, narrow: Array) -> Array:
    """`a @ narrow`, likewise."""
    if not platform.in_turn() or narrow.shape[1] > FEW:
        return dot(a, narrow)
    return jnp.stack([dot(a, column) for column in narrow.T], -1)


def down(chunk: Chunks, middle: Array, rows: Array, terms: Array) -> Array:
    """Sums over rows of terms, and of terms times their lean: the row's, and that of the middle row."""
    plain, leaning = dot_few(jnp.stack([rows, rows * chunk.leads]), terms)
    return jnp.stack([plain, leaning + middle[0] * plain])
