"""Laws of the elementwise functions and comparisons in every mode, on drawn numbers, ties and signed zeros."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import softtypes as sft
from tests.laws import MODES, close, finite, reals
from tests.laws import double_precision as double_precision

modes = pytest.mark.parametrize("mode", MODES)
softnesses = st.sampled_from([0.1, 0.5, 2.0])
VECTOR = ((24,),)  # one shape for all: each function is compiled once

UNARY = {
    "heaviside": lambda x: jnp.heaviside(x, 0.5),
    "sigmoidal": lambda x: jnp.heaviside(x, 0.5),
    "sign": jnp.sign,
    "abs": jnp.abs,
    "relu": jax.nn.relu,
    "softrelu": jax.nn.relu,
    "round": jnp.round,
    "clip": lambda x: jnp.clip(x, -1.0, 2.0),
}
BINARY = {"maximum": jnp.maximum, "minimum": jnp.minimum}
COMPARISONS = {
    name: getattr(jnp, name)
    for name in ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "isclose")
}


def unary(name, **knobs):
    """The plain function, with the bounds of the table where it takes any."""
    bounds = (-1.0, 2.0) if name == "clip" else ()
    return lambda x: getattr(sft, name)(x, *bounds, **knobs)


def probability(name, **knobs):
    return lambda x, y: getattr(sft, name)(x, y, **knobs).probs


def everything(**knobs):
    """All functions of this file by name, as functions of two arrays that return an array."""
    table = {name: lambda x, y, f=unary(name, **knobs): f(x) for name in UNARY}
    table |= {name: lambda x, y, f=getattr(sft, name): f(x, y, **knobs) for name in BINARY}
    return table | {name: probability(name, **knobs) for name in COMPARISONS}


EXACT = {name: lambda x, y, f=f: f(x) for name, f in UNARY.items()} | BINARY | COMPARISONS


def wide(*arrays):
    """The arrays repeated to that shape."""
    return (np.resize(a, VECTOR[0]) for a in arrays)


def crossed(x, y):
    return wide(*(a.ravel() for a in np.meshgrid(x, y)))


def derivative(f):
    return lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1]


def test_numbers_of_any_kind_are_arrays():
    for name, f in everything(mode="c1").items():
        for x in (0.25, np.float64(0.25), np.asarray(0.25), jnp.float64(0.25)):
            close(f(x, 0.75), f(jnp.array([0.25]), jnp.array([0.75]))[0])
            assert f(x, 0.75).dtype == np.float64, name


# The step and its kin

STEPS = {
    "smooth": lambda x, s: 1 / (1 + np.exp(-x / s)),
    "c0": lambda x, s: (1 + np.clip(x / (5 * s), -1, 1)) / 2,
    "c1": lambda x, s: np.polyval([-1 / 4, 0, 3 / 4, 1 / 2], np.clip(x / (5 * s), -1, 1)),
    "c2": lambda x, s: np.polyval([3 / 16, 0, -5 / 8, 0, 15 / 16, 1 / 2], np.clip(x / (5 * s), -1, 1)),
}


@modes
@given(xs=reals(1, VECTOR), s=softnesses)
def test_the_step_is_its_formula(mode, xs, s):
    close(sft.sigmoidal(xs[0], softness=s, mode=mode), STEPS[mode](xs[0], s))
    close(sft.heaviside(xs[0], softness=s, mode=mode), STEPS[mode](xs[0], s))


@modes
@given(xs=reals(1, VECTOR), s=softnesses)
def test_the_step_and_its_mirror_image_sum_to_one(mode, xs, s):
    step = unary("heaviside", softness=s, mode=mode)
    close(step(xs[0]) + step(-xs[0]), np.ones(xs[0].shape))
    assert ((step(xs[0]) >= 0) & (step(xs[0]) <= 1)).all()


@modes
@given(xs=reals(1, VECTOR), s=softnesses)
def test_sign_is_odd_and_abs_even(mode, xs, s):
    (x,) = xs
    sign, absolute = unary("sign", softness=s, mode=mode), unary("abs", softness=s, mode=mode)
    close(sign(x), 2 * STEPS[mode](x, s) - 1)
    np.testing.assert_array_equal(sign(-x), -sign(x))
    np.testing.assert_array_equal(absolute(-x), absolute(x))
    close(absolute(x), x * sign(x))
    assert (absolute(x) <= np.abs(x)).all()


@modes
@given(xs=reals(1, VECTOR), s=softnesses)
def test_relu_is_the_integral_of_the_step(mode, xs, s):
    (x,) = map(jnp.asarray, xs)
    relu = unary("relu", softness=s, mode=mode)
    close(derivative(relu)(x), sft.heaviside(x, softness=s, mode=mode))
    close(relu(jnp.float64(-100.0)), 0)
    close(relu(jnp.float64(100.0)), 100)
    close(relu(x), sft.softrelu(x, softness=s, mode=mode))
    assert (relu(x) >= np.maximum(x, 0)).all()


@modes
@pytest.mark.parametrize("gated", [False, True])
@given(xs=reals(1, VECTOR), s=softnesses)
def test_relu_minus_its_mirror_image_is_the_identity(gated, mode, xs, s):
    relu = unary("relu", softness=s, mode=mode, gated=gated)
    close(relu(xs[0]) - relu(-xs[0]), xs[0])


@modes
@given(xs=reals(1, VECTOR), s=softnesses)
def test_gated_relu_is_the_input_times_the_step(mode, xs, s):
    close(sft.relu(xs[0], softness=s, mode=mode, gated=True), xs[0] * STEPS[mode](xs[0], s))


@modes
@pytest.mark.parametrize("gated", [False, True])
@given(xs=reals(1, VECTOR), s=softnesses)
def test_clip_is_a_difference_of_relus(gated, mode, xs, s):
    (x,), knobs = xs, {"softness": s, "mode": mode, "gated": gated}
    relu = unary("relu", **knobs)
    close(sft.clip(x, -1.0, 2.0, **knobs), -1 + relu(x + 1) - relu(x - 2))
    close(sft.clip(x, -1.0, **knobs), -1 + relu(x + 1))
    close(sft.clip(x, max=2.0, **knobs), x - relu(x - 2))
    close(sft.clip(x, **knobs), x)
    close(sft.clip(-x, -2.0, 1.0, **knobs), -sft.clip(x, -1.0, 2.0, **knobs))


@modes
@pytest.mark.parametrize("gated", [False, True])
@given(xs=reals(2, VECTOR), s=softnesses)
def test_maximum_and_minimum_share_the_sum(gated, mode, xs, s):
    (x, y), knobs = xs, {"softness": s, "mode": mode, "gated": gated}
    high, low = sft.maximum(x, y, **knobs), sft.minimum(x, y, **knobs)
    close(high, y + sft.relu(x - y, **knobs))
    close(low, x - sft.relu(x - y, **knobs))
    close(high + low, x + y)
    close(high, sft.maximum(y, x, **knobs))
    close(low, sft.minimum(y, x, **knobs))
    close(low, -sft.maximum(-x, -y, **knobs))


@modes
@given(xs=reals(1, VECTOR), s=st.sampled_from([0.05, 0.1]), m=st.integers(-9, 9))
def test_round_commutes_with_integers_and_reflection(mode, xs, s, m):
    (x,) = xs
    round_ = unary("round", softness=s, mode=mode)
    close(round_(x + m), round_(x) + m)
    close(round_(-x), -round_(x))
    close(sft.round(x, 1, softness=s, mode=mode), round_(x * 10) / 10)


@modes
def test_round_keeps_every_digit_of_a_large_number(mode):
    (x,) = wide(np.array([2.0**23 + 1, 1e30, -(2.0**22) - 1], np.float32))
    np.testing.assert_array_equal(sft.round(x, softness=0.01, mode=mode), x)


def test_round_sums_over_the_neighbors_asked_for():
    s, x = 1.0, 0.3
    step = lambda x: 1 / (1 + np.exp(-x / s))
    for radius in (0, 1, 3):
        expected = sum(m * (step(x - m + 0.5) - step(x - m - 0.5)) for m in range(-radius, radius + 1))
        close(sft.round(x, softness=s, neighbor_radius=radius), expected)


@modes
@given(xs=reals(2, VECTOR), s=softnesses)
def test_monotonicity(mode, xs, s):
    low, high = np.minimum(*xs), np.maximum(*xs)
    for name in ("heaviside", "sign", "relu", "clip", "round"):
        f = unary(name, softness=s, mode=mode)
        assert (f(low) <= f(high) + 1e-12).all(), name
    absolute = unary("abs", softness=s, mode=mode)
    assert (absolute(np.minimum(*np.abs(xs))) <= absolute(np.maximum(*np.abs(xs))) + 1e-12).all()


@modes
@given(xs=reals(2, VECTOR), s=softnesses, scale=st.sampled_from([0.25, 4.0, 2.0**30]))
def test_homogeneity(mode, xs, s, scale):
    """Numbers and softness in another unit: the values follow, the probabilities stay."""
    x, y = xs
    here, there = everything(softness=s, mode=mode), everything(softness=s * scale, mode=mode)
    for name in ("relu", "abs", "maximum", "minimum"):
        close(there[name](x * scale, y * scale) / scale, here[name](x, y))
    for name in ("heaviside", "sign", "greater", "less", "equal", "not_equal"):
        close(there[name](x * scale, y * scale), here[name](x, y), 1e-8)


@pytest.mark.parametrize(
    ("mode", "order", "right", "left"),
    [("c0", 1, 1 / 2, 1 / 2), ("c1", 2, -3 / 2, 3 / 2), ("c2", 3, 15 / 2, 15 / 2)],
)
def test_the_step_is_so_many_times_differentiable_and_no_more(mode, order, right, left):
    """In units of the reach 5s: derivatives below `order` pass the knots at +-1, that order jumps there to 0."""
    s, hair = 0.3, 1e-9
    reach, f = 5 * s, unary("heaviside", softness=s, mode=mode)
    for n in range(order + 1):
        for knot, jump in ((reach, right), (-reach, left)):
            inside, outside = f(jnp.float64(knot * (1 - hair))), f(jnp.float64(knot * (1 + hair)))
            if n < order:
                close(inside, outside, 1e-6)
            else:
                close(inside, jump / reach**order, 1e-6)
                close(outside, 0)
        f = derivative(f)


def test_the_smooth_step_has_all_derivatives():
    f = unary("heaviside", softness=0.5)
    for value in (0.5, 0.25 / 0.5, 0.0, -0.125 / 0.5**3):
        close(f(jnp.float64(0.0)), value)
        f = derivative(f)


# Comparisons


@modes
@given(xs=reals(2, VECTOR), s=softnesses)
def test_a_comparison_is_the_step_of_the_difference(mode, xs, s):
    x, y = xs
    p = {name: probability(name, softness=s, mode=mode)(x, y) for name in COMPARISONS}
    for name in ("greater", "greater_equal"):
        close(p[name], STEPS[mode](x - y, s), 1e-8)
    for name in ("less", "less_equal"):
        close(p[name], STEPS[mode](y - x, s), 1e-8)
    distance = np.abs(x - y) * (2 * STEPS[mode](np.abs(x - y), s) - 1)
    close(p["equal"], 2 * STEPS[mode](-distance, s), 1e-8)
    close(p["greater"] + p["less_equal"], np.ones(x.shape))
    close(p["greater_equal"] + p["less"], np.ones(x.shape))
    close(p["equal"] + p["not_equal"], np.ones(x.shape))


@modes
@given(xs=reals(2, VECTOR), s=softnesses)
def test_comparisons_swap_sides(mode, xs, s):
    x, y = xs
    p = {name: probability(name, softness=s, mode=mode) for name in COMPARISONS}
    close(p["greater"](x, y), p["less"](y, x))
    close(p["greater_equal"](x, y), p["less_equal"](y, x))
    for name in ("equal", "not_equal"):
        close(p[name](x, y), p[name](y, x))


@modes
@given(xs=reals(2, VECTOR), s=softnesses)
def test_probabilities_lie_in_the_unit_interval(mode, xs, s):
    for name in COMPARISONS:
        for dtype in (np.float32, np.float64):
            x, y = (x.astype(dtype) for x in xs)
            getattr(sft, name)(x, y, softness=s, mode=mode).validate()


@modes
@pytest.mark.parametrize("s", [1e-30, 1e-3, 0.1, 1e30])
def test_ties(mode, s):
    (x,) = wide(np.array([0.0, -2.0, 1e20]))
    p = {name: probability(name, softness=s, mode=mode)(x, x) for name in COMPARISONS}
    tie = {name: 0.5 if s > 1e-10 else float(f(0.0, 0.0)) for name, f in COMPARISONS.items()}
    for name in ("greater", "greater_equal", "less", "less_equal"):
        close(p[name], np.full(24, tie[name]), 1e-6)
    close(p["equal"], np.ones(24), 1e-6)
    close(p["not_equal"], np.zeros(24), 1e-6)
    close(p["isclose"], np.ones(24), 1e-6)


# isclose

TOLERANCES = [(0.0, 0.0), (1e-5, 1e-8), (0.1, 0.5), (0.0, 3.0)]
tolerances = pytest.mark.parametrize(("rtol", "atol"), TOLERANCES)


@modes
@tolerances
@given(xs=reals(2, VECTOR), s=softnesses)
def test_isclose_is_one_at_distance_zero_and_falls_with_distance(rtol, atol, mode, xs, s):
    y, step = xs
    near, far = np.abs(step), np.abs(step) * 1.5 + 0.01
    p = lambda d: sft.isclose(y + d, y, rtol, atol, softness=s, mode=mode).probs
    close(p(0 * y), np.ones(y.shape), 1e-8)
    assert (p(far) <= p(near) + 1e-12).all()
    assert ((p(near) >= 0) & (p(near) <= 1)).all()


@modes
@given(xs=reals(2, VECTOR), s=softnesses)
def test_isclose_without_tolerance_is_equal(mode, xs, s):
    close(
        sft.isclose(*xs, rtol=0.0, atol=0.0, softness=s, mode=mode).probs,
        sft.equal(*xs, softness=s, mode=mode).probs,
    )


@modes
@tolerances
@pytest.mark.parametrize("s", [0.0, 1e-30])
def test_isclose_is_the_exact_test_in_the_limit(rtol, atol, mode, s):
    x, y = crossed(np.linspace(-4.3, 4.3, 6), np.linspace(-3.1, 3.1, 4))
    out = sft.isclose(x, y, rtol, atol, softness=s, mode=mode)
    np.testing.assert_array_equal(out.probs, np.isclose(x, y, rtol, atol))
    np.testing.assert_array_equal(out.hard(), np.isclose(x, y, rtol, atol))


@modes
@pytest.mark.parametrize("equal_nan", [False, True])
def test_isclose_of_infinities_and_nan_is_exact(mode, equal_nan):
    ends = np.array([np.inf, -np.inf, np.nan, 1.0])
    x, y = crossed(ends, ends)
    out = sft.isclose(x, y, equal_nan=equal_nan, mode=mode)
    np.testing.assert_array_equal(out.probs, np.isclose(x, y, equal_nan=equal_nan))


# Everywhere


@pytest.mark.parametrize("knobs", [{"softness": 0.0}, {"mode": "hard"}, {"softness": np.float64(0.0)}])
@modes
def test_softness_zero_and_mode_hard_are_the_exact_functions(mode, knobs):
    x, y = crossed(np.array([-2.5, -0.0, 0.0, 0.5, 1.0, np.inf]), np.array([-2.5, 0.0, 0.5, np.inf]))
    for name, f in everything(**({"mode": mode} | knobs)).items():
        np.testing.assert_array_equal(f(x, y), EXACT[name](x, y).astype(float), err_msg=name)


@modes
@given(xs=reals(2, VECTOR), s=st.sampled_from([1e-30, 1e-9, np.float64(1e-30)]))
def test_the_hard_limit_away_from_ties(mode, xs, s):
    x, y = (np.floor(x) + fraction for x, fraction in zip(xs, (0.25, 0.375), strict=True))
    for name, f in everything(softness=s, mode=mode).items():
        np.testing.assert_allclose(f(x, y), EXACT[name](x, y).astype(float), atol=1e-8, err_msg=name)


@modes
def test_infinities_stay_what_they_are(mode):
    x, y = crossed([-np.inf, 100.0, np.inf], [-np.inf, 200.0, np.inf])
    for name, f in everything(mode=mode).items():
        np.testing.assert_allclose(f(x, y), EXACT[name](x, y).astype(float), atol=1e-6, err_msg=name)


@modes
def test_nan_touches_nothing_else(mode):
    x, y = wide(np.array([np.nan, 0.3, 0.7]), np.array([0.1, np.nan, 0.2]))
    clean = ~np.isnan(x + y)
    for name, f in everything(mode=mode).items():
        value, pull = jax.vjp(f, x, y)
        close(value[clean], f(np.full(24, 0.7), np.full(24, 0.2))[clean])
        assert finite([g[clean] for g in pull(np.ones(24))]), name


GRID = np.array([-0.0, 1e-30, 1e-3, -3.7, 1e30, -1e30], np.float32)


@modes
@pytest.mark.parametrize("s", [1e-30, 1e30, "leaf"])
def test_any_softness_gives_finite_values_and_gradients(s, mode):
    x, y = crossed(GRID, GRID[[0, 1, 3, 4]])
    softness = np.resize(np.array([1e-30, 1e30, 0.1, 0.0, 1e-3, 1e3, 1e-12], np.float32), x.shape)
    for gated in (False, True):
        for name in EXACT if not gated else ("relu", "clip", "maximum"):
            f = lambda x, y, s, name=name, gated=gated: everything(softness=s, mode=mode, gated=gated)[name](x, y)
            if s == "leaf":
                out, pull = jax.vjp(f, x, y, softness)
            else:
                out, pull = jax.vjp(lambda x, y, f=f: f(x, y, s), x, y)
            assert finite((out, pull(np.ones_like(out)))), name


SPECIAL = np.array([0.0, -1e-3, 0.4, -7.0, 3e38, -3e38, np.inf, -np.inf], np.float32)


@pytest.mark.parametrize("mode", ["smooth", pytest.param("c1", marks=pytest.mark.slow)])
def test_a_constant_softness_is_a_traced_one_to_the_second_derivative(mode):
    """Also where an infinity, or a number whose quotient overflows, could meet a zero."""
    x, y = crossed(SPECIAL, SPECIAL[[0, 2, 6]])
    for name in EXACT:

        def derivatives(s, name=name):
            f = lambda x, y: everything(softness=s, mode=mode)[name](x, y)
            along = lambda f: lambda x, y: jax.jvp(f, (x, y), (jnp.ones_like(x), jnp.zeros_like(y)))[1]
            return [g(x, y) for g in (f, along(f), along(along(f)))]

        for constant, traced in zip(derivatives(0.25), derivatives(jnp.float32(0.25)), strict=True):
            np.testing.assert_allclose(constant, traced, rtol=2e-6, atol=2e-6, err_msg=name)


def test_second_derivatives_at_zero():
    s, zero = 0.25, jnp.zeros(1)
    curvature = lambda f: jax.grad(lambda x: jax.grad(lambda x: f(x).sum())(x).sum())(zero)
    for f, expected in (
        (lambda x: sft.abs(x, softness=s), 1 / s),
        (lambda x: sft.relu(x, softness=s), 1 / (4 * s)),
        (lambda x: sft.maximum(x, zero, softness=s), 1 / (4 * s)),
        (lambda x: sft.clip(x, zero, 100.0, softness=s), 1 / (4 * s)),
    ):
        close(curvature(f), np.array([expected]))


@modes
def test_clip_keeps_its_digits_however_large_the_softness(mode):
    """Each of its two relus is of the size of the softness, and what is left of both of that of the bounds."""
    x = np.linspace(-3.0, 3.0, 24, dtype=np.float32)
    clip = lambda x, s: sft.clip(x, x.dtype.type(1.0), x.dtype.type(1.5), softness=s, mode=mode)
    for s in (1.0, 1e2, 1e4, 1e8):
        expected = jax.jvp(lambda x, s=s: clip(x, s), (x.astype(np.float64),), (np.ones(24),))
        for softness in (s, np.float32(s)):
            found = jax.jvp(lambda x, s=softness: clip(x, s), (x,), (np.ones(24, np.float32),))
            np.testing.assert_allclose(found, expected, rtol=0, atol=5e-7, err_msg=str(s))


@modes
def test_bounds_the_wrong_way_round_give_the_upper_one_as_jnps(mode):
    x, upper = jnp.linspace(-3, 3, 13), 0.7
    clip = lambda x, low, high: sft.clip(x, low, high, mode=mode)
    np.testing.assert_array_equal(clip(x, 2.0, upper), np.full(13, upper))
    slopes = jax.grad(lambda *args: clip(*args).sum(), (0, 1, 2))(x, 2.0, upper)
    for slope, expected in zip(slopes, (np.zeros(13), 0, 13), strict=True):
        close(slope, expected)


def test_the_slopes_of_clip_are_those_of_its_relus():
    x, low, high, s = jnp.linspace(-3, 3, 25), -1.0, 0.5, 0.3
    slopes = jax.grad(lambda *args: sft.clip(*args, softness=s).sum(), (0, 1, 2))(x, low, high)
    into, beyond = (1 / (1 + np.exp(-(np.asarray(x) - bound) / s)) for bound in (low, high))
    for slope, expected in zip(slopes, (into - beyond, (1 - into).sum(), beyond.sum()), strict=True):
        close(slope, expected)


@modes
def test_a_softness_per_element_is_a_loop(mode):
    x, y, s = wide(np.array([0.3, -0.2, 2.0]), np.array([0.1, 0.0, 1.9]), np.array([0.1, 1.0, 0.0]))
    for name in EXACT:
        out = everything(softness=s, mode=mode)[name](x, y)
        for i in range(3):
            close(out[i], everything(softness=float(s[i]), mode=mode)[name](x, y)[i])


@modes
def test_vmap_is_a_loop(mode):
    x, y, s = np.array([0.3, -0.2, 2.0]), np.array([0.1, 0.0, 1.9]), np.array([0.1, 1.0, 0.0])

    def program(x, y, s):
        x = sft.soft(x, s, mode)
        return (x.relu() - sft.clip(x, y, 1.0) + x.round() * x.sign()).where(x > y, sft.maximum(x, y).abs())

    mapped = jax.vmap(program)(x, y, s)
    for i in range(3):
        one = program(x[i], y[i], jnp.asarray(s[i]))
        close(mapped.soft()[i], one.soft())
        close(mapped.hard()[i], one.hard())
