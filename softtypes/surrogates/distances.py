"""Sums of soft distances `A_j = sum_i abs(z_j - z_i)` over ascending keys, as blocks take them: without n x n memory.

A key sees those of its own block one by one. The logistic distance to all others is

    abs(x) = x (1 - f(q)),    q = exp(-x),    f(q) = 2 q / (1 + q),

and f is a polynomial in q to any precision that a dtype has (its pole is at -1, so the error falls by 5.8 a degree):
sums of `q^m` and `x q^m` over the keys to the left, and to the right, are recurrences over the blocks.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from softtypes.surrogates import steps
from softtypes.surrogates.band import GROUP, Blocks, outwards, sums_before, sums_from
from softtypes.surrogates.modes import Mode
from softtypes.surrogates.ratio import Softness, ratio
from softtypes.surrogates.tiles import Parts, tile_sums

FAR = 4096.0  # softnesses: neighbours farther apart than this don't see each other in any dtype


def shape_of(n: int) -> tuple[int, int]:
    """How many groups of blocks, and of how many keys: about the root of n of each."""
    size = max(8, 2 ** round(math.log2(max(n, 1)) / 2))
    return -(-n // (GROUP * size)), size


def blocks_of(keys: Array, counted: Array, softness: Softness, mode: Mode) -> tuple[Blocks, Array]:
    """The blocks of ascending keys `(n,)`, of which those that count come first, and where there is a key."""
    groups, size = shape_of(keys.shape[0])
    total = groups * GROUP * size
    gaps = jnp.pad(_gaps(keys, counted, softness), (0, total - keys.shape[0])).reshape(-1, size)
    valid = jnp.pad(counted, (0, total - keys.shape[0])).reshape(-1, size)
    offsets, to_end = sums_before(gaps), sums_from(gaps)
    widths = to_end[:, 0]
    inner = _inner(jnp.concatenate([offsets, widths[:, None]], -1), valid, mode.step)
    outer = (_outer_compact if mode.step.reach else _outer_smooth)(mode.step, offsets, to_end, widths, valid)
    bends = inner - outer
    shape = (groups, GROUP)
    tilts = 1 - valid.sum(-1).astype(keys.dtype)
    blocks = Blocks(
        offsets.reshape(*shape, size),
        bends[:, :-1].reshape(*shape, size),
        tilts.reshape(shape),
        widths.reshape(shape),
        bends[:, -1].reshape(shape),
    )
    return blocks, valid.reshape(*shape, size)


def _gaps(keys: Array, counted: Array, softness: Softness) -> Array:
    """From each key to the next, in softnesses; 0 at the last."""
    gaps = jnp.where(counted[1:], jnp.diff(keys), 0)
    near = gaps < FAR * softness
    return jnp.pad(jnp.where(near, ratio(jnp.where(near, gaps, 0), softness), FAR), (0, 1))


def _inner(offsets: Array, valid: Array, step: steps.Step) -> Array:
    """Distances to the keys of the own block, less those of its first key, `(m, b + 1)`."""

    @jax.checkpoint
    def block(args):
        offsets, valid = args
        distances = steps.absolute(offsets[:, None] - offsets[None, :-1], 1.0, step)
        return jnp.where(valid[None], distances - distances[:1], 0).sum(-1)

    return lax.map(block, (offsets, valid))


def _powers(dtype) -> np.ndarray:
    """Coefficients c_m, m = 1 ..., of `2 q / (1 + q)` on [0, 1]."""
    degree = 9 if jnp.finfo(dtype).bits <= 32 else 19
    chebyshev = np.polynomial.chebyshev.Chebyshev.interpolate(lambda q: 2 / (1 + q), degree, (0, 1))
    return chebyshev.convert(kind=np.polynomial.Polynomial, domain=(-1, 1), window=(-1, 1)).coef


def _outer_smooth(step: steps.Step, offsets: Array, to_end: Array, widths: Array, valid: Array) -> Array:
    """What logistic distances to the keys of other blocks lack of hard ones, less that of the first key."""
    weights = jnp.asarray(_powers(offsets.dtype), offsets.dtype)
    rates = (1.0 + jnp.arange(weights.size, dtype=offsets.dtype))[None]
    decay = jnp.exp(-rates * widths[:, None])
    left = _passed(_moments(to_end, valid, rates), decay, widths)
    right = _passed(*(jax.tree.map(lambda x: x[::-1], (_moments(offsets, valid, rates), decay, widths))))
    right = jax.tree.map(lambda x: x[::-1], right)
    ahead = jnp.concatenate([offsets, widths[:, None]], -1)[..., None]
    back = jnp.concatenate([to_end, jnp.zeros_like(widths)[:, None]], -1)[..., None]
    fall = jnp.expm1(-rates[None] * ahead)
    mass, moment = (x[:, None] for x in left)
    lost = fall * (moment + ahead * mass) + ahead * mass
    mass, moment = (x[:, None] for x in right)
    gained = -jnp.exp(-rates[None] * back) * (fall * (moment + back * mass) + (1 + fall) * ahead * mass)
    return ((lost + gained) * weights[None, None]).sum(-1)


def _outer_compact(step: steps.Step, offsets: Array, to_end: Array, widths: Array, valid: Array) -> Array:
    """The same for distances that are hard beyond the reach of a step."""
    reach, own = step.limit(offsets.dtype), jnp.arange(widths.shape[0], dtype=jnp.int32)
    starts = outwards(jnp.broadcast_to(widths, (own.size, own.size)), own)
    near = lax.stop_gradient((starts < widths[:, None] + reach) & (starts + widths[None] > -reach))
    near = near.reshape(own.size, -1, GROUP).any(-1)
    first, last = jnp.argmax(near, -1), near.shape[1] - jnp.argmax(near[:, ::-1], -1)
    targets = jnp.concatenate([offsets, widths[:, None]], -1)
    sides = jnp.sign(own[None] - own[:, None]).astype(offsets.dtype).reshape(own.size, -1, GROUP)
    by_group = lambda x: x.reshape(-1, GROUP, x.shape[-1])
    group = by_group(offsets), by_group(valid.astype(offsets.dtype))
    parts = Parts(targets, (starts.reshape(sides.shape), sides), group)
    return tile_sums(partial(_lacking, step), parts, first.astype(jnp.int32), last.astype(jnp.int32)).chunk


def _lacking(step: steps.Step, parts: Parts) -> Parts:
    """What the distances of a block's keys to those of a group lack of hard ones, less that of the first key."""
    targets, (starts, sides), (offsets, valid) = parts
    sides = (sides[:, None] * jnp.ones_like(offsets)).reshape(
        1, -1
    )  # the order knows the sign of a distance, at ties too
    distances = sides * ((starts[:, None] + offsets).ravel()[None] - targets[:, None])
    lack = distances - steps.absolute(distances, 1.0, step)
    return Parts(((lack - lack[:1]) * (jnp.abs(sides) * valid.reshape(1, -1))).sum(-1))


def _moments(distances: Array, valid: Array, rates: Array) -> tuple[Array, Array]:
    """`sum q^m` and `sum x q^m` of each block, `(m, r)`."""
    decayed = jnp.where(valid[..., None], jnp.exp(-rates[None] * distances[..., None]), 0)
    return decayed.sum(1), (distances[..., None] * decayed).sum(1)


def _passed(moments: tuple[Array, Array], decay: Array, widths: Array) -> tuple[Array, Array]:
    """Those of all blocks before, as seen from where each block starts."""

    def step(before, now):
        (mass, moment), ((own, own_moment), decay, width) = before, now
        after = own + decay * mass, own_moment + decay * (moment + width * mass)
        return after, before

    return lax.scan(step, jax.tree.map(lambda x: 0 * x[0], moments), (moments, decay, widths))[1]
