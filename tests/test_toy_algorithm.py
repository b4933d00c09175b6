"""Adding an ordering algorithm is one class and one registry line."""

import jax.numpy as jnp
import pytest

import softtypes as sft
from softtypes import _relaxation
from softtypes.surrogates.algorithm import Algorithm
from softtypes.surrogates.algorithms import ALGORITHMS


class NearestOnly(Algorithm):
    """Weights by distance to the order statistic, exponential whatever the mode."""

    modes = ("smooth",)

    def weights(self, row, request, softness, mode):
        gap = row.statistics(request.positions)[..., :, None] - row.keys[..., None, :]
        weights = jnp.where(row.counted[..., None, :], jnp.exp(-jnp.abs(gap) / softness), 0)
        return weights / weights.sum(-1, keepdims=True)


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(ALGORITHMS, "nearest", NearestOnly())
    monkeypatch.setitem(_relaxation.CHOICES, "algorithm", (None, *ALGORITHMS))


def test_a_new_algorithm_serves_every_operator(toy):
    x = jnp.array([3.0, 1.0, 2.0])
    options = {"algorithm": "nearest", "softness": 1e-4}
    assert jnp.allclose(sft.sort(x, **options), jnp.sort(x))
    assert jnp.allclose(sft.max(x, **options), 3.0)
    assert jnp.allclose(sft.median(x, **options), 2.0)
    assert jnp.allclose(sft.top_k(x, 2, **options)[0], jnp.array([3.0, 2.0]))
    assert sft.argsort(x, **options).probs.argmax(-1).tolist() == [1, 2, 0]


def test_what_it_cannot_do_names_those_that_can(toy):
    with pytest.raises(
        ValueError, match=r"'nearest' has no mode 'c1' \(it has 'smooth'\); those that do are 'softsort'"
    ):
        sft.sort(jnp.arange(3.0), algorithm="nearest", mode="c1")
