"""The example of `soften`: thresholds that have no gradient are tuned, and the exact program is the better for it."""

import jax
import jax.numpy as jnp

from examples.thermostat import cost, tune


def test_thresholds_are_tuned():
    settings = {"low": jnp.float32(15.0), "high": jnp.float32(18.0), "power": jnp.float32(0.5)}
    own = jax.grad(cost)(settings)
    assert own["low"] == own["high"] == 0
    tuned = tune(settings)
    assert tuned["low"] > 18
    assert tuned["high"] > 19
    assert cost(tuned) < 0.1 * cost(settings)
