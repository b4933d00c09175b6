"""The derivative of means under a band, both ways."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft
from softtypes.surrogates import neuralsort
from tests.surrogates.rows import close
from tests.surrogates.rows import double_precision as double_precision

slow = pytest.mark.slow


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("mode", ["c1", *(pytest.param(mode, marks=slow) for mode in ("smooth", "c0", "c2"))])
def test_forward_is_backward_is_the_matrix(mode, monkeypatch):
    """A change of all data and of the softness, pushed forward, and as the gradient has it."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=70).round(1))
    moved = jnp.cos(jnp.arange(70.0)), jnp.asarray(0.7)
    soft_sort = partial(sft.sort, algorithm="neuralsort", mode=mode)
    total = lambda x, softness: jnp.sin(3 * soft_sort(x, softness=softness)).sum()

    @jax.jit
    def both(x, softness):
        dx, ds = jax.grad(total, (0, 1))(x, softness)
        return jax.jvp(total, (x, softness), moved)[1], dx @ moved[0] + ds * moved[1]

    monkeypatch.setattr(neuralsort, "SMALL", 10**6)
    exact = both(x, 0.0937)[0]
    both.clear_cache()
    monkeypatch.setattr(neuralsort, "SMALL", 0)
    for found in both(x, 0.0937):
        close(found, exact, 1e-10)
