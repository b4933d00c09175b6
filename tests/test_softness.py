"""Softness: static or traced, one or one an element, 0 and the far ends of the scale, merged, differentiated."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft

MODES = ("smooth", "c0", "c1", "c2")
FAMILIES = ("product", "godel", "lukasiewicz", "geometric")

# Functions of two SoftArrays of shape (rows, n) that act on each row by itself, so that a softness one a row fits all.
ELEMENTWISE = {
    "abs": lambda x, y: x.abs(),
    "sign": lambda x, y: x.sign(),
    "heaviside": lambda x, y: x.heaviside(),
    "relu": lambda x, y: x.relu(),
    "gated relu": lambda x, y: x.relu(gated=True),
    "round": lambda x, y: x.round(),
    "round to tenths": lambda x, y: x.round(1),
    "clip": lambda x, y: x.clip(-0.5, 0.5),
    "clip below": lambda x, y: x.clip(y),
    "maximum": sft.maximum,
    "gated minimum": lambda x, y: sft.minimum(x, y, gated=True),
}
COMPARISONS = {
    "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y,
    ">": lambda x, y: x > y,
    ">=": lambda x, y: x >= y,
    "==": lambda x, y: x == y,
    "!=": lambda x, y: x != y,
    "isclose": lambda x, y: sft.isclose(x, y, atol=0.25),
}
LOGIC = {
    "&": lambda x, y: (x > y) & (x < 1.0),
    "|": lambda x, y: (x > y) | (x < -1.0),
    "^": lambda x, y: (x > y) ^ (x < 1.0),
    "implies": lambda x, y: (x > y).implies(~(y > x)),
    "all": lambda x, y: (x > y).all(axis=1),
    "any": lambda x, y: (x > y).any(axis=1),
}
SELECTION = {
    "where": lambda x, y: (x > y).where(x, y),
    "where of bools": lambda x, y: (x > y).where(x > 0.0, y > 0.0),
    "take": lambda x, y: x.argmax(axis=1).take(y.soft()[0]),
    "take_along_axis": lambda x, y: sft.take_along_axis(y, x.argmin(axis=1, keepdims=True), axis=1),
    "where of indices": lambda x, y: (x > y).any(axis=1).where(x.argmax(axis=1), y.argmax(axis=1)),
    "index <": lambda x, y: x.argmax(axis=1) < y.argmax(axis=1),
}
EXTREMES = {
    "max": lambda x, y: x.max(axis=1),
    "min as it is": lambda x, y: x.min(axis=1, standardize=False),
    "argmax": lambda x, y: x.argmax(axis=1),
    "argmin as it is": lambda x, y: x.argmin(axis=1, standardize=False),
}
GROUPS = {
    "elementwise": ELEMENTWISE,
    "comparisons": COMPARISONS,
    "logic": LOGIC,
    "selection": SELECTION,
    "extremes": EXTREMES,
}
OPERATORS = {name: fn for group in GROUPS.values() for name, fn in group.items()}

# Rows of data with ties and zeros, each with a softness of the scale; rows without them, at both ends of the descent to
# 0 and at three neighbours for a difference quotient; and softness 0 where there are ties. One evaluation serves all.
TIED = ((-1.25, 0.0, 0.75, 0.75, 2.5), (0.5, 0.0, 0.75, -0.25, 2.25))
APART = ((-1.375, 0.1875, 0.625, 2.125, 2.625), (0.5, -0.25, 0.9375, 2.3125, 0.3125))
SCALE = (1e-30, 1e-20, 1e-10, 1e-5, 1e-3, 0.1, 1.0, 1e3, 1e5, 1e10, 1e20, 1e30)
STEP = 1e-5
ROWS = [*((TIED, s) for s in SCALE), (TIED, 0.0), (APART, 0.0), (APART, 1e-30)]
ROWS += [(APART, 0.37 - STEP), (APART, 0.37), (APART, 0.37 + STEP)]
TINY, HUGE = 0, len(SCALE) - 1
ZEROS, LIMIT, NEIGHBOURS = slice(12, 14), slice(13, 15), slice(15, 18)


def softened(name, x, y, softness, **options):
    return OPERATORS[name](sft.soft(x, softness, **options), sft.soft(y, softness, **options))


def pair(count):
    """`count` equal rows of x and of y."""
    return tuple(jnp.tile(jnp.array(v), (count, 1)) for v in TIED)


def families_of(group, mode):
    """Logic has every family in one of the modes."""
    return FAMILIES if group == "logic" and mode == "c1" else FAMILIES[:1]


@functools.cache
def evaluated(group, mode, logic, dtype, softness=None):
    """On all rows, by operator: value, straight-through view, and gradients in x, y and the softness one a row."""
    with jax.enable_x64(dtype == "float64"):
        x, y = (jnp.array([data[i] for data, _ in ROWS], dtype) for i in range(2))
        each = jnp.array([s for _, s in ROWS], "float64" if dtype == "float64" else "float32")[:, None]

        @jax.jit
        def views_and_gradients(x, y, each):
            def views(x, y, s):
                out = {}
                for name in GROUPS[group]:
                    value = softened(name, x, y, s if softness is None else softness, mode=mode, logic=logic)
                    out[name] = value.soft(), value.st()
                return {name: soft for name, (soft, _) in out.items()}, {name: st for name, (_, st) in out.items()}

            values, pull, exact = jax.vjp(views, x, y, each, has_aux=True)
            zeros = jax.tree.map(jnp.zeros_like, values)
            gradients = {name: pull(zeros | {name: jnp.ones_like(value)}) for name, value in values.items()}
            return {name: (value, exact[name], *gradients[name]) for name, value in values.items()}

        out = views_and_gradients(x, y, each)
        for value, exact, *_ in out.values():
            assert value.dtype == exact.dtype == dtype
        return {name: [np.asarray(a).astype(np.float64) for a in found] for name, found in out.items()}


BESIDE = [pytest.mark.slow, pytest.mark.exhaustive]


def marks_of(dtype, mode):
    """Single precision is seen every day, what is seen of another mode and of narrower dtypes for a release only."""
    return {("float32", "smooth"): (), ("float64", "c1"): pytest.mark.slow}.get((dtype, mode), BESIDE)


TESTED = {"float64": ("smooth", "c1"), "float32": ("smooth",), "float16": ("c1",), "bfloat16": ("c0",)}
each_dtype_and_mode = pytest.mark.parametrize(
    ("dtype", "mode"),
    [pytest.param(dtype, mode, marks=marks_of(dtype, mode)) for dtype in TESTED for mode in TESTED[dtype]],
)
each_group = pytest.mark.parametrize("group", GROUPS)


@each_dtype_and_mode
@each_group
def test_any_softness_is_finite_and_0_and_its_neighbourhood_the_hard_limit(group, dtype, mode):
    tolerance = 8 * float(jnp.finfo(dtype).eps)
    for family in families_of(group, mode):
        for name, (value, exact, *gradients) in evaluated(group, mode, family, dtype).items():
            for what, found in zip(("value", "d/dx", "d/dy", "d/ds"), (value, *gradients), strict=True):
                assert np.isfinite(found).all(), (name, family, what, found)
            # away from ties, where a rectifier, a step and a projection know only one side
            np.testing.assert_allclose(value[LIMIT], exact[LIMIT], rtol=tolerance, atol=tolerance, err_msg=name)
            np.testing.assert_array_equal(value[ZEROS], exact[ZEROS], err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@each_group
def test_a_static_softness_of_0_is_mode_hard(group, dtype):
    static, hard = evaluated(group, "smooth", "product", dtype, 0), evaluated(group, "hard", "product", dtype, 0.5)
    for name, found in static.items():
        for a, b in zip(found, hard[name], strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)
        np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "mode"), [("float32", "smooth"), pytest.param("float64", "c1", marks=pytest.mark.exhaustive)]
)
@each_group
def test_softness_0_and_mode_hard_have_the_same_gradients(group, dtype, mode):
    hard = evaluated(group, "hard", "product", dtype, 0.5)
    for name, (*_, dx, dy, ds) in evaluated(group, mode, "product", dtype).items():
        *_, hard_dx, hard_dy, _ = hard[name]
        np.testing.assert_array_equal(dx[ZEROS], hard_dx[ZEROS], err_msg=name)
        np.testing.assert_array_equal(dy[ZEROS], hard_dy[ZEROS], err_msg=name)
        np.testing.assert_array_equal(ds[ZEROS], 0, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "mode"), [("float32", "smooth")])
@pytest.mark.parametrize("row", [TINY, pytest.param(HUGE, marks=pytest.mark.exhaustive)])
@each_group
def test_a_static_softness_at_either_end_agrees_with_a_traced_one(group, row, dtype, mode):
    tolerance = 16 * float(jnp.finfo(dtype).eps)
    traced = evaluated(group, mode, "product", dtype)
    for name, found in evaluated(group, mode, "product", dtype, SCALE[row]).items():
        assert all(np.isfinite(part).all() for part in found), name
        np.testing.assert_allclose(found[0][row], traced[name][0][row], rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["smooth", "c1"])
@each_group
def test_the_gradient_in_the_softness_is_a_difference_quotient(group, mode):
    for family in families_of(group, mode):
        for name, (value, *_, gradient) in evaluated(group, mode, family, "float64").items():
            below, _, above = value[NEIGHBOURS].reshape(3, -1).sum(1)
            quotient = (above - below) / (2 * STEP)
            np.testing.assert_allclose(gradient[NEIGHBOURS][1, 0], quotient, rtol=1e-6, atol=1e-8, err_msg=name)


def test_only_the_elements_of_softness_0_are_hard():
    x = jnp.array([-0.5, 0.5, -0.5, 0.5])
    value = sft.soft(x, jnp.array([0.0, 0.0, 0.5, 0.5])).relu().soft()
    np.testing.assert_array_equal(value[:2], [0, 0.5])
    np.testing.assert_allclose(value[2:], 0.5 * jax.nn.softplus(x[2:] / 0.5), rtol=1e-6)


# Static or traced


@pytest.mark.parametrize("softness", [0.25, 1, 0])
def test_a_number_is_part_of_the_structure(softness):
    value = sft.soft(jnp.ones(3), softness)
    assert len(jax.tree.leaves(value)) == 2
    assert jax.tree.leaves(value.relaxation) == []
    assert value.relaxation.softness == softness
    assert value.relaxation.is_static
    same, other = sft.soft(jnp.zeros(3), float(softness)), sft.soft(jnp.zeros(3), softness + 1)
    assert jax.tree.structure(value) == jax.tree.structure(same) != jax.tree.structure(other)


@pytest.mark.parametrize("softness", [jnp.array(0.25), np.float32(0.25), np.array([0.25, 1, 0]), jnp.array([1, 2, 3])])
def test_an_array_is_a_leaf(softness):
    value = sft.soft(jnp.ones(3), softness)
    leaves = jax.tree.leaves(value)
    assert len(leaves) == 3
    np.testing.assert_array_equal(leaves[2], softness)
    assert jnp.issubdtype(leaves[2].dtype, jnp.floating)
    assert not value.relaxation.is_static
    assert jax.tree.structure(value) == jax.tree.structure(sft.soft(jnp.zeros(3), softness * 2))
    assert jax.tree.structure(value) != jax.tree.structure(sft.soft(jnp.ones(3), 0.25))


@pytest.mark.parametrize("name", ["relu", "clip", ">", "isclose", "&", "where", "take", "max", "argmax"])
def test_static_and_traced_softness_agree(name):
    x, y = pair(2)
    static = softened(name, x, y, 0.3)
    for traced in (jnp.array(0.3), jnp.full((2, 1), 0.3)):
        out = softened(name, x, y, traced)
        np.testing.assert_allclose(out.soft(), static.soft(), rtol=1e-6, atol=1e-7)
        np.testing.assert_array_equal(out.hard(), static.hard())


def test_annealing_an_array_compiles_once_and_a_number_each_time():
    traces = []

    @jax.jit
    def loss(value):
        traces.append(value)
        return ((value > 0.0) & (value.relu() < 1.0)).st().sum()

    x, schedule = jnp.linspace(-1, 1, 5), (1.0, 0.5, 0.1, 0.0)
    for softness in schedule:
        loss(sft.soft(x, jnp.array(softness)))
    assert len(traces) == 1
    for softness in schedule:
        loss(sft.soft(x, softness))
    assert len(traces) == 1 + len(schedule)


def test_a_number_given_to_a_jitted_function_is_traced():
    fn = jax.jit(chex.assert_max_traces(lambda x, s: sft.soft(x, s).relu().soft(), n=1))
    x = jnp.linspace(-1, 1, 5)
    for softness in (0.25, 0.5, 0.0):
        expected = softness * jax.nn.softplus(x / softness) if softness else jax.nn.relu(x)
        np.testing.assert_allclose(fn(x, softness), expected, rtol=1e-6)


def test_vmap_over_the_owner():
    """A static softness is shared; one a row goes along with the rows."""
    x, softness = jnp.linspace(-1, 1, 6).reshape(3, 2), jnp.array([0.1, 0.5, 2.0])
    relu = jax.vmap(lambda v: v.relu())
    np.testing.assert_array_equal(relu(sft.soft(x, 0.5)).soft(), sft.soft(x, 0.5).relu().soft())
    owners = jax.vmap(sft.soft)(x, softness)
    assert owners.relaxation.softness.shape == (3,)
    expected = softness[:, None] * jax.nn.softplus(x / softness[:, None])
    np.testing.assert_allclose(relu(owners).soft(), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.lax.map(lambda v: v.relu().soft(), owners), expected, rtol=1e-5)
    swept = jax.vmap(lambda s: sft.soft(x[0], s).relu().soft())(softness)
    np.testing.assert_allclose(swept, softness[:, None] * jax.nn.softplus(x[0][None] / softness[:, None]), rtol=1e-5)


def test_a_learned_softness_descends():
    x, target = jnp.linspace(-1, 1, 5), 0.3 * jax.nn.softplus(jnp.linspace(-1, 1, 5) / 0.3)

    def loss(log_softness):
        return ((sft.soft(x, jnp.exp(log_softness)).relu().soft() - target) ** 2).sum()

    descend = jax.jit(lambda t: jax.lax.fori_loop(0, 100, lambda _, t: t - 0.5 * jax.grad(loss)(t), t))
    np.testing.assert_allclose(jnp.exp(descend(jnp.array(0.0))), 0.3, atol=1e-4)


# One softness an element

A = jnp.array([[-0.5, 0.25, 1.0], [0.75, -1.0, 0.5]])
EACH = jnp.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
STRUCTURAL = {
    "reshape": lambda v: v.reshape(3, 2),
    "reshape to new axes": lambda v: v.reshape((1, 6, 1)),
    "ravel": lambda v: v.ravel(),
    "flatten": lambda v: v.flatten(),
    "squeeze": lambda v: v.reshape(1, 2, 3).squeeze(0),
    "transpose": lambda v: v.transpose(1, 0),
    "T": lambda v: v.T,
    "swapaxes": lambda v: v.swapaxes(0, 1),
    "repeat": lambda v: v.repeat(2, axis=1),
    "repeat all": lambda v: v.repeat(2),
    "row": lambda v: v[1],
    "element": lambda v: v[1, 2],
    "slice": lambda v: v[:, ::-2],
    "new axis": lambda v: v[None, ..., None],
    "gather": lambda v: v[:, jnp.array([2, 0])],
    "mask": lambda v: v[np.array([True, False])],
    "astype": lambda v: v.astype(jnp.float16).astype(jnp.float32),
    "take": lambda v: sft.take(v, jnp.array([2, 0]), axis=1),
    "exact slice": lambda v: sft.dynamic_slice_in_dim(v, 1, 2, axis=1),
}


@pytest.mark.parametrize("softness", [EACH, EACH[:, :1], EACH[:1], EACH[0, 0]], ids=["each", "rows", "columns", "one"])
def test_changes_of_shape_commute_with_relaxed_operators(softness):
    """`fn(x).abs() == fn(x.abs())`: every element takes its softness along."""

    @jax.jit
    def both_ways(value):
        return {name: (fn(value).abs(), fn(value.abs())) for name, fn in STRUCTURAL.items()}

    for name, (there, back) in both_ways(sft.soft(A, softness)).items():
        np.testing.assert_allclose(there.soft(), back.soft(), rtol=2e-3 if name == "astype" else 1e-6, err_msg=name)
        assert there.shape == there.hard().shape == back.shape, name


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1), -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_a_reduction_takes_the_softest_of_what_it_reduces(axis, keepdims):
    @jax.jit
    def reduced(value):
        knobs = {"axis": axis, "keepdims": keepdims}
        exact = [value.sum(**knobs), value.mean(**knobs), value.prod(**knobs), value.var(**knobs), value.std(**knobs)]
        return [*exact, value.max(softness=0.1, **knobs)]

    for out in reduced(sft.soft(A, EACH)):
        np.testing.assert_array_equal(out.relaxation.softness, EACH.max(axis, keepdims=keepdims))
        assert out.relu().shape == out.shape


CHANGING = {
    "matmul": lambda v: v @ jnp.ones(3),
    "matmul from the left": lambda v: jnp.ones((4, 2)) @ v,
    "dot": lambda v: v.dot(jnp.ones((3, 2))),
    "norm": lambda v: sft.norm(v, axis=1),
    "cumsum": lambda v: v.cumsum(),
    "cumprod": lambda v: v.cumprod(axis=1),
    "broadcast": lambda v: v[:, None] + jnp.ones((1, 4, 1)),
    "selection": lambda v: v[:, sft.SoftIndex(jnp.array([0.25, 0.25, 0.5]))],
    "selection of rows": lambda v: v[sft.SoftIndex(jnp.array([0.25, 0.75]))],
    "take_along_axis": lambda v: sft.take_along_axis(v, sft.SoftIndex(jnp.full((2, 4, 3), 1 / 3)), axis=1),
    "soft slice": lambda v: sft.dynamic_slice_in_dim(v, sft.SoftIndex(jnp.array([0.5, 0.5, 0])), 2, axis=1),
    "soft index": lambda v: sft.dynamic_index_in_dim(v, sft.SoftIndex(jnp.array([0.5, 0.5, 0])), axis=1),
    "choose": lambda v: sft.choose(sft.SoftIndex(jnp.full((2, 3, 2), 0.5)), [v, -v]),
    "lift": lambda v: sft.lift(lambda a: a.sum(1))(v),
    "lift to a new axis": lambda v: sft.lift(lambda a: jnp.stack([a, a]))(v),
    "maximum": lambda v: sft.maximum(v[:, None], v[None]),
    "where": lambda v: (v > 0.0).where(v, 0.0),
    "update": lambda v: v.at[0].set(v[1]),
}


@pytest.mark.parametrize("name", CHANGING)
def test_a_softness_one_an_element_fits_every_result(name):
    out = CHANGING[name](sft.soft(A, EACH))
    shape = np.shape(out.relaxation.softness)
    assert np.broadcast_shapes(shape, out.shape) == out.shape
    assert out.soft().shape == out.hard().shape == out.relu().soft().shape == out.relu().hard().shape == out.shape
    assert EACH.min() <= jnp.min(out.relaxation.softness) <= jnp.max(out.relaxation.softness) <= EACH.max()


def test_a_selection_has_the_expected_softness():
    out = sft.soft(A, EACH)[:, sft.SoftIndex(jnp.array([0.25, 0.25, 0.5]))]
    np.testing.assert_allclose(out.relaxation.softness, EACH @ jnp.array([0.25, 0.25, 0.5]), rtol=1e-6)


def test_an_update_changes_the_softness_of_its_elements_alone():
    updated = sft.soft(A, EACH).at[0].set(sft.soft(A, EACH)[1]).relaxation.softness
    np.testing.assert_array_equal(jnp.broadcast_to(updated, (2, 3))[1], EACH[1])
    np.testing.assert_array_equal(jnp.broadcast_to(updated, (2, 3))[0], EACH[1])  # the softer of rows 0 and 1


def test_an_ordering_operator_takes_one_softness_a_row():
    message = "an ordering operator takes one softness a row"
    for fn in (lambda v: v.max(axis=1), lambda v: v.argmax(axis=1), lambda v: v.min()):
        with pytest.raises(ValueError, match=message):
            fn(sft.soft(A, EACH))
    rows = sft.soft(A, EACH[:, :1])
    for i in range(2):
        one = sft.soft(A[i], float(EACH[i, 0]))
        np.testing.assert_allclose(rows.argmax(axis=1).probs[i], one.argmax().probs, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(rows.max(axis=1).soft()[i], one.max().soft(), rtol=1e-6)


@pytest.mark.parametrize("shape", [(4,), (2, 3, 1), (3, 2), (5, 2, 3)])
def test_a_softness_that_does_not_broadcast_is_refused(shape):
    with pytest.raises(ValueError, match=r"softness of shape .* does not broadcast to the values' \(2, 3\)"):
        sft.soft(A, jnp.ones(shape))


@pytest.mark.parametrize("softness", [-0.1, -1, float("inf"), float("nan"), jnp.array([0.1, -1.0]), np.float32(np.inf)])
def test_a_softness_is_finite_and_not_negative(softness):
    with pytest.raises(ValueError, match="softness must be finite and at least 0"):
        sft.Relaxation(softness)


@pytest.mark.parametrize("softness", ["0.1", True, 1j, jnp.array(True), None, [0.1]])
def test_a_softness_is_a_real_number(softness):
    with pytest.raises(TypeError, match="softness must be a real number or a real array"):
        sft.Relaxation(softness)


# Two soft values

BOTH = {
    "+": lambda a, b: a + b,
    "*": lambda a, b: a * b,
    "maximum": sft.maximum,
    "where": lambda a, b: (a > 0.0).where(a, b),
    "choose": lambda a, b: sft.choose(sft.SoftIndex(jnp.array([0.5, 0.5])), [a, b]),
    "lift": sft.lift(jnp.arctan2),
    "clip": lambda a, b: a.clip(b),
}


@pytest.mark.parametrize("name", BOTH)
def test_the_softer_wins(name):
    x = A[0]
    for a, b, expected in (
        (0.2, 0.7, 0.7),
        (0.2, jnp.array(0.7), 0.7),
        (jnp.array(0.7), 0.2, 0.7),
        (jnp.array([0.1, 0.9, 0.5]), 0.5, [0.5, 0.9, 0.5]),
        (jnp.array([0.1, 0.9, 0.5]), jnp.array([0.3, 0.3, 0.3]), [0.3, 0.9, 0.5]),
        (0, 0.5, 0.5),
    ):
        for first, second in ((a, b), (b, a)):
            merged = BOTH[name](sft.soft(x, first), sft.soft(x, second)).relaxation
            # of functions that may mix elements anyhow, the softest of all
            softest = np.max(expected) if name in ("choose", "lift") else expected
            np.testing.assert_allclose(merged.softness, softest, rtol=1e-7)
            assert merged.is_static == (isinstance(a, float | int) and isinstance(b, float | int))


def test_a_comparison_takes_the_softer_too():
    x, y = jnp.array(0.3), jnp.array(0.1)
    for a, b in ((0.2, 0.7), (0.7, 0.2), (jnp.array(0.2), 0.7)):
        probability = (sft.soft(x, a) > sft.soft(y, b)).probs
        np.testing.assert_allclose(probability, jax.nn.sigmoid((x - y) / 0.7), rtol=1e-6)


SETTINGS = {
    "mode": ("smooth", "c1"),
    "logic": ("product", "godel"),
    "standardize": (True, False),
    "gated": (False, True),
    "gated_grad": (True, False),
    "algorithm": (None, "softsort"),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", BOTH)
def test_settings_that_differ_are_refused_and_both_named(name, setting):
    first, second = SETTINGS[setting]
    expected = (
        f"two soft values of different {setting} cannot be combined: {first!r} and {second!r}; "
        "bring one over with sft.soft(value, relaxation)"
    )
    a, b = sft.soft(A[0], **{setting: first}), sft.soft(A[0], **{setting: second})
    with pytest.raises(ValueError) as error:  # noqa: PT011
        BOTH[name](a, b)
    assert str(error.value) == expected
    assert BOTH[name](a, sft.soft(b, a.relaxation)).relaxation == a.relaxation  # the way out


def test_a_value_without_a_relaxation_takes_on_the_others():
    plain = (sft.SoftBool(jnp.array([0.5, 0.5, 0.5]))).where(1.0, 2.0)
    other = sft.soft(A[0], jnp.array(0.7), mode="c1")
    for out in (plain + other, other + plain, sft.maximum(plain, other)):
        assert (out.relaxation.mode, float(out.relaxation.softness)) == ("c1", np.float32(0.7))
    assert plain.relaxation == sft.Relaxation()


def test_keywords_hold_for_the_operator_and_the_result_carries_on():
    value = sft.soft(A[0], 0.3, mode="c2")
    out = value.relu(softness=1.0, mode="smooth")
    np.testing.assert_allclose(out.soft(), jax.nn.softplus(A[0]), rtol=1e-6)
    assert out.relaxation == value.relaxation
    assert sft.soft(value, 0.9).relaxation == value.relaxation.replace(softness=0.9)
    assert sft.soft(value, mode="c0").relaxation == sft.Relaxation(0.3, "c0")
