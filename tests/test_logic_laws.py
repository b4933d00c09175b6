"""Laws of logic in every t-norm family, on drawn probabilities, the ends 0 and 1 among them."""

from functools import reduce
from itertools import product
from operator import and_, or_

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import softtypes as sft
from tests.laws import FAMILIES, T_NORMS, alike, close, finite, truth, truths
from tests.laws import double_precision as double_precision

families = pytest.mark.parametrize("logic", FAMILIES)
t_norms = pytest.mark.parametrize("logic", T_NORMS)
MATRIX = ((2, 3),)

AND = {
    "product": lambda a, b: a * b,
    "godel": np.minimum,
    "lukasiewicz": lambda a, b: np.maximum(0, a + b - 1),
    "geometric": lambda a, b: np.sqrt(a * b),
}
OR = {
    "product": lambda a, b: a + b - a * b,
    "godel": np.maximum,
    "lukasiewicz": lambda a, b: np.minimum(1, a + b),
    "geometric": lambda a, b: 1 - np.sqrt((1 - a) * (1 - b)),
}
ALL = {
    "product": lambda p: p.prod(),
    "godel": lambda p: p.min(initial=1),
    "lukasiewicz": lambda p: np.maximum(0.0, 1 - (1 - p).sum()),
    "geometric": lambda p: p.prod() ** (1 / max(p.size, 1)),
}
CONNECTIVES = {
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "ne": lambda a, b: a != b,
    "eq": lambda a, b: a == b,
    "implies": lambda a, b: a.implies(b),
}
SYMMETRIC = ("and", "or", "xor", "ne", "eq")
TABLES = {
    "and": np.logical_and,
    "or": np.logical_or,
    "xor": np.logical_xor,
    "ne": np.not_equal,
    "eq": np.equal,
    "implies": np.less_equal,
}


def formula(name, logic, p, q):
    both, either = AND[logic], OR[logic]
    exclusive = either(both(p, 1 - q), both(1 - p, q))
    return {
        "and": both(p, q),
        "or": either(p, q),
        "xor": exclusive,
        "ne": exclusive,
        "eq": 1 - exclusive,
        "implies": either(1 - p, q),
    }[name]


# Two operands


@families
@pytest.mark.parametrize("name", CONNECTIVES)
@given(ps=truths(2))
def test_a_connective_is_its_formula_and_its_truth_table(name, logic, ps):
    p, q = ps
    out = CONNECTIVES[name](truth(p, logic), truth(q, logic))
    close(out.probs, formula(name, logic, p, q), 1e-7)  # a geometric mean near 0 doubles the digits lost
    np.testing.assert_array_equal(out.hard(), TABLES[name](p > 0.5, q > 0.5))
    assert out.logic == logic


@families
@pytest.mark.parametrize("name", CONNECTIVES)
def test_certain_operands_are_classical_logic(name, logic):
    p, q = np.array(list(product([0.0, 1.0], repeat=2))).T
    out = CONNECTIVES[name](truth(p, logic), truth(q, logic))
    np.testing.assert_array_equal(out.probs, out.hard())
    np.testing.assert_array_equal(out.hard(), TABLES[name](p == 1, q == 1))


@families
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@given(ps=truths(2, MATRIX))
def test_probabilities_stay_in_the_unit_interval(dtype, logic, ps):
    a, b = (truth(p.astype(dtype), logic) for p in ps)
    for out in (*(op(a, b) for op in CONNECTIVES.values()), ~a, a.all(0), a.any(0), a.all(), a.any()):
        assert out.probs.dtype == dtype
        out.validate()


@families
@pytest.mark.parametrize("name", SYMMETRIC)
@given(ps=truths(2))
def test_commutativity(name, logic, ps):
    a, b = (truth(p, logic) for p in ps)
    alike(CONNECTIVES[name](a, b), CONNECTIVES[name](b, a))


@t_norms
@pytest.mark.parametrize("name", ["and", "or"])
@given(ps=truths(3))
def test_t_norms_are_associative(name, logic, ps):
    a, b, c = (truth(p, logic) for p in ps)
    op = CONNECTIVES[name]
    alike(op(op(a, b), c), op(a, op(b, c)))


def test_the_geometric_mean_is_not_associative():
    a, b, c = (truth(p, "geometric") for p in (1.0, 1.0, 1 / 16))
    close(((a & b) & c).probs, 1 / 4)
    close((a & (b & c)).probs, 1 / 2)


@families
@given(ps=truths(2))
def test_de_morgan(logic, ps):
    a, b = (truth(p, logic) for p in ps)
    alike(~(a & b), ~a | ~b)
    alike(~(a | b), ~a & ~b)


@families
@given(ps=truths(2))
def test_double_negation_and_contraposition(logic, ps):
    a, b = (truth(p, logic) for p in ps)
    alike(~~a, a)
    alike(a.implies(b), (~b).implies(~a))


@t_norms
@given(ps=truths(1))
def test_true_is_neutral_and_false_absorbs(logic, ps):
    a = truth(ps[0], logic)
    alike(a & True, a)
    alike(a | False, a)
    np.testing.assert_array_equal((a & False).probs, 0)
    np.testing.assert_array_equal((a | True).probs, 1)


@pytest.mark.parametrize("logic", ["godel", "geometric"])
@given(ps=truths(1))
def test_the_idempotent_families(logic, ps):
    a = truth(ps[0], logic)
    alike(a & a, a)
    alike(a | a, a)


@given(ps=truths(1))
def test_lukasiewicz_has_the_excluded_middle(ps):
    a = truth(ps[0], "lukasiewicz")
    close((a | ~a).probs, np.ones(a.shape))
    close((a & ~a).probs, np.zeros(a.shape))
    close(a.implies(a).probs, np.ones(a.shape))


@families
@given(ps=truths(3))
def test_conjunction_and_disjunction_are_monotone(logic, ps):
    p, q, r = ps
    low, high, other = (truth(x, logic) for x in (np.minimum(p, q), np.maximum(p, q), r))
    for op in (and_, or_):
        assert (op(low, other).probs <= op(high, other).probs + 1e-12).all()


@pytest.mark.parametrize("logic", T_NORMS)
def test_small_probabilities_keep_their_digits(logic):
    a, b = (truth(np.float32(p), logic) for p in (2e-10, 1e-10))
    np.testing.assert_allclose((a | b).probs, OR[logic](2e-10, 1e-10), rtol=1e-6)
    np.testing.assert_allclose((a | False).probs, 2e-10, rtol=1e-6)


@families
@pytest.mark.parametrize("name", CONNECTIVES)
def test_gradients_are_finite_everywhere(name, logic):
    p, q = np.array(list(product([0.0, 0.5, 1.0], repeat=2))).T
    total = lambda p, q: CONNECTIVES[name](truth(p, logic), truth(q, logic)).probs.sum()
    assert finite(jax.grad(total, (0, 1))(p, q))


@families
def test_raw_bools_are_certain(logic):
    p, bits = np.array([0.25, 0.75, 1.0]), np.array([True, False, True])
    a = truth(p, logic)
    for name, op in CONNECTIVES.items():
        certain = sft.SoftBool.from_hard(bits, logic=logic)
        for raw in (bits, jnp.asarray(bits)):
            alike(op(a, raw), op(a, certain))
        if name != "implies":
            alike(op(bits, a), op(certain, a))
            alike(op(jnp.asarray(bits), a), op(certain, a))
            alike(op(True, a), op(sft.SoftBool.from_hard(np.ones(3, bool), logic=logic), a))


@families
@given(ps=truths(2))
def test_functions_are_the_operators(logic, ps):
    a, b = (truth(p, logic) for p in ps)
    alike(sft.logical_and(a, b), a & b)
    alike(sft.logical_or(a, b), a | b)
    alike(sft.logical_xor(a, b), a ^ b)
    alike(sft.logical_not(a), ~a)
    alike(sft.implies(a, b), a.implies(b))
    alike(sft.equal(a, b), a == b)
    alike(sft.not_equal(a, b), a != b)


def test_functions_of_raw_bools_on_the_left_take_on_the_family():
    out = sft.logical_and(jnp.array(True), truth(0.25, "godel"))
    assert out.logic == "godel"
    assert out.probs == 0.25


# Along axes


@families
@given(ps=truths(1, MATRIX), axis=st.sampled_from([None, 0, 1, -1, (0, 1), (1,), ()]), keepdims=st.booleans())
def test_all_and_any_are_their_formula_over_axes(logic, ps, axis, keepdims):
    p = ps[0]
    axes = tuple(range(2)) if axis is None else np.atleast_1d(axis).astype(int) % 2
    rows = np.moveaxis(p, axes, range(2 - len(axes), 2)).reshape(*np.delete(p.shape, axes), -1)
    expected = np.apply_along_axis(ALL[logic], -1, rows), 1 - np.apply_along_axis(ALL[logic], -1, 1 - rows)
    a, keep = truth(p, logic), {"axis": axis, "keepdims": keepdims}
    for out, value, exact in zip((a.all(**keep), a.any(**keep)), expected, (np.all, np.any), strict=True):
        hard = exact(p > 0.5, axis=axis if axis is None else tuple(axes), keepdims=keepdims)
        np.testing.assert_array_equal(out.hard(), hard)
        close(out.probs, value.reshape(hard.shape), 1e-7)
    alike(sft.all(a, **keep), a.all(**keep))
    alike(sft.any(a, **keep), a.any(**keep))


@t_norms
@given(ps=truths(1, MATRIX))
def test_all_and_any_fold_their_connective(logic, ps):
    a = truth(ps[0], logic)
    alike(a.all(0), reduce(and_, a))
    alike(a.any(0), reduce(or_, a))


@families
@given(ps=truths(1, MATRIX), axis=st.sampled_from([None, 0, 1]))
def test_de_morgan_over_axes(logic, ps, axis):
    a = truth(ps[0], logic)
    alike(~a.all(axis), (~a).any(axis))


@families
@given(ps=truths(1, ((4,),)), order=st.permutations(range(4)))
def test_all_and_any_do_not_depend_on_the_order(logic, ps, order):
    a = truth(ps[0], logic)
    alike(a.all(), a[np.array(order)].all())
    alike(a.any(), a[np.array(order)].any())


@families
@given(ps=truths(2, ((4,),)))
def test_all_and_any_are_monotone(logic, ps):
    low, high = truth(np.minimum(*ps), logic), truth(np.maximum(*ps), logic)
    assert low.all().probs <= high.all().probs + 1e-12
    assert low.any().probs <= high.any().probs + 1e-12


@families
@given(ps=truths(1, ((4,),)), mask=st.lists(st.booleans(), min_size=4, max_size=4).map(np.array))
def test_masked_entries_do_not_count(logic, ps, mask):
    a, kept = truth(ps[0], logic), ps[0][mask]
    for out, expected, hard in (
        (a.all(where=mask), ALL[logic](kept), np.all(kept > 0.5)),
        (a.any(where=mask), 1 - ALL[logic](1 - kept), np.any(kept > 0.5)),
    ):
        close(out.probs, expected, 1e-7)
        assert out.hard() == hard


@families
def test_over_nothing_all_is_true_and_any_is_false(logic):
    nothing = truth(np.ones((0, 2)), logic)
    for out, value in ((nothing.all(0), 1), (nothing.any(0), 0)):
        np.testing.assert_array_equal(out.probs, [value, value])
        np.testing.assert_array_equal(out.hard(), [value, value])
    np.testing.assert_array_equal(sft.log_all(nothing, 0), [0, 0])
    np.testing.assert_array_equal(sft.log_any(nothing, 0), [-np.inf, -np.inf])


@families
@pytest.mark.parametrize("reduction", [sft.all, sft.any, sft.log_all, sft.log_any])
def test_gradients_over_axes_are_finite_and_certain_entries_are_no_trap(reduction, logic):
    p = np.array([[0.0, 0.5], [1.0, 0.5], [0.0, 0.0], [1.0, 1.0]])

    def total(p):
        out = reduction(truth(p, logic), 1)
        out = out.probs if isinstance(out, sft.SoftBool) else jnp.where(jnp.isfinite(out), out, 0)
        return out.sum()

    assert finite(jax.grad(total)(p))


# Logarithms


@families
@given(ps=truths(1, MATRIX), axis=st.sampled_from([None, 0, 1]), keepdims=st.booleans())
def test_log_all_and_log_any_are_logarithms(logic, ps, axis, keepdims):
    a = truth(ps[0], logic)
    for log, plain in ((sft.log_all, sft.all), (sft.log_any, sft.any)):
        close(jnp.exp(log(a, axis, keepdims)), plain(a, axis, keepdims).probs, 1e-7)


@families
def test_a_thousand_probable_things(logic):
    p = np.full(1000, np.float32(0.9))
    log_all = {"product": 1000 * np.log(0.9), "godel": np.log(0.9), "lukasiewicz": -np.inf, "geometric": np.log(0.9)}
    np.testing.assert_allclose(sft.log_all(truth(p, logic)), log_all[logic], rtol=1e-5)
    assert sft.log_any(truth(p, logic)) == pytest.approx(
        {"godel": np.log(0.9), "geometric": np.log(0.9)}.get(logic, 0.0), rel=1e-5
    )


def test_log_all_has_a_gradient_where_the_product_underflows():
    p = np.full(1000, np.float32(0.5))
    assert sft.all(truth(p)).probs == 0
    close(jax.grad(lambda p: sft.log_all(truth(p)))(p), np.full(1000, 2.0), 1e-5)


@pytest.mark.parametrize(("logic", "expected"), [("product", 3e-10), ("godel", 2e-10), ("lukasiewicz", 3e-10)])
def test_log_any_keeps_the_digits_of_small_probabilities(logic, expected):
    p = np.array([1e-10, 2e-10], np.float32)
    np.testing.assert_allclose(sft.log_any(truth(p, logic)), np.log(expected), rtol=1e-5)


@families
def test_the_logarithm_of_impossible_has_gradient_zero(logic):
    grad = jax.grad(lambda p: sft.log_all(truth(p, logic)))(np.zeros(2))
    np.testing.assert_array_equal(grad, 0)


# Transforms


@families
@given(ps=truths(2, MATRIX))
def test_vmap_is_a_loop(logic, ps):
    a, b = (truth(p, logic) for p in ps)

    def program(a, b):
        return ((a ^ b) | a.implies(b)).all() & b.any()

    mapped = jax.vmap(program)(a, b)
    for i in range(2):
        alike(mapped[i], program(a[i], b[i]))
