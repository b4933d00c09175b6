"""The derivative of all steps from the keys to the sums of columns and of their leans, where softness is a constant."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft
from softtypes.surrogates import band, band_sums, leans, neuralsort, platform
from softtypes.surrogates.modes import MODES
from tests.surrogates.rows import close
from tests.surrogates.rows import double_precision as double_precision

slow = pytest.mark.slow
exhaustive = [slow, pytest.mark.exhaustive]


@pytest.fixture
def banded(monkeypatch):
    monkeypatch.setattr(neuralsort, "SMALL", 0)


def rank(x, mode):
    return sft.rank(x, axis=-1, algorithm="neuralsort", mode=mode, softness=0.0937)


def row(n=70):
    return np.concatenate([np.random.default_rng(0).normal(size=n - 4), [0.5, 0.5, 9.0, -7.0]])


def derivatives(mode, x):
    """The value, both ways to the first derivative, and all but one to the second."""
    total, probe = lambda x: jnp.sin(rank(x, mode)).sum(), jnp.cos(x)
    gradient = jax.grad(total)
    return (
        rank(x, mode),
        gradient(x),
        jax.jvp(total, (x,), (probe,))[1],
        jax.jvp(gradient, (x,), (probe,))[1],
        jax.grad(lambda x: gradient(x) @ probe)(x),
    )


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(
    "mode", ["smooth", pytest.param("c1", marks=slow), *(pytest.param(m, marks=exhaustive) for m in ("c0", "c2"))]
)
def test_the_band_is_the_matrix(mode, monkeypatch):
    x, run = jnp.asarray(row()), lambda: jax.jit(lambda x: derivatives(mode, x))(x)
    monkeypatch.setattr(neuralsort, "SMALL", 10**6)
    exact = run()
    monkeypatch.setattr(neuralsort, "SMALL", 0)
    close(run(), exact, 1e-11)


@pytest.mark.usefixtures("double_precision", "banded")
@pytest.mark.parametrize("mode", [pytest.param("smooth", marks=slow), pytest.param("c1", marks=exhaustive)])
def test_side_by_side_is_in_turn(mode, monkeypatch):
    x, run = jnp.asarray(row()), lambda: jax.jit(lambda x: derivatives(mode, x)[:2])(x)
    in_turn = run()
    monkeypatch.setattr(platform, "in_turn", lambda: False)
    monkeypatch.setattr(platform, "ENTRIES", 1024)
    close(run(), in_turn, 1e-12)


@pytest.mark.usefixtures("double_precision", "banded")
@pytest.mark.parametrize("mode", list(MODES))
def test_the_derivative_is_symmetric_but_for_shares(mode):
    """`y . push x = x . pull y`, where push and pull trade the shares."""
    caught = []

    def catch(power, scaled, fields, level, rows, dfields):
        caught.append((scaled.band, fields, level, rows))
        return dfields

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leans, "change", catch)
        jax.jvp(partial(rank, mode=mode), (jnp.asarray(row()),), (jnp.ones(70),))
    (args,) = caught
    x, y = (jnp.asarray(np.random.default_rng(i).normal(size=(*args[1].bends.shape, 2))) for i in (1, 2))
    x, y = jnp.swapaxes(x, 1, 2), jnp.swapaxes(y, 1, 2)
    shares = jnp.exp(-3 * jnp.abs(x[:, 0]))
    through = jax.jit(partial(leans.centred, band_sums.POWERS[mode]))
    push = through(*args, (shares, jnp.ones_like(shares)), x)
    pull = through(*args, (jnp.ones_like(shares), shares), y)
    assert jnp.abs(push).max() > 0
    np.testing.assert_allclose((y * push).sum(), (x * pull).sum(), rtol=1e-12)
    slowly = leans._centred(band_sums.POWERS[mode], *args, (shares, jnp.ones_like(shares)), x)
    close(push, slowly, 1e-12)


@slow
def test_gradients_of_faint_columns(monkeypatch):
    """The outermost columns weigh `exp(-96)` and less: single precision would lose them. Their logits are near 100, so
    that it knows their weights, and what they alone change, to some 1e-3."""
    x = np.random.default_rng(0).normal(size=2048)
    outermost = np.zeros_like(x)
    outermost[[x.argmin(), x.argmax()]] = 1, -1

    def gradient(dtype):
        total = lambda x: sft.rank(x, axis=-1, algorithm="neuralsort") @ jnp.asarray(outermost, dtype)
        return np.asarray(jax.jit(jax.grad(total))(jnp.asarray(x, dtype)))

    with jax.enable_x64(True):
        exact = gradient("float64")
    close(gradient("float32"), exact, 2e-3)
    meeting = band.meeting
    monkeypatch.setattr(band, "meeting", lambda wide, faint: meeting(wide, jnp.zeros_like(faint)))
    assert np.abs(gradient("float32") - exact).max() > 0.1 * np.abs(exact).max()  # where none is looked for
