"""Elementwise rules."""

import jax
import jax.numpy as jnp

from softtypes._lift import Rule, as_float
from softtypes._relaxation import Relaxation
from softtypes.surrogates import steps
from softtypes.surrogates.modes import MODES


def step_of(relaxation: Relaxation) -> steps.Step:
    return MODES[relaxation.mode].step


def _plain(surrogate):
    return lambda x, s, relaxation, **_: surrogate(x, s, step_of(relaxation))


def _soft_relu(x, s, relaxation):
    return steps.softrelu(x, s, step_of(relaxation), relaxation.gated)


def _soft_round(x, s, relaxation, decimals, neighbor_radius):
    factor = 10.0**decimals
    return steps.rounded(x * factor, s, step_of(relaxation), neighbor_radius) / factor


def _soft_maximum(x, y, s, relaxation):
    return steps.maximum(x, y, s, step_of(relaxation), relaxation.gated)


def _soft_minimum(x, y, s, relaxation):
    return steps.minimum(x, y, s, step_of(relaxation), relaxation.gated)


def _soft_clip(x, *bounds, s, relaxation, has_low, has_high):
    low, high = _bounds(bounds, has_low, has_high)
    return steps.clip(x, low, high, s, step_of(relaxation), relaxation.gated)


def _hard_clip(x, *bounds, has_low, has_high):
    return jnp.clip(x, *_bounds(bounds, has_low, has_high))


def _bounds(bounds, has_low, has_high):
    return (bounds[0] if has_low else None), (bounds[-1] if has_high else None)


ABS = Rule(_plain(steps.absolute), jnp.abs)
SIGN = Rule(_plain(steps.sign), jnp.sign)
HEAVISIDE = Rule(_plain(steps.step), lambda x: jnp.heaviside(as_float(x), 0.5))
RELU = Rule(_soft_relu, jax.nn.relu)
ROUND = Rule(_soft_round, lambda x, decimals, neighbor_radius: jnp.round(x, decimals))
MAXIMUM = Rule(_soft_maximum, jnp.maximum)
MINIMUM = Rule(_soft_minimum, jnp.minimum)
CLIP = Rule(_soft_clip, _hard_clip)
