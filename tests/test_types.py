"""The three types: constructors, checks of values, conversions, operators from both sides, methods, pytrees, repr."""

import copy
import itertools
import operator
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

import softtypes as sft
from softtypes import Relaxation, SoftArray, SoftBool, SoftIndex

X = jnp.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]])
P = jnp.array([[0.1, 0.6, 0.3], [0.8, 0.1, 0.1]])
VALUES = {"array": SoftArray(X, jnp.round(X)), "bool": SoftBool(P), "index": SoftIndex(P)}
values = pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())


def same(a, b):
    """Two soft values agree in type, in both views to the bit, in dtype and in settings."""
    assert type(a) is type(b)
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


# Constructors


def test_soft_array_defaults():
    x = SoftArray(X)
    assert x.relaxation == Relaxation() == Relaxation(0.1, "smooth", None, "product", True, False, True)
    np.testing.assert_array_equal(x.soft(), X)
    np.testing.assert_array_equal(x.hard(), X)
    same(sft.soft(X), x)
    same(SoftArray(X, None, Relaxation(0.5, "c1")), sft.soft(X, 0.5, "c1"))
    same(SoftArray(np.asarray(X)), x)


def test_exact_numbers_keep_their_dtype_in_the_hard_view():
    for exact in (jnp.array([1, -2]), np.array([True, False]), 3, True):
        x = sft.soft(exact)
        assert x.dtype == x.soft().dtype == jnp.float32
        assert x.hard().dtype == jnp.asarray(exact).dtype
        np.testing.assert_array_equal(x.soft(), x.hard())


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_the_dtype_is_the_inputs(dtype):
    for value in (SoftArray(X.astype(dtype)), SoftBool(P.astype(dtype)), SoftIndex(P.astype(dtype))):
        assert value.soft().dtype == value.st().dtype == dtype


def test_soft_changes_the_relaxation_and_keeps_both_views():
    x = SoftArray(X, jnp.round(X), Relaxation(0.3, "c1", logic="godel"))
    y = sft.soft(x, softness=0.7)
    assert y.relaxation == Relaxation(0.7, "c1", logic="godel")
    assert sft.soft(x, mode="c2").relaxation == Relaxation(0.3, "c2", logic="godel")
    assert sft.soft(x, Relaxation(2.0)).relaxation == Relaxation(2.0)
    np.testing.assert_array_equal(y.hard(), x.hard())
    np.testing.assert_array_equal(y.soft(), x.soft())


def test_soft_bool_defaults():
    b = SoftBool(jnp.array([0.2, 0.5, 0.6]))
    np.testing.assert_array_equal(b.hard(), [False, False, True])
    assert b.logic == "product"
    assert SoftBool(0.5, True).hard()
    assert SoftBool(0.5, logic="godel").logic == "godel"
    same(SoftBool.from_hard(np.array([True, False])), SoftBool(jnp.array([1.0, 0.0])))
    assert SoftBool.from_hard(True, logic="godel").logic == "godel"


def test_soft_index_defaults():
    i = SoftIndex(P)
    np.testing.assert_array_equal(i.hard(), [1, 0])
    assert (i.shape, i.ndim, i.size, i.num_classes) == ((2,), 1, 2, 3)
    assert jnp.issubdtype(i.dtype, jnp.integer)
    same(SoftIndex(P, jnp.array([2, 2]))[0], SoftIndex(P[0], jnp.array(2)))
    same(SoftIndex.from_hard(jnp.array([1, 0]), 3), SoftIndex(jnp.eye(3)[jnp.array([1, 0])], jnp.array([1, 0])))
    logits = jnp.array([[0.0, 1.0, -3.0]])
    np.testing.assert_allclose(SoftIndex.from_logits(logits).probs, jax.nn.softmax(logits), rtol=1e-6)


def test_shapes_are_those_of_the_quantity():
    for value, shape in ((SoftArray(X), (2, 3)), (SoftBool(P), (2, 3)), (SoftIndex(P), (2,)), (sft.soft(1.0), ())):
        assert (value.shape, value.ndim, value.size) == (shape, len(shape), int(np.prod(shape)))


WRONG_PARTS = [
    (lambda: SoftArray(X, X[0]), ValueError, r"SoftArray: hard_view must have shape \(2, 3\); got \(3,\)"),
    (lambda: SoftArray("a"), TypeError, "SoftArray: values must be an array or a number; got str"),
    (lambda: SoftArray([1.0]), TypeError, "SoftArray: values must be an array or a number; got list"),
    (lambda: SoftArray(1j), TypeError, "SoftArray: values must be an array or a number; got complex"),
    (lambda: SoftArray(X.astype(complex)), TypeError, "SoftArray: values must be real; got complex64"),
    (lambda: SoftArray(SoftArray(X)), TypeError, "SoftArray: values must be a plain array; got a SoftArray"),
    (lambda: SoftArray(X, X, 0.1), TypeError, "SoftArray: relaxation must be a Relaxation; got float"),
    (lambda: sft.soft(X, jnp.ones(2)), ValueError, r"softness of shape \(2,\) does not broadcast"),
    (lambda: SoftBool(jnp.array([1, 0])), TypeError, r"floating probabilities; got int32; .* SoftBool.from_hard"),
    (lambda: SoftBool(jnp.array(True)), TypeError, "SoftBool.from_hard"),
    (lambda: SoftBool(P, P), TypeError, "SoftBool: hard_view must be Boolean; got float32"),
    (lambda: SoftBool(P, P[0] > 0), ValueError, r"SoftBool: hard_view must have shape \(2, 3\); got \(3,\)"),
    (lambda: SoftBool(P, logic="zadeh"), ValueError, "'product', 'godel', 'lukasiewicz', 'geometric'; got 'zadeh'"),
    (lambda: SoftBool.from_hard(P), TypeError, "SoftBool.from_hard: bits must be Boolean; got float32"),
    (lambda: SoftIndex(jnp.array([1, 0])), TypeError, r"got int32; .* SoftIndex.from_hard\(indices, n\)"),
    (lambda: SoftIndex(jnp.array(0.5)), ValueError, r"last axis over at least one index, \(..., n\); got shape \(\)"),
    (lambda: SoftIndex(jnp.zeros((2, 0))), ValueError, r"got shape \(2, 0\)"),
    (lambda: SoftIndex(P, P[:, 0]), TypeError, "SoftIndex: hard_view must be of integers; got float32"),
    (lambda: SoftIndex(P, jnp.array(1)), ValueError, r"SoftIndex: hard_view must have shape \(2,\); got \(\)"),
    (lambda: SoftIndex.from_hard(jnp.array(0.5), 3), TypeError, "indices must be integers; got float32"),
    (lambda: SoftIndex.from_hard(3, 3), ValueError, r"indices must lie in 0 \.\. 2; got 3"),
    (lambda: SoftIndex.from_hard(-1, 3), ValueError, r"indices must lie in 0 \.\. 2; got -1"),
    (lambda: SoftIndex.from_hard(0, 0), ValueError, "n must be at least 1; got 0"),
    (lambda: SoftIndex.from_logits(jnp.array([1, 2])), TypeError, "logits must be floating; got int32"),
    (lambda: SoftIndex.from_logits(0.5), ValueError, "last axis"),
]


@pytest.mark.parametrize(("make", "error", "text"), WRONG_PARTS, ids=[text[:40] for *_, text in WRONG_PARTS])
def test_constructors_check_shapes_and_dtypes(make, error, text):
    with pytest.raises(error, match=text):
        make()
    if "must lie in" not in text:  # of all checks the only one that reads values
        with pytest.raises(error, match=text):
            jax.eval_shape(make)


# Checks of values

INVALID = [
    (SoftArray, jnp.array([1.0, np.inf]), "SoftArray: expected finite values"),
    (SoftArray, jnp.array([np.nan, 1.0]), "SoftArray: expected finite values"),
    (SoftBool, jnp.array([0.5, 1.5]), r"SoftBool: expected probabilities in \[0, 1\]"),
    (SoftBool, jnp.array([-0.1, 0.5]), r"SoftBool: expected probabilities in \[0, 1\]"),
    (SoftBool, jnp.array([np.nan, 0.5]), r"SoftBool: expected probabilities in \[0, 1\]"),
    (SoftIndex, jnp.array([[0.5, 0.6], [0.5, 0.5]]), "SoftIndex: expected rows that sum to 1"),
    (SoftIndex, jnp.array([[1.5, -0.5], [0.5, 0.5]]), r"SoftIndex: expected probabilities in \[0, 1\]"),
    (SoftIndex, jnp.array([[np.nan, 0.5], [0.5, 0.5]]), r"SoftIndex: expected probabilities in \[0, 1\]"),
]


@pytest.mark.parametrize(("kind", "leaf", "text"), INVALID)
def test_validate_refuses_bad_values_at_once_and_under_checkify(kind, leaf, text):
    with pytest.raises(ValueError, match=text):
        kind(leaf).validate()
    check = jax.jit(checkify.checkify(lambda x: kind(x).validate().soft()))
    error, out = check(leaf)
    with pytest.raises(checkify.JaxRuntimeError, match=text):
        error.throw()
    np.testing.assert_array_equal(out, leaf)
    check(jnp.full_like(leaf, 0.5))[0].throw()


def test_validate_counts_the_offenders():
    with pytest.raises(ValueError, match="2 of 3 do not comply"):
        SoftBool(jnp.array([2.0, 0.5, -1.0])).validate()


def test_validate_checks_the_hard_indices():
    with pytest.raises(ValueError, match=r"indices in 0 \.\. 2"):
        SoftIndex(P, jnp.array([0, 3])).validate()


@values
def test_validate_returns_the_value_itself(value):
    assert value.validate() is value


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_validate_allows_for_rounding(dtype):
    for n in (3, 1000):
        SoftIndex(jnp.full((2, n), 1 / n, dtype)).validate()


# Conversions


@values
def test_views_are_plain_arrays(value):
    for view in (value.soft(), value.hard(), value.st()):
        assert isinstance(view, jax.Array)
    assert value.st().shape == value.soft().shape
    assert value.st().dtype == value.soft().dtype


def test_the_named_views():
    assert VALUES["array"].values is VALUES["array"].soft()
    assert VALUES["bool"].probs is VALUES["bool"].soft()
    assert VALUES["index"].probs is VALUES["index"].soft()


def test_straight_through_is_exact_forward_and_relaxed_backward():
    hard = jnp.array([np.inf, -0.0, np.nan, 1e-30])
    soft = jnp.array([0.1, 0.2, 0.3, 0.4])
    st = lambda soft: SoftArray(soft**2, hard).st()
    np.testing.assert_array_equal(st(soft), hard)
    assert np.signbit(st(soft)[1])
    np.testing.assert_allclose(jax.jacrev(st)(soft), np.diag(2 * soft), rtol=1e-6)
    np.testing.assert_allclose(jax.jacfwd(st)(soft), np.diag(2 * soft), rtol=1e-6)
    second = jax.vmap(jax.grad(jax.grad(lambda s: SoftArray(s**3, jnp.float32(7.0)).st())))(soft)
    np.testing.assert_allclose(second, 6 * soft, rtol=1e-6)


def test_straight_through_of_bools_and_indices():
    np.testing.assert_array_equal(SoftBool(jnp.array([0.3, 0.7])).st(), [0, 1])
    np.testing.assert_array_equal(SoftIndex(P).st(), [[0, 1, 0], [1, 0, 0]])
    np.testing.assert_array_equal(jax.grad(lambda p: (SoftIndex(p).st() * X).sum())(P), X)


def test_a_product_of_factors_has_the_gradient_of_the_product_of_the_soft_factors():
    composite = lambda x, y: (sft.soft(x).relu() * sft.soft(y).relu()).st()
    relaxed = lambda x, y: sft.relu(x) * sft.relu(y)
    assert composite(-0.1, -0.1) == 0
    np.testing.assert_allclose(
        jax.grad(composite, (0, 1))(-0.1, -0.1), jax.grad(relaxed, (0, 1))(-0.1, -0.1), rtol=1e-6
    )


# Operators, from both sides

ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]
COMPARE = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]
A = jnp.array([[1.0, 2.0, 0.5], [0.25, 3.0, 1.0]])
RAW = {
    "jax": A,
    "numpy": np.asarray(A),
    "numpy row": np.asarray(A[0])[None],
    "0-d": jnp.float32(2.0),
    "numpy scalar": np.float32(2.0),
    "int": 2,
    "float": 0.5,
}
raw = pytest.mark.parametrize("other", RAW.values(), ids=RAW.keys())


def name(op):
    return op.__name__


@raw
@pytest.mark.parametrize("op", ARITHMETIC, ids=name)
def test_arithmetic_acts_on_both_views_from_both_sides(op, other):
    x = SoftArray(A, jnp.round(A), Relaxation(0.3, "c1"))
    for out, soft, hard in (
        (op(x, other), op(x.values, other), op(x.hard_view, other)),
        (op(other, x), op(other, x.values), op(other, x.hard_view)),
    ):
        np.testing.assert_array_equal(out.soft(), soft)
        np.testing.assert_array_equal(out.hard(), hard)
        assert out.relaxation == x.relaxation


@raw
@pytest.mark.parametrize("op", COMPARE, ids=name)
def test_comparisons_from_both_sides(op, other):
    x = SoftArray(A, jnp.round(A), Relaxation(0.3, "c1", logic="godel"))
    function = {
        "lt": "less",
        "le": "less_equal",
        "gt": "greater",
        "ge": "greater_equal",
        "eq": "equal",
        "ne": "not_equal",
    }
    for out, a, b in ((op(x, other), x, other), (op(other, x), other, x)):
        assert isinstance(out, SoftBool)
        assert out.logic == "godel"
        expected = getattr(sft, function[name(op)])(a, b)
        np.testing.assert_allclose(out.probs, expected.probs, atol=1e-6)
        np.testing.assert_array_equal(out.hard(), expected.hard())


@pytest.mark.parametrize("op", [*ARITHMETIC, *COMPARE, operator.matmul], ids=name)
def test_tracers_may_stand_on_either_side(op):
    for f in (lambda a, x: op(a, x), lambda a, x: op(x, a)):
        a, x = (A, sft.soft(A.T)) if op is operator.matmul else (A, sft.soft(A + 0.25))
        traced, eager = jax.jit(f)(a, x), f(a, x)
        assert type(traced) is type(eager)
        np.testing.assert_allclose(traced.soft(), eager.soft(), rtol=1e-6)
        np.testing.assert_array_equal(traced.hard(), eager.hard())


def test_matrix_products_from_both_sides():
    x = SoftArray(A, jnp.round(A))
    for m in (A.T, np.asarray(A.T)):
        np.testing.assert_allclose((x @ m).soft(), A @ A.T, rtol=1e-6)
        np.testing.assert_allclose((m @ x).hard(), A.T @ jnp.round(A), rtol=1e-6)
    np.testing.assert_allclose((x @ x.T).soft(), A @ A.T, rtol=1e-6)


BITS = np.array([[True, False, True], [False, False, True]])


@pytest.mark.parametrize("op", [operator.and_, operator.or_, operator.xor, operator.eq, operator.ne], ids=name)
@pytest.mark.parametrize(
    "other", [BITS, jnp.asarray(BITS), True, np.bool_(False)], ids=["numpy", "jax", "bool", "np.bool"]
)
def test_bools_may_stand_on_either_side(op, other):
    b = SoftBool(P, logic="lukasiewicz")
    certain = SoftBool.from_hard(jnp.broadcast_to(jnp.asarray(other), b.shape), logic="lukasiewicz")
    same(op(b, other), op(b, certain))
    same(op(other, b), op(certain, b))
    traced = jax.jit(lambda other, b: op(other, b))(other, b)
    np.testing.assert_array_equal(traced.hard(), op(certain, b).hard())
    np.testing.assert_allclose(traced.probs, op(certain, b).probs, atol=1e-6)


def test_unary_operators():
    x = SoftArray(A, -A)
    for op in (operator.neg, operator.pos):
        np.testing.assert_array_equal(op(x).soft(), op(A))
        np.testing.assert_array_equal(op(x).hard(), op(-A))
    same(abs(x), x.abs())
    same(round(x), x.round())
    same(round(x, 1), x.round(1))


class Foreign:
    """A stranger that knows how to meet a soft value."""

    def __radd__(self, other):
        return "radd"

    __rand__ = __rlt__ = __gt__ = __eq__ = __radd__


def test_strangers_have_their_say():
    stranger = Foreign()
    assert SoftArray(X) + stranger == "radd"
    assert SoftBool(P) & stranger == "radd"
    assert (SoftArray(X) < stranger) == "radd"
    assert (SoftIndex(P) == stranger) == "radd"
    with pytest.raises(TypeError, match="unsupported operand"):
        SoftArray(X) + "a"


def test_the_softer_of_two_wins():
    x, y = sft.soft(A, 0.3), sft.soft(A.at[0].add(0.5), 0.7)
    for z in (x + y, y * x, sft.maximum(x, y), x.where(A > 1, y)):
        assert z.relaxation == Relaxation(0.7)
    np.testing.assert_array_equal((x > y).probs, sft.greater(x.soft(), y.soft(), softness=0.7).probs)
    leaf = sft.soft(A, jnp.array([0.1, 0.5, 0.9]))
    np.testing.assert_allclose((leaf + x).relaxation.softness, [0.3, 0.5, 0.9])


def test_a_selection_among_plain_arrays_takes_on_the_relaxation_that_it_meets():
    selected = SoftBool(P).where(A, -A)
    assert selected.relaxation == Relaxation()
    assert (selected + sft.soft(A, 0.7, "c1")).relaxation == Relaxation(0.7, "c1")
    assert (sft.soft(A, 0.7, "c1") > selected).logic == "product"


# Methods

PLAIN_METHODS = {
    "sum": lambda x: x.sum(0),
    "sum where": lambda x: x.sum(1, where=BITS),
    "mean": lambda x: x.mean(axis=1, keepdims=True),
    "prod": lambda x: x.prod(),
    "var": lambda x: x.var(0, ddof=1),
    "std": lambda x: x.std(1),
    "cumsum": lambda x: x.cumsum(1),
    "cumprod": lambda x: x.cumprod(),
    "dot": lambda x: x.dot(A.T),
    "reshape": lambda x: x.reshape(3, -1),
    "ravel": lambda x: x.ravel(),
    "flatten": lambda x: x.flatten(),
    "squeeze": lambda x: x[:1].squeeze(0),
    "T": lambda x: x.T,
    "transpose": lambda x: x.transpose((1, 0)),
    "swapaxes": lambda x: x.swapaxes(-1, 0),
    "repeat": lambda x: x.repeat(2, axis=0),
    "astype": lambda x: x.astype(jnp.bfloat16),
    "getitem": lambda x: x[1:, None, ::2],
    "int array": lambda x: x[jnp.array([1, 0, 1])],
    "mask": lambda x: x[BITS],
}


@pytest.mark.parametrize("method", PLAIN_METHODS.values(), ids=PLAIN_METHODS.keys())
def test_methods_that_are_smooth_act_on_both_views(method):
    x = SoftArray(A, -A, Relaxation(0.4, "c2"))
    np.testing.assert_array_equal(method(x).soft(), method(A))
    np.testing.assert_array_equal(method(x).hard(), method(-A))
    assert method(x).relaxation == x.relaxation


RELAXED_METHODS = {
    "abs": (), "sign": (), "relu": (), "heaviside": (), "round": (), "clip": (0.5, 2.0), "max": (1,), "min": (0,),
    "argmax": (1,), "argmin": (0,),
}  # fmt: skip


@pytest.mark.parametrize("method", RELAXED_METHODS)
def test_methods_that_are_relaxed_are_the_functions(method):
    x, args = SoftArray(A, -A, Relaxation(0.4, "c1")), RELAXED_METHODS[method]
    same(getattr(x, method)(*args), getattr(sft, method)(x, *args))
    relaxed = getattr(x, method)(*args, softness=0.7, mode="c2")
    plain = getattr(sft, method)(A, *args, softness=0.7, mode="c2")
    np.testing.assert_array_equal(relaxed.soft(), plain.soft() if isinstance(plain, SoftIndex) else plain)
    if isinstance(relaxed, SoftArray):
        assert relaxed.relaxation == x.relaxation


def test_keywords_hold_for_one_operator_only():
    x = sft.soft(A, 0.4)
    assert (x.relu(softness=3.0) > 0).probs.tolist() == (
        SoftArray(sft.relu(A, softness=3.0), A, x.relaxation) > 0
    ).probs.tolist()


def test_the_methods_are_those_of_jax_arrays():
    for kind, names in {
        SoftArray: "sum prod mean var std max min argmax argmin cumsum cumprod round clip dot reshape ravel flatten "
        "squeeze transpose T swapaxes repeat astype at shape ndim size dtype",
        SoftBool: "all any sum mean reshape ravel squeeze transpose T swapaxes repeat at shape ndim size dtype",
        SoftIndex: "reshape ravel squeeze transpose T swapaxes repeat at shape ndim size dtype",
    }.items():
        for method in names.split():
            assert hasattr(kind, method), (kind, method)
            assert hasattr(jax.Array, method), method


@values
def test_shape_changes_act_on_both_views(value):
    """The index axis of a SoftIndex stays last, whatever happens to the others."""
    key = np.arange(value.size).reshape(value.shape)
    elements = value.soft().reshape(value.size, *value.soft().shape[value.ndim :])
    for change in (
        lambda v: v[0],
        lambda v: v[::-1],
        lambda v: v[None],
        lambda v: v[..., None],
        lambda v: v[jnp.array([1, 1, 0])],
        lambda v: v[np.array([True, False])],
        lambda v: v.reshape(-1),
        lambda v: v.reshape((1, v.size)),
        lambda v: v.ravel(),
        lambda v: v.T,
        lambda v: v.transpose(),
        lambda v: v[None].squeeze(0),
        lambda v: v[None].squeeze(),
        lambda v: v[None].swapaxes(0, 1),
        lambda v: v.repeat(2, 0),
    ):
        np.testing.assert_array_equal(change(value).soft(), elements[change(key)])
        np.testing.assert_array_equal(change(value).hard(), value.hard().ravel()[change(key)])


def test_a_softness_per_element_travels_with_its_element():
    s = jnp.array([[0.1, 0.2, 0.3], [1.0, 2.0, 3.0]])
    x = sft.soft(A, s)
    p = (x > 0.5).probs
    for change in (
        lambda v: v[1],
        lambda v: v[:, ::-1],
        lambda v: v[None],
        lambda v: v.T,
        lambda v: v.reshape(3, 2),
        lambda v: v.ravel(),
        lambda v: v.swapaxes(0, 1),
        lambda v: v.repeat(2, 1),
    ):
        np.testing.assert_allclose((change(x) > 0.5).probs, change(p), rtol=1e-6)
    np.testing.assert_array_equal(x.sum(1).relaxation.softness, s.max(1))
    np.testing.assert_array_equal(x.max(0, softness=0.1).relaxation.softness, [1.0, 2.0, 3.0])
    rows = sft.soft(A, s[:, :1])
    for i in range(2):
        one = sft.soft(A[i], float(s[i, 0]))
        np.testing.assert_allclose(rows.max(1).soft()[i], one.max().soft(), rtol=1e-6)
        np.testing.assert_allclose(rows.argmax(1).probs[i], one.argmax().probs, rtol=1e-5)


UPDATES = ("set", "add", "subtract", "multiply", "divide", "power")


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("key", [0, (slice(None), -1), (..., slice(None, None, 2)), np.array([1, 0])], ids=str)
def test_at_updates_both_views(key, update):
    x, other = SoftArray(A, -A, Relaxation(0.4)), SoftArray(A * 2, A * 3, Relaxation(0.4))[key]
    out = getattr(x.at[key], update)(other)
    np.testing.assert_array_equal(out.soft(), getattr(A.at[key], update)(2 * A[key]))
    np.testing.assert_array_equal(out.hard(), getattr((-A).at[key], update)(3 * A[key]))
    number = getattr(x.at[key], update)(2.0)
    np.testing.assert_array_equal(number.hard(), getattr((-A).at[key], update)(2.0))
    same(x.at[key].get(), x[key])


def test_at_of_bools_and_indices():
    b = SoftBool(P).at[0].set(True).at[1, 2].set(SoftBool(0.25, True))
    np.testing.assert_array_equal(b.probs, P.at[0].set(1).at[1, 2].set(0.25))
    np.testing.assert_array_equal(b.hard(), [[True, True, True], [True, False, True]])
    i = SoftIndex(P).at[0].set(2).at[1].set(SoftIndex(jnp.array([0.0, 0.0, 1.0])))
    np.testing.assert_array_equal(i.probs, [[0, 0, 1], [0, 0, 1]])
    np.testing.assert_array_equal(i.hard(), [2, 2])
    with pytest.raises(AttributeError, match=r"SoftBool\.at\[\.\.\.\] has get, set; got 'add'"):
        SoftBool(P).at[0].add(True)
    with pytest.raises(AttributeError, match=r"SoftArray\.at\[\.\.\.\] has get, set, add, .*; got 'max'"):
        SoftArray(X).at[0].max(1.0)
    with pytest.raises(TypeError, match=r"wrap it in sft\.SoftBool"):
        SoftBool(P).at[0].set(0.5)


def test_iteration_and_length():
    for value in VALUES.values():
        assert len(value) == 2
        for i, part in enumerate(value):
            same(part, value[i])
        _, second = value
        same(second, value[1])


# SoftBool


def test_counting_soft_bools():
    b = SoftBool(P)
    for axis in (None, 0, (0, 1)):
        np.testing.assert_allclose(b.sum(axis).soft(), P.sum(axis), rtol=1e-6)
        np.testing.assert_array_equal(b.sum(axis).hard(), (P > 0.5).sum(axis))
        np.testing.assert_allclose(b.mean(axis, keepdims=True).soft(), P.mean(axis, keepdims=True), rtol=1e-6)
        np.testing.assert_array_equal(b.mean(axis, keepdims=True).hard(), (P > 0.5).mean(axis, keepdims=True))
    assert jnp.issubdtype(b.sum().hard().dtype, jnp.integer)
    np.testing.assert_allclose(b.sum(1, where=BITS).soft(), [0.4, 0.1], rtol=1e-6)
    assert (b.sum() > 1).hard()


# SoftIndex

Q = jnp.array([0.5, 0.2, 0.3])


@pytest.mark.parametrize("op", COMPARE, ids=name)
def test_index_comparisons_have_exact_probabilities(op):
    i, j, short = SoftIndex(P), SoftIndex(Q), SoftIndex(jnp.array([0.9, 0.1]))
    for other in (j, short):
        pairs = itertools.product(range(3), range(other.num_classes))
        expected = sum(P[:, a] * other.probs[b] for a, b in pairs if op(a, b))
        np.testing.assert_allclose(op(i, other).probs, expected * np.ones(2), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(op(i, other).hard(), op(i.hard(), other.hard()))
    for k in (-7, -1, 0, 1, 2, 3, 9):
        expected = sum((P[:, a] for a in range(3) if op(a, k)), np.zeros(2))
        for exact in (k, np.array([k, k]), jnp.array(k)):
            for out in (op(i, exact), MIRRORED[op](exact, i)):
                np.testing.assert_allclose(out.probs, expected, rtol=1e-5, atol=1e-6)
                np.testing.assert_array_equal(out.hard(), op(i.hard(), k))
                out.validate()


MIRRORED = dict(
    zip(COMPARE, [operator.gt, operator.ge, operator.lt, operator.le, operator.eq, operator.ne], strict=True)
)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint32"])
def test_index_comparisons_with_narrow_and_unsigned_integers(dtype):
    i = SoftIndex(P)
    for k in (0, 1, 2, 100):
        for op in COMPARE:
            with jax.numpy_dtype_promotion("standard"):
                same(op(i, jnp.array(k, dtype)), op(i, k))


def test_compiled_derivatives_of_index_comparisons_agree_both_ways():
    """XLA compiles some gradients of `cumsum(probs)[k]` wrongly."""

    def derivatives(x):
        probability = lambda x, op: op(sft.argmax(x, softness=0.3), 2).probs
        return [(jax.grad(probability)(x, op), jax.jacfwd(probability)(x, op)) for op in COMPARE]

    for backwards, forwards in jax.jit(derivatives)(jnp.array([0.3, 0.9, -0.4, 0.23, 1.57])):
        np.testing.assert_allclose(backwards, forwards, rtol=1e-5, atol=1e-5)
        assert jnp.abs(forwards).max() > 0.01


def test_an_index_compares_along_its_batch():
    i = SoftIndex(P)
    out = i[:, None] == jnp.arange(3)[None]
    np.testing.assert_array_equal(out.probs, P)
    same(sft.equal(i, 1), i == 1)
    same(sft.greater(2, i), i < 2)
    same(sft.less_equal(i, i), i <= i)


def test_expected_index():
    e = SoftIndex(P).expected()
    np.testing.assert_allclose(e.soft(), P @ jnp.arange(3.0), rtol=1e-6)
    np.testing.assert_array_equal(e.hard(), [1, 0])
    assert jnp.issubdtype(e.hard().dtype, jnp.integer)
    many = SoftIndex(jnp.full((1000,), 1 / 1000, jnp.float16)).expected()
    assert many.soft().dtype == jnp.float16
    np.testing.assert_allclose(np.float32(many.soft()), 499.5, rtol=1e-3)


def test_entropy():
    np.testing.assert_allclose(SoftIndex(jnp.full((2, 4), 0.25)).entropy(), np.log(4), rtol=1e-6)
    np.testing.assert_array_equal(SoftIndex.from_hard(jnp.array([0, 2]), 3).entropy(), 0)
    np.testing.assert_allclose(SoftIndex(P).entropy(), -(P * np.log(P)).sum(-1), rtol=1e-6)
    gradient = jax.grad(lambda p: SoftIndex(p).entropy().sum())
    np.testing.assert_allclose(gradient(P), -np.log(P) - 1, rtol=1e-5)
    assert jnp.isfinite(gradient(jnp.eye(3))).all()


def test_log_probs_are_exact_where_probabilities_underflow():
    x = jnp.array([0.0, 1.0, 3.0])
    logs = lambda x: sft.argmax(x, softness=1e-3, standardize=False).log_probs()
    np.testing.assert_array_equal(sft.argmax(x, softness=1e-3, standardize=False).probs, [0, 0, 1])
    np.testing.assert_allclose(logs(x), [-3000, -2000, 0], rtol=1e-6)
    np.testing.assert_allclose(jax.jacobian(logs)(x), (np.eye(3) - np.eye(3)[2]) / 1e-3, rtol=1e-5)
    logits = jnp.array([[-500.0, 0.0], [1000.0, -1000.0]])
    index = SoftIndex.from_logits(logits)
    np.testing.assert_allclose(index.log_probs(), jax.nn.log_softmax(logits), rtol=1e-6)
    for change in (lambda v: v[0], lambda v: v[None], lambda v: v.reshape(2, 1), lambda v: v[::-1]):
        expected = jax.vmap(change, -1, -1)(jax.nn.log_softmax(logits))
        np.testing.assert_allclose(change(index).log_probs(), expected, rtol=1e-6)


@pytest.mark.parametrize("mode", ["smooth", "c0", "c1", "c2"])
def test_log_probs_are_logarithms_with_finite_gradients(mode):
    logs = lambda x, floor=None: sft.argmax(x, axis=1, mode=mode).log_probs(floor)
    np.testing.assert_allclose(jnp.exp(logs(X)), sft.argmax(X, axis=1, mode=mode).probs, rtol=1e-5, atol=1e-7)
    for floor in (None, 1e-6):
        total = lambda x, floor=floor: jnp.where(jnp.isfinite(logs(x, floor)), logs(x, floor), 0).sum()
        assert jnp.isfinite(jax.grad(total)(X)).all()


def test_a_floor_clips_and_renormalises():
    logs = SoftIndex(jnp.array([0.0, 0.25, 0.75])).log_probs(floor=0.25)
    np.testing.assert_allclose(logs, np.log(np.array([0.2, 0.2, 0.6])), rtol=1e-6)
    np.testing.assert_array_equal(SoftIndex(jnp.array([0.0, 1.0])).log_probs(), [-np.inf, 0])


def test_take_of_an_index():
    x = jnp.array([[1.0, 2.0, 4.0], [0.0, 1.0, 0.0]])
    i = SoftIndex(P)
    np.testing.assert_allclose(i.take(x[0]).soft(), P @ x[0], rtol=1e-6)
    np.testing.assert_allclose(i.take(x, axis=1).soft(), x @ P.T, rtol=1e-6)
    np.testing.assert_array_equal(i.take(x, axis=-1).hard(), x[:, i.hard()])
    np.testing.assert_allclose(i.take(sft.soft(x, 0.3), 1).soft(), x @ P.T, rtol=1e-6)
    assert i.take(sft.soft(x, 0.3), 1).relaxation == Relaxation(0.3)


# Relaxation


def test_a_relaxation_is_a_value():
    r = Relaxation(0.5, "c1")
    assert r == Relaxation(softness=0.5, mode="c1") != Relaxation(0.5, "c2")
    assert hash(r) == hash(Relaxation(0.5, "c1"))
    assert r.replace(mode="c2", gated=True) == Relaxation(0.5, "c2", gated=True)
    assert r.replace() is r
    assert {r: 1}[Relaxation(0.5, "c1")] == 1
    with pytest.raises(AttributeError):
        r.softness = 1.0


def test_a_number_is_structure_and_an_array_a_leaf():
    assert jax.tree.leaves(Relaxation(0.5)) == []
    assert len(jax.tree.leaves(Relaxation(jnp.float32(0.5)))) == 1
    assert jax.tree.structure(Relaxation(0.5)) != jax.tree.structure(Relaxation(0.6))
    assert jax.tree.structure(Relaxation(jnp.float32(0.5))) == jax.tree.structure(Relaxation(jnp.float32(0.6)))
    assert Relaxation(2).softness == 2.0
    assert isinstance(Relaxation(2).softness, float)
    assert not Relaxation(np.float32(2)).is_static


def test_annealing_an_array_softness_compiles_once():
    count = 0

    @jax.jit
    def f(x):
        nonlocal count
        count += 1
        return (x > 0).probs

    results = [f(sft.soft(jnp.float32(1.0), jnp.float32(s))) for s in (0.5, 1.0, 2.0)]
    assert count == 1
    np.testing.assert_allclose(results, 1 / (1 + np.exp(-1 / np.array([0.5, 1.0, 2.0]))), rtol=1e-6)


# Pytrees


@values
def test_round_trips_with_odd_leaves(value):
    leaves, tree = jax.tree.flatten(value)
    same(jax.tree.unflatten(tree, leaves), value)
    for odd in (None, object(), "leaf", jax.ShapeDtypeStruct((7,), jnp.int8)):
        rebuilt = jax.tree.unflatten(tree, [odd] * len(leaves))
        assert type(rebuilt) is type(value)
        kept = jax.tree.leaves(rebuilt, is_leaf=lambda x: x is None)
        assert all(leaf is odd for leaf in kept)
        assert isinstance(repr(rebuilt), str)
    emptied = jax.tree.map(lambda _: None, value)
    assert jax.tree.leaves(emptied) == []
    shapes = jax.eval_shape(lambda v: v, value)
    assert shapes.soft().shape == value.soft().shape
    assert shapes.hard().dtype == value.hard().dtype
    assert (shapes.shape, shapes.dtype) == (value.shape, value.dtype)


@values
def test_tree_map_acts_on_leaves(value):
    doubled = jax.tree.map(lambda leaf: leaf + leaf if leaf.dtype != bool else ~leaf, value)
    np.testing.assert_array_equal(doubled.soft(), 2 * value.soft())
    assert type(doubled) is type(value)


def test_the_leaves_have_names():
    paths = lambda v: [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(v)]
    assert paths(SoftArray(X)) == [".values", ".hard_view"]
    assert paths(sft.soft(X, jnp.float32(0.1))) == [".values", ".hard_view", "._relaxation.softness"]
    assert paths(SoftBool(P)) == [".probs", ".hard_view"]
    assert paths(SoftIndex(P)) == [".probs", ".hard_view"]


@values
def test_settings_are_structure(value):
    relabelled = {
        SoftArray: lambda: sft.soft(value, mode="c1"),
        SoftBool: lambda: SoftBool(P, logic="godel"),
        SoftIndex: lambda: SoftArray(P, P),
    }[type(value)]()
    assert jax.tree.structure(relabelled) != jax.tree.structure(value)


@values
def test_values_pass_through_transformations(value):
    same(jax.jit(lambda v: v)(value), value)
    same(jax.vmap(lambda v: v)(value), value)
    same(jax.lax.scan(lambda carry, v: (carry, v), 0, value)[1], value)
    same(jax.device_put(value, jax.devices()[0]), value)
    same(jax.lax.cond(True, lambda v: v, lambda v: v, value), value)


def test_gradients_arrive_as_soft_values():
    gradient = jax.grad(lambda b: b.probs.sum() * 3, allow_int=True)(SoftBool(P))
    assert isinstance(gradient, SoftBool)
    np.testing.assert_array_equal(gradient.probs, 3 * np.ones_like(P))


@values
def test_copies(value):
    same(copy.copy(value), value)
    same(copy.deepcopy(value), value)
    same(pickle.loads(pickle.dumps(value)), value)


def test_a_computed_index_can_be_pickled():
    index = sft.argmax(X, axis=1)
    same(pickle.loads(pickle.dumps(index)), index)


# repr


def test_repr_shows_dtype_shape_and_settings():
    for value, text in (
        (SoftArray(X), "SoftArray(f32[2,3], softness=0.1, mode='smooth')"),
        (sft.soft(1.0, 0.25, "c1"), "SoftArray(f32[], softness=0.25, mode='c1')"),
        (sft.soft(jnp.arange(3)), "SoftArray(f32[3], hard=i32[3], softness=0.1, mode='smooth')"),
        (sft.soft(X, jnp.float32(0.1)), "SoftArray(f32[2,3], softness=f32[], mode='smooth')"),
        (sft.soft(X, logic="godel"), "SoftArray(f32[2,3], softness=0.1, mode='smooth', logic='godel')"),
        (sft.soft(X.astype(jnp.bfloat16)), "SoftArray(bf16[2,3], softness=0.1, mode='smooth')"),
        (SoftBool(P), "SoftBool(f32[2,3])"),
        (SoftBool(P, logic="godel"), "SoftBool(f32[2,3], logic='godel')"),
        (SoftIndex(P), "SoftIndex(f32[2,[3]])"),
        (SoftIndex(P[0]), "SoftIndex(f32[[3]])"),
        (Relaxation(0.5, "c1", gated=True), "Relaxation(softness=0.5, mode='c1', gated=True)"),
    ):
        assert repr(value) == text


def test_repr_of_a_traced_value():
    seen = []
    jax.eval_shape(lambda v: seen.append(repr(v)), SoftArray(X))
    assert seen == ["SoftArray(f32[2,3], softness=0.1, mode='smooth')"]
