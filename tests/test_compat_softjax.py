"""softtypes.compat.softjax: the peer's names, signatures and layouts on plain arrays, its values where it is right."""

import inspect
import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft
import softtypes.compat.softjax as sj
from tests import test_reference as reference

# What `inspect` says of softjax 0.1.1, written once.
SIGNATURES = {
    "abs": "x, softness=0.1, mode='smooth'",
    "all": "x, axis=-1, epsilon=1e-10, use_geometric_mean=False",
    "any": "x, axis=-1, use_geometric_mean=False",
    "arccos": "x",
    "arcsin": "x",
    "argmax": "x, axis=None, keepdims=False, softness=0.1, mode='smooth', method='softsort', standardize=True, "
    "ot_kwargs=None",
    "argmedian": "x, axis=None, keepdims=False, softness=0.1, mode='smooth', method='neuralsort', standardize=True, "
    "ot_kwargs=None",
    "argmin": "x, axis=None, keepdims=False, softness=0.1, mode='smooth', method='softsort', standardize=True, "
    "ot_kwargs=None",
    "argpercentile": "x, p, axis=None, keepdims=False, softness=0.1, mode='smooth', method='neuralsort', "
    "quantile_method='linear', standardize=True, ot_kwargs=None",
    "argquantile": "x, q, axis=None, keepdims=False, softness=0.1, mode='smooth', method='neuralsort', "
    "quantile_method='linear', standardize=True, ot_kwargs=None",
    "argsort": "x, axis=None, descending=False, softness=0.1, mode='smooth', method='neuralsort', standardize=True, "
    "ot_kwargs=None",
    "choose": "soft_index, choices",
    "clip": "x, a, b, softness=0.1, mode='smooth', gated=False",
    "div": "x, y",
    "dynamic_index_in_dim": "x, soft_index, axis=0, keepdims=True",
    "dynamic_slice": "x, soft_start_indices, slice_sizes",
    "dynamic_slice_in_dim": "x, soft_start_index, slice_size, axis=0",
    "equal": "x, y, softness=0.1, mode='smooth', epsilon=1e-10",
    "greater": "x, y, softness=0.1, mode='smooth', epsilon=1e-10",
    "greater_equal": "x, y, softness=0.1, mode='smooth', epsilon=1e-10",
    "heaviside": "x, softness=0.1, mode='smooth'",
    "isclose": "x, y, softness=0.1, rtol=1e-05, atol=1e-08, mode='smooth', epsilon=1e-10",
    "less": "x, y, softness=0.1, mode='smooth', epsilon=1e-10",
    "less_equal": "x, y, softness=0.1, mode='smooth', epsilon=1e-10",
    "log": "x",
    "logical_and": "x, y, use_geometric_mean=False",
    "logical_not": "x",
    "logical_or": "x, y, use_geometric_mean=False",
    "logical_xor": "x, y, use_geometric_mean=False",
    "max": "x, axis=None, keepdims=False, softness=0.1, mode='smooth', method='softsort', standardize=True, "
    "ot_kwargs=None, gated_grad=True",
    "median": "x, axis=None, keepdims=False, softness=0.1, mode='smooth', method='neuralsort', standardize=True, "
    "ot_kwargs=None, gated_grad=True",
    "min": "x, axis=None, keepdims=False, softness=0.1, mode='smooth', method='softsort', standardize=True, "
    "ot_kwargs=None, gated_grad=True",
    "norm": "x, axis=None, keepdims=False",
    "not_equal": "x, y, softness=0.1, mode='smooth', epsilon=1e-10",
    "percentile": "x, p, axis=None, keepdims=False, softness=0.1, mode='smooth', method='neuralsort', "
    "quantile_method='linear', standardize=True, ot_kwargs=None, gated_grad=True",
    "quantile": "x, q, axis=None, keepdims=False, softness=0.1, mode='smooth', method='neuralsort', "
    "quantile_method='linear', standardize=True, ot_kwargs=None, gated_grad=True",
    "rank": "x, axis=None, softness=0.1, mode='smooth', method='neuralsort', descending=True, standardize=True, "
    "ot_kwargs=None",
    "relu": "x, softness=0.1, mode='smooth', gated=False",
    "round": "x, softness=0.1, mode='smooth', neighbor_radius=5",
    "sigmoidal": "x, softness=0.1, mode='smooth'",
    "sign": "x, softness=0.1, mode='smooth'",
    "softrelu": "x, softness=0.1, mode='smooth', gated=False",
    "sort": "x, axis=None, descending=False, softness=0.1, mode='smooth', method='neuralsort', standardize=True, "
    "ot_kwargs=None, gated_grad=True",
    "sqrt": "x",
    "take": "x, soft_index, axis=None",
    "take_along_axis": "x, soft_index, axis=-1",
    "top_k": "x, k, axis=-1, softness=0.1, mode='smooth', method='neuralsort', standardize=True, ot_kwargs=None, "
    "gated_grad=True",
    "where": "condition, x, y",
}
INDICES = ("argmax", "argmin", "argsort", "argquantile", "argpercentile", "argmedian")
HEAD = ", return_log_probs=False, log_prob_eps=None"  # what the development head puts last, on these and top_k
STRAIGHT = (
    *("abs", "argmax", "argmedian", "argmin", "argpercentile", "argquantile", "argsort", "clip", "equal", "greater"),
    *("greater_equal", "heaviside", "isclose", "less", "less_equal", "max", "median", "min", "not_equal"),
    *("percentile", "quantile", "rank", "relu", "round", "sign", "sort", "top_k"),
)

ROW = jnp.array([0.3, -1.2, 2.0, 0.8])
MATRIX = jnp.array([[0.3, -1.2, 2.0, 0.8], [1.4, 0.2, -0.6, 0.9]])
PROBS = jnp.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.2, 0.0]])  # truth values, and rows that are distributions

OPERANDS = {
    "clip": (-0.5, 0.9),
    "quantile": (0.3,),
    "argquantile": (0.3,),
    "percentile": (30.0,),
    "argpercentile": (30.0,),
    "top_k": (2,),
} | {name: (0.5,) for name in ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "isclose")}


def some_slow(names, quick):
    """All names as parameters, those that are not among the quick ones marked slow: each compiles its own program."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


def call(name, x, **options):
    """A function with a mode, on x and what else it needs."""
    return getattr(sj, name)(x, *OPERANDS.get(name, ()), **options)


def run(fn, *arrays, **options):
    """`fn(*arrays, **options)` as one program: that compiles sooner than its steps do one by one."""
    return jax.jit(lambda *arrays: fn(*arrays, **options))(*arrays)


# Names and signatures


def shown(fn):
    parameters = inspect.signature(fn).parameters.values()
    empty = inspect.Parameter.empty
    return ", ".join(p.name if p.default is empty else f"{p.name}={p.default!r}" for p in parameters)


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature_is_the_peers(name):
    expected = SIGNATURES[name] + (HEAD if name in (*INDICES, "top_k") else "")
    assert shown(getattr(sj, name)) == expected


@pytest.mark.parametrize("name", STRAIGHT)
def test_straight_through_variant_has_the_signature_of_its_function(name):
    assert shown(getattr(sj, f"{name}_st")) == shown(getattr(sj, name))


def test_every_public_name_exists_and_says_what_it_is():
    functions = [*SIGNATURES, *(f"{name}_st" for name in STRAIGHT), "st", "grad_replace"]
    assert len(functions) + len((sj.SoftBool, sj.SoftIndex)) == 79  # as many as softjax 0.1.1 has
    for name in functions:
        fn = getattr(sj, name)
        assert fn.__name__ == name
        assert inspect.getdoc(fn)
    assert sft.compat.softjax is sj


def test_functions_pickle_and_compile():
    assert pickle.loads(pickle.dumps(sj.sort)) is sj.sort
    assert pickle.loads(pickle.dumps(sj.sort_st)) is sj.sort_st
    compiled = jax.jit(sj.relu, static_argnames="mode")
    np.testing.assert_allclose(compiled(ROW, mode="c1"), sj.relu(ROW, mode="c1"), rtol=1e-6)


def test_annotations_of_soft_arrays_are_those_of_float_arrays():
    assert isinstance(PROBS, sj.SoftBool)
    assert isinstance(run(sj.argmax, ROW), sj.SoftIndex)
    assert not isinstance(jnp.arange(3), sj.SoftIndex)


# Values and gradients of the peer


def by_name(case):
    """The case's operator by its name, with its arguments as they are."""
    rest = [jnp.asarray(a) for a in case["args"][1:]]
    out = lambda x: getattr(sj, case["op"])(x, *rest, **case["kwargs"])
    return (lambda x: out(x)[0]) if case["op"] == "top_k" else out


agree = partial(reference.agree, ours=by_name)
SIMPLE = reference.LOGIC + reference.UNIVERSAL + reference.ELEMENTWISE + reference.COMPARISONS
ORDERING = reference.EXTREMES + reference.SORTING


@pytest.mark.parametrize("op", SIMPLE)
def test_value_and_gradient_are_the_peers(op, x64):
    cases = [case for case in reference.CASES if case["op"] == op]
    agree({case["kwargs"].get("mode"): case for case in cases}.values())


@pytest.mark.parametrize("op", ORDERING)
def test_an_ordering_case_is_the_peers(op, x64):
    """By the default method; every method in every mode is slow."""
    default = "softsort" if op in reference.EXTREMES else "neuralsort"
    agree([next(case for case in reference.some_of(default, "smooth") if case["op"] == op)])


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "mode"), [("sorting_network", "smooth"), ("fast_soft_sort", "c0")])
def test_an_ordering_case_of_each_method_and_mode_is_the_peers(algorithm, mode, x64):
    agree({case["op"]: case for case in reversed(reference.some_of(algorithm, mode))}.values())


# Plain arrays in and out


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("mode", ["smooth", "c0", "hard"])
def test_plain_arrays_of_the_same_dtype_come_out(mode, dtype):
    x = jnp.array(MATRIX, dtype)
    for name in STRAIGHT:
        for variant in (name, f"{name}_st"):
            out = jax.eval_shape(
                lambda x, fn=variant, name=name: getattr(sj, fn)(x, *OPERANDS.get(name, ()), mode=mode), x
            )
            for leaf in out if name == "top_k" else (out,):
                assert type(leaf) is jax.ShapeDtypeStruct, variant
                assert leaf.dtype == x.dtype, variant


@pytest.mark.parametrize("name", ["sort", "max", "quantile", "argmax", "abs", "round"])
def test_numpy_arrays_and_integers_are_admitted(name):
    assert type(jax.eval_shape(lambda: call(name, np.asarray(ROW)))) is jax.ShapeDtypeStruct
    assert jax.eval_shape(lambda: call(name, jnp.array([3, 1, 2]))).dtype == jnp.float32


HARD = {
    "abs": jnp.abs,
    "relu": jax.nn.relu,
    "sign": jnp.sign,
    "round": jnp.round,
    "clip": lambda x: jnp.clip(x, -0.5, 0.9),
    "max": jnp.max,
    "min": jnp.min,
    "sort": lambda x: jnp.sort(x, axis=None),
    "median": jnp.median,
    "quantile": lambda x: jnp.quantile(x, 0.3),
    "percentile": lambda x: jnp.percentile(x, 30.0),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("x", [MATRIX, jnp.array([3, -1, 2])], ids=["floats", "integers"])
def test_mode_hard_is_jax(name, x):
    with jax.numpy_dtype_promotion("standard"):  # of integers and the numbers to clip at
        out, expected = run(getattr(sj, name), x, *OPERANDS.get(name, ()), mode="hard"), HARD[name](x)
    np.testing.assert_array_equal(out, expected)
    assert out.dtype == expected.dtype


@pytest.mark.parametrize("name", ["greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "isclose"])
def test_hard_comparison_is_jaxs_in_the_dtype_of_x(name):
    x = jnp.array([0.0, 0.5, 1.0])
    out = run(lambda x: call(name, x, mode="hard"), x)
    np.testing.assert_array_equal(out, getattr(jnp, name)(x, 0.5).astype(x.dtype))
    assert out.dtype == x.dtype


def test_hard_heaviside_is_a_half_at_zero():
    np.testing.assert_array_equal(sj.heaviside(jnp.array([-1.0, 0.0, 1.0]), mode="hard"), [0.0, 0.5, 1.0])


def test_the_default_axis_is_all_of_the_array():
    assert jax.eval_shape(sj.sort, MATRIX).shape == (8,)
    assert jax.eval_shape(sj.argsort, MATRIX).shape == (8, 8)
    ranks = run(sj.rank, MATRIX, softness=1e-3)
    np.testing.assert_allclose(ranks, [5, 8, 1, 4, 2, 6, 7, 3], atol=1e-3)  # the largest is the first


# Layouts of indices


@pytest.mark.parametrize("mode", ["smooth", "hard"])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_an_index_has_its_distribution_last(axis, keepdims, mode):
    size = MATRIX.size if axis is None else MATRIX.shape[axis]
    kept = {"axis": axis, "keepdims": keepdims}
    shape = lambda fn, **options: jax.eval_shape(lambda x: fn(x, **options), MATRIX).shape
    one, several = shape(jnp.argmax, **kept), shape(lambda x: jnp.quantile(x, jnp.array([0.2, 0.9]), **kept))
    for name in INDICES:
        if name != "argsort":
            assert shape(lambda x, name=name: call(name, x, mode=mode, **kept)) == (*one, size)
    assert shape(lambda x: sj.argquantile(x, jnp.array([0.2, 0.9]), mode=mode, **kept)) == (*several, size)
    sorting = shape(jnp.argsort, axis=axis)
    assert shape(sj.argsort, axis=axis, mode=mode) == (*sorting, size)


def test_top_k_has_its_values_and_their_distributions_along_the_axis():
    for axis, shape in ((0, (2, 4)), (-1, (2, 2)), (None, (2,))):
        for mode in ("smooth", "hard"):
            values, index = jax.eval_shape(lambda x, a=axis, m=mode: sj.top_k(x, 2, axis=a, mode=m), MATRIX)
            assert values.shape == shape
            assert index.shape == (*shape, 8 if axis is None else MATRIX.shape[axis])
    values, index = run(lambda x: sj.top_k(x, 2, mode="hard"), MATRIX)
    np.testing.assert_array_equal(values, jax.lax.top_k(MATRIX, 2)[0])
    np.testing.assert_array_equal(index, jax.nn.one_hot(jax.lax.top_k(MATRIX, 2)[1], 4))


def test_top_k_has_no_index_by_the_methods_that_give_values_only():
    for method in ("fast_soft_sort", "smooth_sort", "sorting_network"):
        soft = jax.eval_shape(lambda x, method=method: sj.top_k(x, 2, method=method), ROW)
        hard = jax.eval_shape(lambda x, method=method: sj.top_k_st(x, 2, method=method), ROW)
        assert soft[1] is None
        assert hard[1].shape == (2, 4)


@pytest.mark.parametrize("axis", [0, 1])
def test_values_are_expected_entries_under_the_index(axis):
    @jax.jit
    def both(x):
        selected = sj.take_along_axis(x, sj.argsort(x, axis=axis), axis=axis)
        largest = sj.take_along_axis(x, sj.argmax(x, axis=axis, keepdims=True), axis=axis)
        return selected - sj.sort(x, axis=axis), largest - sj.max(x, axis=axis, keepdims=True)

    for difference in both(MATRIX):
        np.testing.assert_allclose(difference, 0, atol=1e-6)


# Straight-through


ORDERED = ("max", "argmax", "sort", "quantile", "top_k")
ARRAYWISE = (*INDICES, "max", "median", "min", "percentile", "quantile", "rank", "sort", "top_k")


@pytest.mark.parametrize("name", some_slow(STRAIGHT, {*STRAIGHT} - {*ARRAYWISE} | {*ORDERED}))
def test_straight_through_is_hard_forward_and_soft_backward(name):
    @jax.jit
    def run(x):
        hard = call(name, x, mode="hard")
        value, pull = jax.vjp(lambda x: getattr(sj, f"{name}_st")(x, *OPERANDS.get(name, ()), softness=0.5), x)
        _, expected = jax.vjp(lambda x: call(name, x, softness=0.5), x)
        cotangent = jax.tree.map(lambda v: jnp.cos(jnp.arange(v.size, dtype=v.dtype)).reshape(v.shape), value)
        return value, hard, pull(cotangent), expected(cotangent)

    value, hard, gradient, expected = run(ROW)
    jax.tree.map(np.testing.assert_array_equal, value, hard)
    np.testing.assert_allclose(gradient[0], expected[0], rtol=1e-5, atol=1e-7)
    assert np.any(np.asarray(gradient[0]) != 0)


def test_straight_through_keeps_infinities_and_takes_arguments_after_mode_by_position():
    row = jnp.array([jnp.inf, 1.0, -jnp.inf])
    np.testing.assert_array_equal(run(sj.sort_st, row), jnp.sort(row))
    np.testing.assert_array_equal(sj.relu_st(ROW, 0.1, "c0", True), jax.nn.relu(ROW))


def test_decorators_are_those_of_softtypes():
    assert sj.st is sft.st
    assert sj.grad_replace is sft.grad_replace
    twice = sj.st(lambda x, mode="smooth": 2 * sj.relu(x, mode=mode))
    value, gradient = run(jax.value_and_grad(twice), -0.1)
    assert float(value) == 0
    assert float(gradient) == pytest.approx(2 / (1 + np.exp(1)), rel=1e-5)  # 2 S(-0.1), softness 0.1


# Log-probabilities


@pytest.mark.parametrize("name", some_slow([*INDICES, "top_k"], ("argmax", "top_k")))
@pytest.mark.parametrize("mode", ["smooth", "c0"])
def test_log_probabilities_are_logarithms(name, mode):
    last = lambda out: out[1] if name == "top_k" else out
    asked = ({}, {"return_log_probs": True}, {"return_log_probs": True, "log_prob_eps": 1e-3})
    probs, logs, floored = run(lambda x: [last(call(name, x, mode=mode, **options)) for options in asked], ROW)
    np.testing.assert_allclose(jnp.exp(logs), probs, atol=1e-6)
    clipped = np.maximum(probs, 1e-3)
    np.testing.assert_allclose(floored, np.log(clipped / clipped.sum(-1, keepdims=True)), rtol=1e-4, atol=1e-5)


def test_log_probabilities_do_not_underflow_and_have_finite_gradients():
    logs = lambda x: sj.argmax(x, softness=1e-3, return_log_probs=True)
    out, jacobian = run(logs, ROW), run(jax.jacobian(logs), ROW)
    assert np.isfinite(out).all()
    assert np.isfinite(jacobian).all()
    assert float(out.min()) < -500


def test_log_probabilities_of_certainty_and_straight_through():
    hard = sj.argmax(ROW, mode="hard", return_log_probs=True)
    np.testing.assert_array_equal(hard, [-np.inf, -np.inf, 0.0, -np.inf])
    for mode in ("smooth", "c0"):
        np.testing.assert_array_equal(run(sj.argmax_st, ROW, mode=mode, return_log_probs=True), hard)


def test_a_floor_gives_sparse_modes_finite_gradients():
    logs = lambda x: sj.argmax(x, mode="c0", softness=0.01, return_log_probs=True, log_prob_eps=1e-12)
    assert np.isfinite(run(logs, ROW)).all()
    assert np.isfinite(run(jax.jacobian(logs), ROW)).all()


# Logic and selection


def test_connectives_of_probabilities():
    p, q = PROBS[0], PROBS[1]
    np.testing.assert_allclose(sj.logical_not(p), 1 - p)
    np.testing.assert_allclose(run(lambda: sj.logical_and(p, q)), p * q, rtol=1e-6)
    np.testing.assert_allclose(run(lambda: sj.logical_or(p, q)), p + q - p * q, rtol=1e-6)
    np.testing.assert_allclose(run(lambda: sj.logical_and(p, q, use_geometric_mean=True)), jnp.sqrt(p * q), rtol=1e-6)
    np.testing.assert_allclose(run(lambda: sj.logical_xor(p, 1.0)), 1 - p, rtol=1e-6)


def test_all_and_any_reduce_the_last_axis():
    np.testing.assert_allclose(run(lambda: sj.all(PROBS)), jnp.prod(PROBS, -1), rtol=1e-6)
    np.testing.assert_allclose(run(lambda: sj.any(PROBS, axis=0)), 1 - jnp.prod(1 - PROBS, 0), rtol=1e-6)
    np.testing.assert_array_equal(run(lambda: sj.all(PROBS, use_geometric_mean=True))[1], 0.0)
    bits = jnp.array([[True, False], [True, True]])
    np.testing.assert_array_equal(sj.all(bits), bits.all(-1))


def test_where_mixes_and_selects_exactly():
    np.testing.assert_allclose(run(lambda: sj.where(PROBS, 2.0, -1.0)), 3 * PROBS - 1, rtol=1e-5)
    np.testing.assert_array_equal(sj.where(jnp.array([1.0, 0.0]), jnp.array([1.0, jnp.nan]), 5.0), [1.0, 5.0])


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_certain_indices_select_as_jax(axis):
    size = MATRIX.size if axis is None else MATRIX.shape[axis]
    index = jnp.array([1, 0, 1])
    np.testing.assert_allclose(sj.take(MATRIX, jax.nn.one_hot(index, size), axis), jnp.take(MATRIX, index, axis))
    along = {None: index, 0: index[None, :1].repeat(4, 1), 1: index[None].repeat(2, 0)}[axis]
    selected = sj.take_along_axis(MATRIX, jax.nn.one_hot(along, size), axis)
    np.testing.assert_allclose(selected, jnp.take_along_axis(MATRIX, along, axis))
    if axis is not None:
        for keepdims in (True, False):
            expected = jax.lax.dynamic_index_in_dim(MATRIX, 1, axis, keepdims)
            np.testing.assert_allclose(
                sj.dynamic_index_in_dim(MATRIX, jax.nn.one_hot(1, size), axis, keepdims), expected
            )


def test_choose_takes_the_expected_choice():
    choices = jnp.arange(8.0).reshape(4, 2)
    np.testing.assert_allclose(
        run(lambda: sj.choose(PROBS, choices)), jnp.einsum("in,ni->i", PROBS, choices), rtol=1e-6
    )


def test_slices_are_averaged_and_their_starts_clamped():
    start = jnp.array([0.25, 0.75, 0.0, 0.0])
    expected = 0.25 * ROW[:2] + 0.75 * ROW[1:3]
    np.testing.assert_allclose(run(lambda: sj.dynamic_slice_in_dim(ROW, start, 2)), expected, rtol=1e-6)
    np.testing.assert_allclose(run(lambda: sj.dynamic_slice_in_dim(ROW, jnp.eye(4)[3], 2)), ROW[2:])
    out = run(lambda: sj.dynamic_slice(MATRIX, [jnp.array([0.5, 0.5]), start], [1, 2]))
    mean = MATRIX.mean(0)
    np.testing.assert_allclose(out, [0.25 * mean[:2] + 0.75 * mean[1:3]], rtol=1e-5)


def test_float64_and_integer_one_hots_are_indices(x64):
    x = np.asarray(ROW, np.float64)
    assert jax.eval_shape(sj.take, x, jnp.eye(4, dtype=int)[:2]).dtype == np.float64
    assert jax.eval_shape(sj.argmax, x).dtype == np.float64


# Where the peer is wrong, and its arguments that mean less here


def test_isclose_is_a_probability():
    out = run(sj.isclose, jnp.array([1.0, 1.0, 1.0]), jnp.array([1.0, 1.1, 3.0]), atol=0.5, rtol=0.0)
    assert float(out[0]) == 1
    assert np.all((np.asarray(out) >= 0) & (np.asarray(out) <= 1))
    assert float(out[1]) > float(out[2])


def test_tiny_data_is_no_constant():
    np.testing.assert_allclose(run(sj.argmax, ROW * 1e-8), run(sj.argmax, ROW * 1e4), atol=5e-3)


def test_sorting_network_is_doubly_stochastic_for_every_size():
    weights = run(sj.argsort, ROW[:3], method="sorting_network", softness=0.3)
    np.testing.assert_allclose(weights.sum(0), 1, rtol=1e-5)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)


def test_hard_ranks_average_ties():
    np.testing.assert_array_equal(run(sj.rank, jnp.array([1.0, 1.0, 2.0]), mode="hard"), [2.5, 2.5, 1.0])


def test_an_infinity_does_not_spread():
    row = jnp.array([1.0, jnp.inf, 3.0])
    assert np.isfinite(run(sj.rank, row)).all()
    np.testing.assert_allclose(run(sj.min, row), run(sj.min, row[::2]), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("greater", lambda x, e: sj.sigmoidal(x - 0.5 - e)),
        ("greater_equal", lambda x, e: sj.sigmoidal(x - 0.5 + e)),
        ("less", lambda x, e: 1 - sj.sigmoidal(x - 0.5 + e)),
        ("less_equal", lambda x, e: 1 - sj.sigmoidal(x - 0.5 - e)),
    ],
)
def test_epsilon_shifts_the_tie_of_an_order(name, formula):
    np.testing.assert_allclose(call(name, ROW, epsilon=0.05), formula(ROW, 0.05), rtol=1e-5)
    np.testing.assert_array_equal(call(name, ROW, mode="hard", epsilon=0.05), call(name, ROW, mode="hard"))


def test_what_is_not_needed_is_taken():
    np.testing.assert_array_equal(sj.equal(ROW, 0.5, epsilon=0.05), sj.equal(ROW, 0.5))
    np.testing.assert_array_equal(sj.all(PROBS, epsilon=0.05, use_geometric_mean=True)[1], 0.0)
    program = lambda **given: str(jax.make_jaxpr(lambda x: sj.relu(sj.sort(x, method="softsort", **given)))(ROW))
    assert program(ot_kwargs={"sinkhorn_max_iter": 3}) == program()


def test_the_mode_of_softjaxs_own_tests_is_hard():
    np.testing.assert_array_equal(sj.argmax(ROW, mode="_hard"), sj.argmax(ROW, mode="hard"))


# Transforms


def test_functions_compile_batch_and_differentiate():
    loss = lambda x: sj.relu(sj.max(x, softness=0.5))
    gradient = jax.jit(jax.vmap(jax.grad(loss)))(MATRIX)
    np.testing.assert_allclose(gradient[1], run(jax.grad(loss), MATRIX[1]), rtol=1e-5)
    annealed = jax.jit(
        lambda x, softness, floor: sj.argmax(x, None, False, softness, return_log_probs=True, log_prob_eps=floor)
    )
    np.testing.assert_allclose(jnp.exp(annealed(ROW, 0.5, 1e-9)), run(sj.argmax, ROW, softness=0.5), rtol=1e-4)


# Mistakes

WITH_WEIGHTS = "'softsort', 'neuralsort', 'ot', 'sorting_network'"
WRONG = {
    "mode": (lambda: sj.relu(ROW, mode="entropic"), "mode must be one of 'hard', 'smooth', 'c0', 'c1', 'c2'; got"),
    "mode of an order": (lambda: sj.sort(ROW, mode="c3"), "mode must be one of 'hard', 'smooth'"),
    "method": (
        lambda: sj.sort(ROW, method="quick"),
        f"method in mode 'smooth' must be one of {WITH_WEIGHTS}, 'fast_soft",
    ),
    "method of a hard order": (lambda: sj.sort(ROW, mode="hard", method="quick"), "method in mode 'hard' must be one"),
    "method of an index": (
        lambda: sj.argsort(ROW, method="fast_soft_sort"),
        f"method in mode 'smooth' must be one of {WITH_WEIGHTS}; got 'fast_soft_sort'",
    ),
    "method of a mode": (
        lambda: sj.sort(ROW, mode="c0", method="smooth_sort"),
        f"method in mode 'c0' must be one of {WITH_WEIGHTS}, 'fast_soft_sort'; got 'smooth_sort'",
    ),
    "softness 0": (lambda: sj.abs(ROW, softness=0.0), "softness must be positive; got 0.0; for the hard limit take"),
    "softness below 0": (lambda: sj.sort(ROW, softness=-1.0), "softness must be positive; got -1.0"),
    "softness of an array": (
        lambda: sj.abs(ROW, softness=jnp.array([1.0, 0.0, 1.0, 1.0])),
        "softness must be positive",
    ),
    "k": (lambda: sj.top_k(ROW, 0), "top_k: k must be positive; got 0"),
    "k above the size": (lambda: sj.top_k(ROW, 5), "k must lie in 0 .. 4"),
    "matrix of quantiles": (lambda: sj.quantile(ROW, jnp.array([[0.5]])), "quantile: q must be scalar or 1-D; got sh"),
    "matrix of indices": (lambda: sj.argquantile(ROW, jnp.array([[0.5]])), "argquantile: q must be scalar or 1-D"),
    "floor alone": (lambda: sj.argmax(ROW, log_prob_eps=1e-3), "it goes with return_log_probs=True"),
    "floor 0": (lambda: sj.argmax(ROW, return_log_probs=True, log_prob_eps=0.0), r"log_prob_eps must be in \(0, 1\]"),
    "floor of an array": (
        lambda: sj.top_k(ROW, 2, return_log_probs=True, log_prob_eps=jnp.array([0.1])),
        r"log_prob_eps must be in \(0, 1\], and one number",
    ),
    "slice of nothing": (lambda: sj.dynamic_slice_in_dim(ROW, jnp.eye(4)[0], 0), "slice_size must be positive; got 0"),
    "slice too long": (lambda: sj.dynamic_slice_in_dim(ROW, jnp.eye(4)[0], 5), "slice_size must lie in 0 .. 4"),
    "starts": (
        lambda: sj.dynamic_slice(MATRIX, [jnp.array([0.5, 0.5])], [1, 1]),
        r"len\(soft_start_indices\), len\(slice_sizes\), x.ndim must be equal; got 1, 2 and 2",
    ),
    "size of an index": (lambda: sj.take(ROW, jnp.eye(3)), "over 3 indices"),
    "axes of an index": (lambda: sj.take_along_axis(ROW, jnp.eye(4)[0]), "as many axes as arr"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_mistake_says_the_way_out(mistake):
    program, sentence = WRONG[mistake]
    with pytest.raises(ValueError, match=sentence):
        program()


def test_unknown_and_missing_arguments_show_the_signature():
    with pytest.raises(TypeError, match=r"sort: .*unexpected keyword argument 'algorithm'; it takes \(x, axis=None"):
        sj.sort(ROW, algorithm="ot")
    with pytest.raises(TypeError, match=r"clip: missing a required argument: 'b'; it takes \(x, a, b"):
        sj.clip(ROW, 0.0)
    with pytest.raises(TypeError, match="softness must be a real number or a real array; got 'a'"):
        sj.relu(ROW, softness="a")
