"""Scale, masks, ties, infinities and NaN in the ordering operators."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft

ROW = np.array([0.3, -1.2, 2.5, 0.31, -0.4], np.float32)
MODES = ("smooth", "c0", "c1", "c2")


def test_the_numbers_to_check_by_hand(x64):
    np.testing.assert_allclose(
        sft.argmax(jnp.array([1.0, 2.0, 3.0])).probs, [0.00398514, 0.06104098, 0.93497388], atol=1e-8
    )
    x = jax.random.uniform(jax.random.key(0), (4,))
    np.testing.assert_allclose(sft.argmedian(x).probs, [0.46390511, 0.05535614, 0.01005734, 0.47068141], atol=1e-8)
    np.testing.assert_allclose(sft.sort(x), [0.26368044, 0.42239119, 0.55003473, 0.92707357], atol=1e-8)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e15, 1e30])
def test_weights_are_scale_free(scale, mode):
    # below the scale of 1e-2 the deviation is 1.005 times the data's: a change of units from there on
    small = 1e-10 if scale < 1 else 1.0
    weights = sft.argmax(jnp.asarray(ROW * np.float32(scale)), mode=mode).probs
    np.testing.assert_allclose(weights, sft.argmax(jnp.asarray(ROW * np.float32(small)), mode=mode).probs, atol=2e-5)
    value, slope = jax.value_and_grad(lambda x: sft.max(x, mode=mode))(jnp.asarray(ROW * np.float32(scale)))
    assert jnp.isfinite(value)
    assert jnp.isfinite(slope).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("level", [0.0, 3.0, 1e30, -1e-30])
def test_a_constant_row_has_uniform_weights_and_finite_gradients(level, mode):
    x = jnp.full(5, level)
    np.testing.assert_allclose(sft.argmax(x, mode=mode).probs, 0.2, atol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda x: sft.max(x, mode=mode))(x), 0.2, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bad", [jnp.inf, -jnp.inf])
def test_one_infinity_stays_local(bad, mode):
    x = jnp.asarray(ROW).at[1].set(bad)
    others = jnp.asarray(np.delete(ROW, 1))
    far, near = (sft.min, sft.max) if bad > 0 else (sft.max, sft.min)
    np.testing.assert_allclose(far(x, mode=mode), far(others, mode=mode), rtol=1e-6)
    assert near(x, mode=mode) == bad
    order = sft.sort(x, mode=mode)
    np.testing.assert_allclose(order[1:] if bad < 0 else order[:-1], sft.sort(others, mode=mode), rtol=2e-5)
    assert sft.rank(x, mode=mode)[1] == (5 if bad > 0 else 1)
    slope = jax.jacobian(lambda x: sft.sort(x, mode=mode))(x)
    assert jnp.isfinite(slope).all()


def test_nan_is_last_and_poisons_only_what_it_touches():
    x = jnp.asarray(ROW).at[1].set(jnp.nan)
    order = sft.sort(x)
    assert jnp.isnan(order).tolist() == [False] * 4 + [True]
    np.testing.assert_allclose(order[:-1], sft.sort(jnp.asarray(np.delete(ROW, 1))), rtol=2e-5)
    assert jnp.isnan(sft.max(x))
    assert sft.argmax(x).probs.tolist() == [0.0, 1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("hidden", [1e10, jnp.inf, jnp.nan])
def test_a_masked_entry_changes_nothing(hidden, mode):
    x, mask = jnp.asarray(ROW).at[1].set(hidden), jnp.array([True, False, True, True, True])
    others = jnp.asarray(np.delete(ROW, 1))
    weights = sft.argmax(x, where=mask, mode=mode).probs
    assert weights[1] == 0
    np.testing.assert_allclose(np.delete(weights, 1), sft.argmax(others, mode=mode).probs, atol=1e-6)
    for fn in (sft.max, sft.min, sft.median):
        np.testing.assert_allclose(fn(x, where=mask, mode=mode), fn(others, mode=mode), rtol=2e-5)
    np.testing.assert_allclose(sft.sort(x, where=mask, mode=mode)[:4], sft.sort(others, mode=mode), rtol=2e-5)
    np.testing.assert_allclose(np.delete(sft.rank(x, where=mask, mode=mode), 1), sft.rank(others, mode=mode), rtol=2e-5)
    slope = jax.grad(lambda x: sft.max(x, where=mask, mode=mode))(x)
    assert slope[1] == 0
    assert jnp.isfinite(slope).all()


def test_a_row_with_nothing_left_is_uniform_and_has_no_value():
    x, mask = jnp.asarray(ROW), jnp.zeros(5, bool)
    np.testing.assert_allclose(sft.argmax(x, where=mask).probs, 0.2)
    assert jnp.isnan(sft.max(x, where=mask))
    assert jax.grad(lambda x: sft.max(x, where=mask))(x).tolist() == [0.0] * 5


@pytest.mark.parametrize("algorithm", ["softsort", "neuralsort"])
def test_ties_are_symmetric(algorithm):
    x = jnp.array([1.0, 1.0, 1.0])
    np.testing.assert_allclose(sft.rank(x, algorithm=algorithm), 2.0, rtol=1e-6)
    slopes = jax.grad(lambda x: sft.max(x, algorithm=algorithm))(jnp.array([2.0, 2.0, 1.0]))
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=1e-6)
