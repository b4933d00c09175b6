"""Tune a bang-bang controller that knows nothing of softtypes: gradients by `soften`, the judge is the exact program.

The heater goes on below one threshold and off above another. Which thresholds and which power keep a leaky room near
21 degrees for little energy? Every decision of the program stops the gradient; `soften` relaxes them all.
"""

import jax
import jax.numpy as jnp

import softtypes as sft

TARGET, OUTSIDE, STEPS = 21.0, 5.0, 240


def simulate(settings):
    """Temperatures and heating of a day, in steps of six minutes."""
    low, high, power = settings["low"], settings["high"], settings["power"]

    def step(state, _):
        room, is_on = state
        is_on = jnp.where(room < low, True, jnp.where(room > high, False, is_on))
        heat = jnp.where(is_on, power, 0.0)
        room = room + heat - 0.02 * (room - OUTSIDE)
        return (room, is_on), (room, heat)

    return jax.lax.scan(step, (jnp.asarray(16.0), False), None, length=STEPS)[1]


def cost(settings):
    """The mean squared distance from the target, and what the heat costs."""
    room, heat = simulate(settings)
    return jnp.mean((room - TARGET) ** 2) + 0.5 * jnp.mean(heat)


def tune(settings, steps=200, rate=0.05, softness=0.5):
    """Settings after some steps down the gradient of the softened cost, each entry of it clipped to 1."""
    slope = jax.jit(jax.grad(sft.soften(cost, softness)))
    for _ in range(steps):
        settings = jax.tree.map(lambda x, g: x - rate * jnp.clip(g, -1, 1), settings, slope(settings))
    return settings


def main():
    settings = {"low": jnp.float32(15.0), "high": jnp.float32(18.0), "power": jnp.float32(0.5)}
    show = lambda numbers: ", ".join(f"{name} {float(x):.2f}" for name, x in numbers.items())
    print(f"gradient of the program itself: {show(jax.grad(cost)(settings))}")
    print(f"softened:                       {show(jax.grad(sft.soften(cost, 0.5))(settings))}")
    print(f"before: cost {cost(settings):.2f} with {show(settings)}")
    settings = tune(settings)
    print(f"after:  cost {cost(settings):.2f} with {show(settings)}")


if __name__ == "__main__":
    main()
