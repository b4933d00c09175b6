"""Relaxed staircases: floor, ceil, truncation and the remainder, as sums of steps."""

import jax.numpy as jnp

from softtypes._lift import Rule
from softtypes.rules.elementwise import ROUND, step_of
from softtypes.surrogates import steps
from softtypes.surrogates.contraction import mix


def _floor(x, s, relaxation):
    """`round(x - 1/2)`: the steps are at the integers."""
    return ROUND.soft(x - 0.5, s=s, relaxation=relaxation, decimals=0, neighbor_radius=5)


def _ceil(x, s, relaxation):
    return -_floor(-x, s, relaxation)


def _truncated(x, s, relaxation):
    """floor above 0 and ceil below."""
    above = steps.step(x, s, step_of(relaxation))
    return mix(above, _floor(x, s, relaxation), _ceil(x, s, relaxation))


def _remainder(x, y, s, relaxation):
    """`x - y trunc(x / y)`; of what is not finite, or by 0, as the exact one."""
    defined = jnp.isfinite(x) & jnp.isfinite(y) & (y != 0)
    divisor = jnp.where(defined, y, 1)
    quotient = jnp.where(defined, x, 0) / divisor
    return jnp.where(defined, x - divisor * _truncated(quotient, s, relaxation), jnp.fmod(x, y))


FLOOR = Rule(_floor, jnp.floor)
CEIL = Rule(_ceil, jnp.ceil)
TRUNCATE = Rule(_truncated, jnp.trunc)
REMAINDER = Rule(_remainder, jnp.fmod)
