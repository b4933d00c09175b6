"""Selection rules: expected values under a probability or under distributions over indices."""

import string
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array

from softtypes._lift import Views, as_float, float_dtype, wide_dtype
from softtypes.surrogates import contraction


def where(condition: Views, x: Views, y: Views) -> Views:
    """`p x + (1 - p) y`, computed in the branches' dtype."""
    dtype = float_dtype(x.soft, y.soft) if _some_float(x.soft, y.soft) else condition.soft.dtype
    p, a, b = (as_float(v, wide_dtype(dtype)) for v in (condition.soft, x.soft, y.soft))
    soft = contraction.mix(*jnp.broadcast_arrays(p, a, b)).astype(dtype)
    return Views(soft, jnp.where(condition.hard, x.hard, y.hard))


def _some_float(*arrays) -> bool:
    return any(jnp.issubdtype(jnp.result_type(x), jnp.floating) for x in arrays)


def expectation(subscripts: str, probs: Sequence[Array], values) -> Array:
    """`einsum(subscripts, *probs, values)` in the values' dtype (the probabilities' if those are integers)."""
    dtype, arrays = _widened(*probs, values)
    return contraction.contract(subscripts, *arrays).astype(dtype)


def _widened(*probs_and_values: Array) -> tuple[Any, list[Array]]:
    """The dtype of the result, and the arrays in which it is computed."""
    *probs, values = probs_and_values
    dtype = values.dtype if _some_float(values) else jnp.result_type(*probs)
    return dtype, [as_float(a, wide_dtype(dtype)) for a in probs_and_values]


def take_along_axis(probs: Array, values: Array, axis: int) -> Array:
    """`out[..., k, ...] = sum_i P[..., k, ..., i] values[..., i, ...]`."""
    rows = jnp.moveaxis(probs, axis, -2)
    values = jnp.moveaxis(values, axis, -1)
    batch = jnp.broadcast_shapes(rows.shape[:-2], values.shape[:-1])
    rows = jnp.broadcast_to(rows, (*batch, *rows.shape[-2:]))
    values = jnp.broadcast_to(values, (*batch, values.shape[-1]))
    return jnp.moveaxis(expectation("...ki,...i->...k", [rows], values), -1, axis)


def choose(probs: Array, choices: Array) -> Array:
    """`sum_i P[..., i] choices[i, ...]`."""
    choices = jnp.moveaxis(choices, 0, -1)
    batch = jnp.broadcast_shapes(probs.shape[:-1], choices.shape[:-1])
    dtype, arrays = _widened(probs, choices)
    return contraction.dot(*(jnp.broadcast_to(a, (*batch, a.shape[-1])) for a in arrays)).astype(dtype)


def slice_weights(probs: Array, length: int, size: int) -> Array:
    """Weights `(size, length)` of a slice whose start is distributed as `probs`; starts past the end are clamped."""
    last = length - size
    starts = jnp.concatenate([probs[:last], probs[last:].sum(keepdims=True)])
    offset = jnp.arange(length)[None, :] - jnp.arange(size)[:, None]
    legal = (offset >= 0) & (offset <= last)
    return jnp.where(legal, starts[jnp.clip(offset, 0, last)], 0)


def dynamic_slice_in_dim(probs: Array, values: Array, size: int, axis: int) -> Array:
    """The average of the slices over their starts."""
    weights = slice_weights(probs, values.shape[axis], size)
    moved = expectation("ki,...i->...k", [weights], jnp.moveaxis(values, axis, -1))
    return jnp.moveaxis(moved, -1, axis)


def joint(x: Array, axes: Sequence[int], probs: Sequence[Array], front: int) -> Array:
    """Select jointly along several axes by distributions of broadcastable batch shapes.

    The batch axes of the selection come to stand in the result after its first `front` axes.
    """
    batch = jnp.broadcast_shapes(*(p.shape[:-1] for p in probs))
    letters = iter(string.ascii_letters)
    x_names = [next(letters) for _ in range(x.ndim)]
    batch_names = [next(letters) for _ in batch]
    terms, operands = [], []
    for axis, p in zip(axes, probs, strict=True):
        own = p.shape[:-1]
        kept = [i for i, size in enumerate(own) if size != 1]
        terms.append("".join(batch_names[len(batch) - len(own) + i] for i in kept) + x_names[axis])
        operands.append(p.reshape(*(own[i] for i in kept), p.shape[-1]))
    rest = [name for i, name in enumerate(x_names) if i not in axes]
    rest_shape = [size for i, size in enumerate(x.shape) if i not in axes]
    used = [name for name, size in zip(batch_names, batch, strict=True) if size != 1]
    out_names = rest[:front] + used + rest[front:]
    out = expectation(f"{','.join(terms)},{''.join(x_names)}->{''.join(out_names)}", operands, x)
    return out.reshape(*rest_shape[:front], *batch, *rest_shape[front:])
