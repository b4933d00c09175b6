"""NeuralSort without its matrix: sums over a band of tiles are those of the matrix, with their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft
from softtypes.surrogates import neuralsort, steps
from softtypes.surrogates.distances import blocks_of
from softtypes.surrogates.modes import MODES
from softtypes.surrogates.tiles import Parts, tile_sums


def tied(n: int) -> np.ndarray:
    return np.round(np.random.default_rng(0).normal(size=n) * 3) / 3


@pytest.mark.parametrize("mode", ["smooth", "c2"])
def test_blocks_hold_the_sums_of_distances(mode):
    n, softness = 90, 0.05
    with jax.enable_x64(True):
        keys = jnp.sort(jax.nn.sigmoid(jnp.asarray(tied(n))))
        blocks, valid = blocks_of(keys, jnp.ones(n, bool), softness, MODES[mode])
        size = valid.shape[-1]
        gaps = (keys[:, None] - keys[None]) / softness
        exact = np.zeros(valid.size)
        exact[:n] = steps.absolute(gaps, 1.0, MODES[mode].step).sum(-1)
        first = size * np.arange(valid.size // size)[:, None]
        offsets, bends, tilts = (np.asarray(x).reshape(len(first), -1) for x in blocks[:3])
        grown = (2 * first + 1 - n - tilts) * offsets + bends
        exact = exact.reshape(-1, size)
        error = np.where(np.asarray(valid).reshape(exact.shape), grown - (exact - exact[:, :1]), 0)
        assert np.abs(error).max() < 1e-12 * np.abs(exact).max()


def test_sums_over_tiles_and_their_second_derivative_are_those_of_the_matrix():
    first, last = jnp.asarray([0, 1], jnp.int32), jnp.asarray([2, 3], jnp.int32)
    band = jnp.asarray([[1.0, 1, 0], [0, 1, 1]])

    def banded(x):
        tile = lambda parts: Parts(jnp.sin(parts.chunk * parts.group))
        return tile_sums(tile, Parts(x[:2], (), x[2:]), first, last).chunk

    def dense(x):
        return (band * jnp.sin(x[:2, None] * x[None, 2:])).sum(-1)

    x = jnp.asarray([0.3, -0.8, 1.1, 0.4, -0.6])
    np.testing.assert_allclose(banded(x), dense(x), atol=1e-6)
    for order in (jax.jacrev, jax.jacfwd, lambda f: jax.jacrev(jax.jacrev(f)), lambda f: jax.jacfwd(jax.jacrev(f))):
        np.testing.assert_allclose(jax.jit(order(banded))(x), order(dense)(x), atol=1e-5)


SLOW = [(op, mode) for op in ("sort", "rank") for mode in ("smooth", "c1") if (op, mode) != ("sort", "smooth")]


@pytest.mark.parametrize(
    ("op", "mode"), [("sort", "smooth"), *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]
)
def test_the_band_gives_the_value_and_the_gradient_of_the_matrix(monkeypatch, op, mode):
    fn = lambda x: getattr(sft, op)(x, axis=-1, algorithm="neuralsort", mode=mode, softness=0.1)
    both = lambda x: (lambda value, pull: (value, *pull(jnp.sin(1 + value))))(*jax.vjp(fn, x))
    with jax.enable_x64(True):
        x = jnp.asarray(tied(70))
        expected = jax.jit(both)(x)
        monkeypatch.setattr(neuralsort, "SMALL", 8)
        for got, wanted in zip(jax.jit(lambda x: both(x))(x), expected, strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-10 * np.abs(wanted).max())
