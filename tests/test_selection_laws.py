"""Laws of selection: by a probability, by distributions over indices, and by the extremes of a row."""

from functools import cache
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import softtypes as sft
from tests.laws import FAMILIES, MODES, alike, close, finite, reals, truth, truths
from tests.laws import double_precision as double_precision

EVERYDAY = ("smooth", "c1")  # the others change the weights only, not what is made of them
modes = pytest.mark.parametrize(
    "mode", [mode if mode in EVERYDAY else pytest.param(mode, marks=pytest.mark.slow) for mode in MODES]
)
RNG = np.random.default_rng(0)
BAD = [np.nan, np.inf, -np.inf]


def distribution(*shape):
    p = RNG.random(shape) + 0.01
    return sft.SoftIndex(jnp.asarray(p / p.sum(-1, keepdims=True)))


# where


@given(ps=truths(3), seed=st.integers(0, 99))
def test_where_is_the_mixture(ps, seed):
    p, x, y = ps
    c = truth(p)
    out = sft.where(c, x, y)
    close(out.soft(), p * x + (1 - p) * y)
    np.testing.assert_array_equal(out.hard(), np.where(p > 0.5, x, y))
    alike(c.where(x, y), out)
    alike(sft.soft(x).where(c, y), out)
    close((~c).where(y, x).soft(), out.soft())
    close(c.where(x, x).soft(), x)


BRANCH_DTYPES = [np.float16, jnp.bfloat16, np.float32, np.float64]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("dtype", BRANCH_DTYPES)
def test_an_unselected_branch_leaks_neither_value_nor_gradient(dtype, bad):
    p = np.array([1.0, 0.0, 0.5], dtype)
    x, y = np.array([2.0, bad, 4.0], dtype), np.array([bad, 3.0, 6.0], dtype)
    f = lambda p, x, y: sft.SoftBool(p).where(x, y).soft()
    value, pull = jax.vjp(f, p, x, y)
    assert value.dtype == dtype
    np.testing.assert_array_equal(value, np.array([2, 3, 5], dtype))
    dp, dx, dy = pull(np.ones(3, dtype))
    assert finite((dp, dx, dy))
    np.testing.assert_array_equal(dx, p)
    np.testing.assert_array_equal(dy, 1 - p)
    np.testing.assert_array_equal(sft.SoftBool(p).where(x, y).st()[:2], np.array([2, 3], dtype))


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("mode", ["c0", "c1", "c2", "hard"])
def test_a_saturated_comparison_selects_exactly(mode, bad):
    x = np.array([-9.0, 9.0])
    f = lambda x: sft.where(sft.greater(x, 0.0, mode=mode), x * x, bad).soft()[1]
    g = lambda x: sft.where(sft.less(x, 0.0, mode=mode), bad, x * x).soft()[1]
    for h in (f, g):
        value, gradient = jax.value_and_grad(h)(x)
        close(value, 81)
        close(gradient, np.array([0.0, 18.0]))


@pytest.mark.parametrize("bad", BAD)
def test_a_selected_branch_comes_through(bad):
    c = sft.SoftBool(jnp.array([1.0, 0.0]))
    np.testing.assert_array_equal(c.where(jnp.full(2, bad), jnp.ones(2)).soft(), [bad, 1])
    np.testing.assert_array_equal(c.where(jnp.ones(2), jnp.full(2, bad)).soft(), [1, bad])


@given(ps=truths(3))
def test_where_of_booleans_and_of_indices(ps):
    p, a, b = ps
    c, x, y = truth(p), truth(a), truth(b)
    out = sft.where(c, x, y)
    assert isinstance(out, sft.SoftBool)
    close(out.probs, p * a + (1 - p) * b)
    np.testing.assert_array_equal(out.hard(), np.where(p > 0.5, a > 0.5, b > 0.5))
    alike(c.where(x, True), c.where(x, sft.SoftBool.from_hard(True)))
    i, j = (sft.SoftIndex(jnp.stack([q, 1 - q], -1)) for q in (a, b))
    index = sft.where(c, i, j)
    close(index.probs, p[..., None] * i.probs + (1 - p)[..., None] * j.probs)
    np.testing.assert_array_equal(index.hard(), np.where(p > 0.5, i.hard(), j.hard()))
    alike(c.where(i, 1), c.where(i, sft.SoftIndex.from_hard(1, 2)))


def test_where_of_raw_bools_is_jnp_where():
    bits, x = np.array([True, False]), np.array([1.0, 2.0])
    out = sft.where(bits, x, -x)
    assert isinstance(out, jax.Array)
    np.testing.assert_array_equal(out, np.where(bits, x, -x))
    alike(sft.where(bits, sft.soft(x), -x), sft.soft(np.where(bits, x, -x)))


# x[...]


class S(NamedTuple):
    """A place in a key for a SoftIndex of this batch shape."""

    shape: tuple[int, ...] = ()


X = RNG.normal(size=(4, 5, 6))
B, C, A, N, ALL, DOTS = S((3,)), S((2, 3)), S(), None, slice(None), ...
KEYS = [
    # one
    *[(A,), (B,), (C,), (S((1,)),), (S((0,)),), (ALL, A), (ALL, B), (ALL, C), (ALL, ALL, B), (DOTS, B), (B, DOTS)],
    *[(ALL, B, ALL), (DOTS, B, ALL), (slice(1, 3), B), (slice(None, None, -1), B, slice(4, 0, -2)), (slice(0, 0), B)],
    # beside integers, which numpy counts among the advanced indices
    *[
        (1, B),
        (B, 1),
        (-1, B, 2),
        (1, ALL, B),
        (ALL, 1, B),
        (B, ALL, -2),
        (0, A, 0),
        (A, 0, A),
        (DOTS, 0, A),
        (2, DOTS, B),
    ],
    # beside None
    *[
        (N, B),
        (B, N),
        (N, ALL, B),
        (ALL, N, B),
        (B, N, ALL),
        (DOTS, N, B),
        (B, DOTS, N),
        (N, N, A),
        (1, N, B),
        (N, 1, B),
    ],
    # several, jointly
    *[
        (A, A),
        (B, B),
        (B, A),
        (A, B),
        (C, B),
        (S((2, 1)), B),
        (S((2, 1)), S((1, 3)), ALL),
        (B, B, B),
        (C, A, S((3,))),
        (B, DOTS, B, B),
    ],
    *[(B, ALL, B), (B, ALL, A), (A, ALL, A), (ALL, B, B), (DOTS, B, B), (B, DOTS, B), (C, ALL, B), (B, slice(1, 4), B)],
    *[(B, N, B), (ALL, B, N, B), (N, B, DOTS, B), (B, B, N), (B, 1, B), (1, B, B), (B, N, 1, B), (N, B, N, B, N)],
    # beside exact arrays
    *[(np.array([0, 2, 1]), B), (B, np.array([-1, 0, 1])), (ALL, np.array([[0], [3]]), B), (B, ALL, np.array(2))],
]


def filled(key, make):
    """The key with `make(shape, n)` in its places, n the size of the axis that the place stands for."""
    used = sum(part is not N and part is not DOTS for part in key)
    axis, out = 0, []
    for part in key:
        out.append(make(part.shape, X.shape[axis]) if isinstance(part, S) else part)
        axis += X.ndim - used if part is DOTS else part is not N
    return tuple(out)


def shown(key):
    return str(key).replace("slice(None, None, None)", ":").replace("Ellipsis", "...")


def drawn_places(key):
    """Two integers and a weight for each place of the key, and the places filled by a function of a draw."""
    rng, draws = np.random.default_rng(1), []

    def draw(shape, n):
        draws.append((*rng.integers(0, n, (2, *shape)), 0.25 + 0.5 * rng.random(), n))

    filled(key, draw)
    return draws


def placed(key, values):
    values = iter(values)
    return filled(key, lambda *_: next(values))


def on_either(first, second, w, n):
    return sft.SoftIndex(jnp.asarray(w * np.eye(n)[first] + (1 - w) * np.eye(n)[second]), jnp.asarray(first))


@cache
def selections():
    """`x[key]` for every key at once: one program to compile."""
    indices = [[on_either(*draw) for draw in drawn_places(key)] for key in KEYS]
    program = lambda x, indices: [x[placed(key, values)] for key, values in zip(KEYS, indices, strict=True)]
    return dict(zip(map(shown, KEYS), jax.jit(program)(sft.soft(X), indices), strict=True))


@pytest.mark.parametrize("key", KEYS, ids=shown)
def test_selection_is_laid_out_as_numpy_indexing(key):
    """Each SoftIndex is on either of two integers, w to 1 - w: the mean of numpy's results over the joint choices."""
    out, draws, expected = selections()[shown(key)], drawn_places(key), 0
    for choice in product((0, 1), repeat=len(draws)):
        weights = [(w, 1 - w)[side] for side, (_, _, w, _) in zip(choice, draws, strict=True)]
        sides = [draw[side] for side, draw in zip(choice, draws, strict=True)]
        expected = expected + np.prod(weights) * X[placed(key, sides)]
    np.testing.assert_array_equal(out.hard(), X[placed(key, [first for first, *_ in draws])])
    assert out.soft().shape == out.hard().shape == out.shape
    close(out.soft(), expected)


def test_the_table_of_keys_is_long():
    assert len(set(map(shown, KEYS))) == len(KEYS) >= 60


def test_a_certain_index_selects_exactly():
    rows, columns = jnp.array([3, 0]), jnp.array([[5], [2]])
    i, j = sft.SoftIndex.from_hard(rows, 4), sft.SoftIndex.from_hard(columns, 6)
    out = sft.soft(X)[i, :, j]
    np.testing.assert_array_equal(out.soft(), X[rows, :, columns])
    np.testing.assert_array_equal(out.st(), X[rows, :, columns])


def test_selection_is_the_matrix_product():
    x, p = X[0], distribution(7, 5)
    close(sft.soft(x)[p].soft(), p.probs @ x)
    close(p.take(x, 0).soft(), p.probs @ x)
    close(p.take(x.T, 1).soft(), (p.probs @ x).T)
    _, pull = jax.vjp(lambda p, x: sft.soft(x)[sft.SoftIndex(p)].soft(), p.probs, x)
    g = RNG.normal(size=(7, 6))
    dp, dx = pull(g)
    close(dp, g @ x.T)
    close(dx, p.probs.T @ g)


def test_independent_selections_multiply():
    p, q = distribution(4), distribution(6)
    close(sft.soft(X)[p, :, q].soft(), np.einsum("i,k,ijk", p.probs, q.probs, X))


@pytest.mark.parametrize("bad", BAD)
def test_an_entry_without_weight_leaks_neither_value_nor_gradient(bad):
    p = np.array([[0.5, 0.0, 0.5], [0.0, 0.0, 1.0]])
    x = np.array([[1.0, 2.0], [bad, bad], [3.0, 4.0]])
    value, pull = jax.vjp(lambda p, x: sft.soft(x)[sft.SoftIndex(p)].soft(), p, x)
    close(value, np.array([[2.0, 3.0], [3.0, 4.0]]))
    assert finite(pull(np.ones((2, 2))))
    close(pull(np.ones((2, 2)))[1], np.array([[0.5, 0.5], [0, 0], [1.5, 1.5]]))


def test_a_bad_entry_reaches_only_what_weighs_it():
    p = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    for bad in BAD:
        out = sft.SoftIndex(p).take(np.array([bad, 1.0, 3.0])).soft()
        np.testing.assert_array_equal(out, [bad, 2])


@pytest.mark.parametrize("logic", FAMILIES)
def test_a_softbool_is_selected_by_expectation(logic):
    p, index = RNG.random((3, 4)), distribution(2, 4)
    b = truth(p, logic)
    for out in (b[:, index], sft.take(b, index, axis=1)):
        assert isinstance(out, sft.SoftBool)
        assert out.logic == logic
        close(out.probs, p @ index.probs.T)
        np.testing.assert_array_equal(out.hard(), (p > 0.5)[:, index.hard()])


# The functions of jnp and lax


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_take(shape, axis):
    x = X[0]
    n = x.size if axis is None else x.shape[axis]
    i = RNG.integers(0, n, shape)
    certain = sft.take(x, sft.SoftIndex.from_hard(jnp.asarray(i), n), axis)
    for view in (
        certain.soft(),
        certain.hard(),
        certain.st(),
        sft.take(x, i, axis),
        sft.take(sft.soft(x), i, axis).soft(),
    ):
        np.testing.assert_array_equal(view, jnp.take(x, i, axis))
    p = distribution(*shape, n)
    moved = x.ravel() if axis is None else x
    explicit = sum(
        np.expand_dims(p.probs[..., k], tuple(range(p.ndim, p.ndim + moved.ndim - 1)))
        * np.expand_dims(np.take(moved, k, axis or 0), tuple(range(p.ndim)))
        for k in range(n)
    )
    front = tuple(range(p.ndim))
    at = 0 if axis is None else axis % x.ndim
    close(sft.take(x, p, axis).soft(), np.moveaxis(explicit, front, tuple(at + k for k in front)))


@pytest.mark.parametrize(
    ("axis", "shape"), [(0, (2, 6)), (1, (5, 3)), (-1, (5, 3)), (-2, (1, 6)), (1, (1, 3)), (0, (2, 1))]
)
def test_take_along_axis(axis, shape):
    x = X[0]
    n = x.shape[axis]
    i = RNG.integers(0, n, shape)
    certain = sft.take_along_axis(x, sft.SoftIndex.from_hard(jnp.asarray(i), n), axis)
    for view in (certain.soft(), certain.hard(), certain.st(), sft.take_along_axis(x, i, axis)):
        np.testing.assert_array_equal(view, jnp.take_along_axis(x, i, axis))
    p = distribution(*shape, n)
    explicit = sum(p.probs[..., k] * np.take(x, [k], axis) for k in range(n))
    close(sft.take_along_axis(x, p, axis).soft(), explicit)
    np.testing.assert_array_equal(sft.take_along_axis(x, p, axis).hard(), jnp.take_along_axis(x, p.hard(), axis))


CHOICES = {
    "arrays": [X[0, :, 0], X[1, :, 0], X[2, :, 0]],
    "a stack": X[:3, :, 0],
    "broadcast": [X[0], X[1, :, :1], X[2, :1]],
    "numbers": [1.0, 2.0, 4.0],
}


@pytest.mark.parametrize("choices", CHOICES.values(), ids=CHOICES.keys())
def test_choose(choices):
    shape = (5,) if np.ndim(choices[0]) < 2 else (5, 6)
    i = RNG.integers(0, 3, shape)
    expected = np.choose(i, list(choices))
    certain = sft.choose(sft.SoftIndex.from_hard(jnp.asarray(i), 3), choices)
    for view in (certain.soft(), certain.hard(), certain.st(), sft.choose(i, choices)):
        np.testing.assert_array_equal(view, expected)
    p = distribution(*shape, 3)
    close(sft.choose(p, choices).soft(), sum(p.probs[..., k] * np.asarray(choices[k]) for k in range(3)))
    softs = [sft.soft(c, 0.3) for c in choices]
    alike(sft.choose(p, softs), sft.choose(p, choices))
    assert sft.choose(i, softs).relaxation == softs[0].relaxation


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("keepdims", [True, False])
def test_dynamic_index_in_dim(keepdims, axis):
    n = X.shape[axis]
    certain = sft.dynamic_index_in_dim(X, sft.SoftIndex.from_hard(2, n), axis, keepdims)
    exact = jax.lax.dynamic_index_in_dim(X, 2, axis, keepdims)
    for view in (certain.soft(), certain.hard(), certain.st(), sft.dynamic_index_in_dim(X, 2, axis, keepdims)):
        np.testing.assert_array_equal(view, exact)
    p = distribution(n)
    explicit = sum(p.probs[k] * jax.lax.dynamic_index_in_dim(X, k, axis, keepdims) for k in range(n))
    close(sft.dynamic_index_in_dim(X, p, axis, keepdims).soft(), explicit)


@pytest.mark.parametrize(("axis", "size"), [(0, 0), (1, 3), (-1, 4), (-3, 4), (2, 1)])
def test_dynamic_slice_in_dim_clamps_as_lax_does(axis, size):
    n = X.shape[axis]
    for start in (0, n - 1):
        certain = sft.dynamic_slice_in_dim(X, sft.SoftIndex.from_hard(start, n), size, axis)
        exact = jax.lax.dynamic_slice_in_dim(X, start, size, axis)
        for view in (certain.soft(), certain.hard(), certain.st(), sft.dynamic_slice_in_dim(X, start, size, axis)):
            np.testing.assert_array_equal(view, exact)
    p = distribution(n)
    explicit = sum(p.probs[k] * np.take(X, range(min(k, n - size), min(k, n - size) + size), axis) for k in range(n))
    close(sft.dynamic_slice_in_dim(X, p, size, axis).soft(), explicit)


def test_dynamic_slice():
    sizes = (2, 5, 3)
    certain = sft.dynamic_slice(X, [sft.SoftIndex.from_hard(3, 4), 0, sft.SoftIndex.from_hard(1, 6)], sizes)
    exact = jax.lax.dynamic_slice(X, (3, 0, 1), sizes)
    for view in (certain.soft(), certain.hard(), certain.st(), sft.dynamic_slice(X, (3, 0, 1), sizes)):
        np.testing.assert_array_equal(view, exact)
    p, q = distribution(4), distribution(6)
    explicit = sum(
        p.probs[i] * q.probs[j] * jax.lax.dynamic_slice(X, (i, 0, j), sizes) for i, j in product(range(4), range(6))
    )
    close(sft.dynamic_slice(X, [p, 0, q], sizes).soft(), explicit)


@pytest.mark.parametrize("name", ["take", "take_along_axis", "dynamic_index_in_dim", "dynamic_slice_in_dim"])
def test_soft_operands_are_selected_in_both_views(name):
    x = sft.SoftArray(jnp.asarray(X[0, 0]), jnp.arange(6), sft.Relaxation(0.3, "c1"))
    index = {"take_along_axis": distribution(2, 6)}.get(name, distribution(6))
    rest = (2,) if name == "dynamic_slice_in_dim" else ()
    out = getattr(sft, name)(x, index, *rest)
    close(out.soft(), getattr(sft, name)(x.soft(), index, *rest).soft())
    np.testing.assert_array_equal(out.hard(), getattr(sft, name)(x.hard(), index, *rest).hard())
    assert out.hard().dtype == x.hard().dtype
    assert out.relaxation == x.relaxation


# Extremes


@cache
def weights(name, mode):
    return jax.jit(lambda x: getattr(sft, name)(x, axis=-1, mode=mode).probs)


@cache
def extreme(name, mode):
    return jax.jit(lambda x: getattr(sft, name)(x, axis=-1, mode=mode))


ROWS = ((3, 5),)


@modes
@pytest.mark.parametrize("name", ["argmax", "argmin"])
@given(xs=reals(1, ROWS), order=st.permutations(range(5)))
def test_the_weights_of_an_extreme(name, mode, xs, order):
    x, project = xs[0], weights(name, mode)
    p = project(x)
    close(p.sum(-1), np.ones(3))
    assert (p >= 0).all()
    close(project(x[:, order]), p[:, order])
    close(project(4 * x), p, 1e-5)  # scale-free but for the 1e-6 of standardisation
    close(weights("argmin" if name == "argmax" else "argmax", mode)(-x), p)
    falls = 1 if name == "argmax" else -1
    ascending = np.take_along_axis(np.asarray(p), np.argsort(falls * x, -1, kind="stable"), -1)
    assert (np.diff(ascending) >= -1e-9).all()


@modes
@given(xs=reals(1, ROWS))
def test_extremes_are_expected_entries_within_the_data(mode, xs):
    x = xs[0]
    high, low = extreme("max", mode)(x), extreme("min", mode)(x)
    close(high, (weights("argmax", mode)(x) * x).sum(-1))
    close(low, (weights("argmin", mode)(x) * x).sum(-1))
    close(low, -extreme("max", mode)(-x))
    assert (high <= x.max(-1) + 1e-9).all()
    assert (low >= x.min(-1) - 1e-9).all()
    assert (high >= x.mean(-1) - 1e-9).all()


@modes
@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16, np.float32])
def test_weights_sum_to_one_within_the_rounding_of_the_dtype(dtype, mode):
    p = weights("argmax", mode)(RNG.normal(size=(3, 5)).astype(dtype))
    assert p.dtype == dtype
    close(np.asarray(p, float).sum(-1), np.ones(3), 5 * float(jnp.finfo(dtype).eps))


@modes
@pytest.mark.parametrize("s", [0.0, 1e-30, np.float64(1e-6)])
def test_the_hard_limit_of_extremes(mode, s):
    x = np.array([[0.3, -2.0, 1.0, -1.0, 0.5], [5.0, 0.1, -7.0, 4.0, 6.5], [-3.0, -2.0, 7.0, 1.0, 6.0]])
    names = ("argmax", "argmin", "max", "min")
    program = jax.jit(lambda x: [getattr(sft.soft(x, s, mode), name)(axis=-1) for name in names])
    for out, exact in zip(
        program(x), (np.eye(5)[x.argmax(-1)], np.eye(5)[x.argmin(-1)], x.max(-1), x.min(-1)), strict=True
    ):
        np.testing.assert_allclose(out.soft(), exact, atol=1e-12)
        np.testing.assert_array_equal(out.st(), exact)


@modes
def test_ties_share_their_weight(mode):
    p = weights("argmax", mode)(np.array([[1.0, 1.0, -1e9, 1.0, 1.0], [2.0] * 5, [0.0, -0.0, 0.0, -0.0, 0.0]]))
    close(p[0], np.array([1, 1, 0, 1, 1]) / 4, 1e-2)
    assert len(set(np.asarray(p[0, [0, 1, 3, 4]]))) == 1
    close(p[1:], np.full((2, 5), 0.2))


PROJECTIONS = {
    "smooth": lambda d: 1 / (1 + np.exp(-d)),
    "c0": lambda d: np.clip((1 + d) / 2, 0, 1),
    "c1": lambda d: ((d + np.sqrt(2 - d**2)) / 2) ** 2 if abs(d) < 1 else float(d > 0),
}


@pytest.mark.parametrize("mode", PROJECTIONS)
@pytest.mark.parametrize("d", [-1.5, -0.9, -0.2, 0.0, 0.4, 0.99, 1.0, 3.0])
def test_the_projection_of_two_is_its_formula(d, mode):
    p = sft.argmax(np.array([0.5 * d, 0.0]), standardize=False, softness=0.5, mode=mode).probs
    close(p, np.array([PROJECTIONS[mode](d), 1 - PROJECTIONS[mode](d)]))


@pytest.mark.parametrize(("mode", "order", "jump"), [("c0", 1, -1 / 2), ("c1", 2, 2.0), ("c2", 3, -6.0)])
def test_the_projection_is_so_many_times_differentiable_and_no_more(mode, order, jump):
    """The smaller of two weights, as a function of their distance in units of the softness, dies at 1."""
    s, hair = 0.5, 1e-7
    rows = lambda d: jnp.stack([d, jnp.zeros_like(d)], -1) * s
    derivatives = [lambda d: sft.argmax(rows(d), axis=-1, standardize=False, softness=s, mode=mode).probs[:, 1]]
    for _ in range(order):
        derivatives.append(lambda d, f=derivatives[-1]: jax.jvp(f, (d,), (jnp.ones_like(d),))[1])
    inside, outside = jax.jit(lambda d: jnp.stack([f(d) for f in derivatives], -1))(np.array([1 - hair, 1 + hair]))
    close(outside, np.zeros(order + 1))
    close(inside, np.array([0.0] * order + [jump]), 1e-5)


# Transforms


def test_vmap_of_selection_is_a_loop():
    xs, ps, cs = RNG.normal(size=(3, 4, 5)), RNG.dirichlet(np.ones(4), (3, 2)), RNG.random((3, 2))

    def program(x, p, c):
        x, i = sft.soft(x, mode="c1"), sft.SoftIndex(p)
        picked = x[i].where(sft.SoftBool(c[:, None]), x[:2])
        return picked + sft.take(x, i, axis=0), sft.dynamic_slice_in_dim(x, i[0], 2), x.max(-1), x.argmax(0)

    mapped, program = jax.jit(jax.vmap(program))(xs, ps, cs), jax.jit(program)
    for n in range(3):
        for one, many in zip(program(xs[n], ps[n], cs[n]), mapped, strict=True):
            close(many.soft()[n], one.soft())
            np.testing.assert_array_equal(many.hard()[n], one.hard())


@modes
def test_vmap_of_extremes_is_a_loop(mode):
    xs = RNG.normal(size=(4, 3, 5))
    for name in ("argmax", "max"):
        f = (weights if name == "argmax" else extreme)(name, mode)
        for x, y in zip(xs, jax.jit(jax.vmap(f))(xs), strict=True):
            close(y, f(x))


def test_single_precision_is_selected_from_in_a_world_of_double(x64):
    x = jnp.array([1.0, jnp.inf, 3.0], jnp.float32)
    taken = sft.take(x, sft.SoftIndex(jnp.array([0.5, 0.0, 0.5]))).soft()
    assert (taken, taken.dtype) == (2, jnp.float32)
