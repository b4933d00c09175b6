"""Scale, masks, ties, infinities and NaN in the ordering operators."""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import softtypes as sft

ROW = np.array([0.3, -1.2, 2.5, 0.31, -0.4], np.float32)
MODES = ("smooth", "c1")  # the others in test_ordering_laws.py
VALUES = ("max", "min", "median", "sort", "rank")


@cache
def observed(mode):
    """What the operators say of a row and their slopes, in one program to compile per mode and length of the row."""

    @jax.jit
    def observe(x, mask=None):
        knobs = {"mode": mode, "where": mask}

        def values(x):
            out = {name: getattr(sft, name)(x, **knobs) for name in VALUES}
            return out["sort"], out | {"argmax": sft.argmax(x, **knobs).probs}

        slope = jax.jacfwd(lambda x: sft.max(x, **knobs))(x)
        if mask is not None:
            return values(x)[1] | {"slope": slope}
        slopes, out = jax.jacrev(values, has_aux=True)(x)
        return out | {"slope": slope, "slopes": slopes}

    return observe


def test_the_numbers_to_check_by_hand(x64):
    weights = jax.jit(lambda x: sft.argmax(x).probs)(jnp.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(weights, [0.00398514, 0.06104098, 0.93497388], atol=1e-8)
    x = jax.random.uniform(jax.random.key(0), (4,))
    middle, ordered = jax.jit(lambda x: (sft.argmedian(x).probs, sft.sort(x)))(x)
    np.testing.assert_allclose(middle, [0.46390511, 0.05535614, 0.01005734, 0.47068141], atol=1e-8)
    np.testing.assert_allclose(ordered, [0.26368044, 0.42239119, 0.55003473, 0.92707357], atol=1e-8)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e15, 1e30])
def test_everything_is_scale_free(scale, mode):
    # below the scale of 1e-2 the deviation is 1.005 times the data's: a change of units from there on
    unit, factor = (1e-10, np.float32(scale / 1e-10)) if scale < 1 else (1.0, np.float32(scale))
    here = observed(mode)(jnp.asarray(ROW * np.float32(unit)))
    there = observed(mode)(jnp.asarray(ROW * np.float32(scale)))
    for name in ("max", "min", "median", "sort"):
        np.testing.assert_allclose(there[name], here[name] * factor, rtol=1e-4)
    np.testing.assert_allclose(there["argmax"], here["argmax"], atol=2e-5)
    for name in ("rank", "slope", "slopes"):
        np.testing.assert_allclose(there[name], here[name], atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("level", [0.0, 3.0, 1e30, -1e-30])
def test_a_constant_row_has_uniform_weights_and_finite_gradients(level, mode):
    of = observed(mode)(jnp.full(5, level, jnp.float32))
    np.testing.assert_allclose(of["argmax"], 0.2, atol=1e-6)
    for name, uniform in (("slope", 0.2), ("slopes", 0.2), ("rank", 3.0)):
        np.testing.assert_allclose(of[name], uniform, atol=1e-5)
    for name in ("max", "min", "median", "sort"):
        np.testing.assert_allclose(of[name], level, rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bad", [jnp.inf, -jnp.inf])
def test_one_infinity_stays_local(bad, mode):
    of, others = observed(mode)(jnp.asarray(ROW).at[1].set(bad)), observed(mode)(jnp.asarray(np.delete(ROW, 1)))
    near, far, place = ("max", "min", -1) if bad > 0 else ("min", "max", 0)
    np.testing.assert_allclose(of[far], others[far], rtol=1e-6)
    assert of[near] == of["sort"][place] == bad
    np.testing.assert_allclose(np.delete(of["sort"], place), others["sort"], rtol=2e-5)
    assert of["rank"][1] == (5 if bad > 0 else 1)
    np.testing.assert_allclose(np.delete(of["rank"], 1), others["rank"] + np.float32(bad < 0), rtol=2e-5)
    slopes = np.delete(np.delete(of["slopes"], place, 0), 1, 1)
    np.testing.assert_allclose(slopes, others["slopes"], atol=1e-4)
    assert jnp.isfinite(of["slopes"]).all()


@pytest.mark.parametrize("mode", MODES)
def test_nan_is_last_and_poisons_only_what_it_touches(mode):
    of, others = observed(mode)(jnp.asarray(ROW).at[1].set(jnp.nan)), observed(mode)(jnp.asarray(np.delete(ROW, 1)))
    assert jnp.isnan(of["sort"]).tolist() == [False] * 4 + [True]
    np.testing.assert_allclose(of["sort"][:-1], others["sort"], rtol=2e-5)
    for name in ("max", "min", "median"):
        assert jnp.isnan(of[name])
    assert of["argmax"].tolist() == [0.0, 1.0, 0.0, 0.0, 0.0]
    assert jnp.isfinite(of["slopes"][:-1]).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("hidden", [1e10, jnp.inf, -jnp.inf, jnp.nan])
def test_a_masked_entry_changes_nothing(hidden, mode):
    mask = jnp.array([True, False, True, True, True])
    of = observed(mode)(jnp.asarray(ROW).at[1].set(hidden), mask)
    others = observed(mode)(jnp.asarray(np.delete(ROW, 1)))
    assert of["argmax"][1] == of["slope"][1] == of["rank"][1] == 0
    np.testing.assert_allclose(np.delete(of["argmax"], 1), others["argmax"], atol=1e-6)
    np.testing.assert_allclose(np.delete(of["rank"], 1), others["rank"], rtol=2e-5)
    np.testing.assert_allclose(np.delete(of["slope"], 1), others["slope"], atol=1e-5)
    for name in ("max", "min", "median"):
        np.testing.assert_allclose(of[name], others[name], rtol=2e-5)
    np.testing.assert_allclose(of["sort"][:4], others["sort"], rtol=2e-5)
    np.testing.assert_array_equal(of["sort"][4], hidden)


@pytest.mark.parametrize("mode", MODES)
def test_a_row_with_nothing_left_is_uniform_and_has_no_value(mode):
    of = observed(mode)(jnp.asarray(ROW), jnp.zeros(5, bool))
    np.testing.assert_allclose(of["argmax"], 0.2)
    for name in ("max", "min", "median"):
        assert jnp.isnan(of[name])
    assert of["slope"].tolist() == [0.0] * 5
    assert of["rank"].tolist() == [0.0] * 5


@pytest.mark.parametrize("algorithm", ["softsort", "neuralsort"])
def test_ties_are_symmetric(algorithm):
    @jax.jit
    def observe(x):
        slope = jax.grad(lambda x: sft.max(x, algorithm=algorithm))(x)
        return sft.argmax(x, algorithm=algorithm).probs, sft.rank(x, algorithm=algorithm), slope

    for tied in observe(jnp.array([2.0, 2.0, 1.0, 2.0])):
        np.testing.assert_allclose(tied[jnp.array([1, 3])], tied[0], rtol=1e-6)
    assert observe(jnp.ones(4))[1].tolist() == [2.5] * 4


# Scale


def weights_by_hand(x, s, where=True):
    """`softmax(sigmoid((x - mean) / std) / s)` in Python's own arithmetic, `std^2 = var + 1e-6 var / (var + 1e-4)`."""
    kept = [float(v) for v, keep in zip(x, np.broadcast_to(where, len(x)), strict=True) if keep]
    mean = math.fsum(kept) / len(kept)
    var = math.fsum((v - mean) ** 2 for v in kept) / len(kept)
    std = math.sqrt(var + 1e-6 * var / (var + 1e-4))
    powers = [math.exp(1 / (1 + math.exp(-(v - mean) / std)) / s) for v in kept]
    return np.array(powers) / math.fsum(powers)


@jax.jit
def extremes(x):
    return sft.argmax(x).probs, sft.max(x), sft.min(x)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e-4, 1e-2, 1.0, 1e3, 1e18, 1e30])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_the_weights_are_the_formula_at_every_scale(dtype, tolerance, scale):
    with jax.enable_x64(dtype == np.float64):
        x = (ROW * scale).astype(dtype)
        expected = weights_by_hand(x, 0.1)
        weights, largest, smallest = extremes(x)
        assert weights.dtype == dtype
        np.testing.assert_allclose(weights, expected, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(largest, expected @ x, rtol=tolerance)
        np.testing.assert_allclose(smallest, weights_by_hand(-x, 0.1) @ x, rtol=tolerance)
        # a half percent of the deviation is all that scale does
        np.testing.assert_allclose(expected, weights_by_hand(ROW, 0.1), atol=5e-3)


@cache
def weight_slope(mode):
    return jax.jit(jax.jacfwd(lambda x: sft.argmax(x, mode=mode).probs))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_gradient_of_a_weight_has_the_inverse_unit(scale, mode):
    unit = 1e-10 if scale < 1 else 1.0
    slope = weight_slope(mode)
    here, there = slope(jnp.asarray(ROW * np.float32(unit))), slope(jnp.asarray(ROW * np.float32(scale)))
    np.testing.assert_allclose(there * np.float32(scale), here * np.float32(unit), atol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_narrow_floats_are_standardised_in_wide_ones(dtype):
    x = jnp.asarray(ROW, dtype)
    for scale in (1.0, 2.0**10, 2.0**-10):
        weights, *_ = extremes(x * scale)
        assert weights.dtype == dtype
        expected = weights_by_hand(np.asarray(x * scale, np.float64), 0.1)
        np.testing.assert_allclose(np.asarray(weights, float), expected, atol=float(jnp.finfo(dtype).eps))


def test_a_shift_of_the_data_changes_nothing(x64):
    row = ROW.astype(np.float64)
    expected, *_ = extremes(row)
    assert expected.dtype == np.float64
    for shift in (-3.0, 1e3, 2.0**20):
        np.testing.assert_allclose(extremes(row + shift)[0], expected, atol=1e-8)


@cache
def of_rows(mode):
    def observe(x):
        out = [getattr(sft, name)(x, axis=1, mode=mode) for name in ("max", "min")]
        return out, sft.argmax(x, axis=1, mode=mode).probs

    return jax.jit(lambda x: (*observe(x), jax.jacrev(lambda x: observe(x)[0])(x)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bad", [jnp.inf, -jnp.inf, jnp.nan])
def test_a_bad_row_does_not_touch_its_neighbours(bad, mode):
    row = jnp.asarray(ROW)
    values, weights, slopes = of_rows(mode)(jnp.stack([row, row.at[2].set(bad), jnp.full(5, bad)]))
    clean = of_rows(mode)(jnp.stack([row, row, row]))
    for value, slope, expected, steep in zip(values, slopes, clean[0], clean[2], strict=True):
        assert value[0] == expected[0]
        np.testing.assert_array_equal(slope[0], steep[0])
        np.testing.assert_array_equal(value[2], bad)
        assert jnp.isfinite(slope).all()
    np.testing.assert_array_equal(weights[0], clean[1][0])
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)


@cache
def masked_indices(mode):
    return jax.jit(lambda x, mask: [fn(x, axis=1, where=mask, mode=mode) for fn in (sft.argmax, sft.argmin)])


@pytest.mark.parametrize("mode", MODES)
def test_masks_by_hand(mode):
    mask = np.array([[True, False, True, True, False], [False, False, False, True, False]])
    largest, smallest = masked_indices(mode)(jnp.stack([jnp.asarray(ROW), jnp.asarray(ROW)]), mask)
    for index, hard, sign in ((largest, 2, 1), (smallest, 0, -1)):
        np.testing.assert_array_equal(np.where(mask, 0, index.probs), 0)
        np.testing.assert_array_equal(index.probs[1], [0, 0, 0, 1, 0])
        assert index.hard().tolist() == [hard, 3]
        if mode == "smooth":
            np.testing.assert_allclose(index.probs[0][mask[0]], weights_by_hand(sign * ROW, 0.1, mask[0]), rtol=1e-5)


SOFTNESSES = (1e-30, 1e-4, 1e30)


@cache
def softened(mode):
    """The maximum and its slope at every softness, static and traced."""
    observe = jax.value_and_grad(lambda x, s: sft.max(x, softness=s, mode=mode))
    return jax.jit(lambda x, traced: [[observe(x, s) for s in SOFTNESSES], lax.map(lambda s: observe(x, s), traced)])


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("mode", MODES)
def test_extreme_softness_at_extreme_scale_is_finite(mode, scale):
    x = jnp.asarray(ROW * np.float32(scale))
    static, traced = softened(mode)(x, jnp.array(SOFTNESSES, jnp.float32))
    for values, slopes in (map(jnp.stack, zip(*static, strict=True)), traced):
        assert jnp.isfinite(values).all()
        assert jnp.isfinite(slopes).all()
        assert values[0] == x.max()
        np.testing.assert_allclose(values[-1], x.mean(), rtol=1e-5)
