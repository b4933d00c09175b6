"""Random programs from a small grammar: the relaxation tends to the program as the softness vanishes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import softtypes as sft

N = 5

# Each step makes a row of numbers from one or two, and comes with the distance of these from a tie.
spread = lambda x: np.diff(np.sort(x)).min()
free = lambda *_: np.inf
to = lambda *levels: lambda x, y: min(np.abs(a - level).min() for a, level in zip((x, y), levels, strict=True))
UNARY = {
    "sin": (jnp.sin, free),
    "scale": (lambda x: 0.7 * x + 0.1, free),
    "relu": (jax.nn.relu, lambda x: np.abs(x).min()),
    "sort": (jnp.sort, spread),
    "argmax": (lambda x: x[jnp.argmax(x)] - x, spread),
    "argsort": (lambda x: jnp.sin(x)[jnp.argsort(x)], spread),
    "one_hot": (lambda x: jax.nn.one_hot(jnp.argmin(x), N), spread),
    "set": (lambda x: x.at[jnp.argmax(x)].set(0.37), spread),
    "count": (lambda x: x + jnp.sum(x > 0.29), lambda x: np.abs(x - 0.29).min()),
}
BINARY = {
    "add": (lambda x, y: x + y, free),
    "product": (lambda x, y: x * y, free),
    "maximum": (jnp.maximum, lambda x, y: np.abs(x - y).min()),
    "where": (lambda x, y: jnp.where(x > y, x, 0.5 * y), lambda x, y: np.abs(x - y).min()),
    "both": (lambda x, y: jnp.where((x > 0.21) & ~(y < 0.43), 1.0, y), to(0.21, 0.43)),
    "either": (lambda x, y: jnp.where((x < 0.17) | (y > 0.33), x, -1.0), to(0.17, 0.33)),
    "all": (lambda x, y: jnp.where(jnp.all(x < 0.9) & jnp.any(y > 0.27), x, y), to(0.9, 0.27)),
}
STEPS = UNARY | BINARY
drawn_steps = st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 9), st.integers(0, 9))


def program(drawn, margins=None):
    """The program of these steps; the distance of each from a tie is added to a list."""

    def run(x):
        rows = [x, jnp.cos(3 * x)]
        for name, i, j in drawn:
            fn, margin = STEPS[name]
            given = (rows[i % len(rows)], rows[j % len(rows)])[: 1 if name in UNARY else 2]
            if margins is not None:
                margins.append(margin(*map(np.asarray, given)))
            rows.append(fn(*given))
        return rows[-1]

    return run


@pytest.mark.slow
@settings(max_examples=15)
@given(st.lists(drawn_steps, min_size=1, max_size=4), st.integers(0, 20))
def test_the_limit_of_random_programs(drawn, seed):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        x, margins = jnp.asarray(np.random.default_rng(seed).uniform(-1, 1.5, N), jnp.float32), []
        wanted = program(drawn, margins)(x)
        assume(min(margins) > 0.01)
        np.testing.assert_allclose(sft.soften(program(drawn), 1e-5)(x), wanted, atol=1e-5)
        np.testing.assert_array_equal(sft.soften(program(drawn), straight_through=True)(x), wanted)
