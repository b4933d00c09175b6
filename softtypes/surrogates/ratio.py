"""Division by a softness that may be tiny, huge, traced or static."""

from typing import TypeAlias

import jax
from jax import Array

Softness: TypeAlias = float | Array


def ratio(x: Array, s: Softness) -> Array:
    """`x / s`, with a derivative in `s` that does not square it (`1e-30 ** -2` overflows in float32)."""
    return x / s if isinstance(s, float) else _ratio(x, s)


@jax.custom_jvp
def _ratio(x: Array, s: Array) -> Array:
    return x / s


@_ratio.defjvp
def _ratio_jvp(primals, tangents):
    (x, s), (dx, ds) = primals, tangents
    u = _ratio(x, s)
    return u, (dx - u * ds) / s
