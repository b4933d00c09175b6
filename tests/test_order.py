"""The exact order: ties, signed zeros, infinities, NaN and masks; one sort for both views of a program."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft
from softtypes.rules.order import Ordering, exact_order, first, levels, order_and_starts
from softtypes.surrogates import along, platform


def rows(dtype) -> np.ndarray:
    """Each value several times, in any order; subnormal numbers are zeros to XLA."""
    info = jnp.finfo(dtype)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, info.tiny, -info.tiny, info.max, info.min, 1.0, -2.0]
    return np.random.default_rng(0).choice(np.array(special, dtype), (6, 50))


def ordered(x: np.ndarray, ordering: Ordering) -> np.ndarray:
    """numpy's stable sort of what the order goes by: the level, and the value."""
    x = -x.astype(np.float64) if ordering.descending else x.astype(np.float64)
    level = np.where(np.isinf(x), np.sign(x), 0)
    level = np.where(np.isnan(x), -2 if ordering.nan_first else 2, level)
    level = level if ordering.where is None else np.where(ordering.where, level, 3)
    value = np.where(level == 0, x, 0)
    return np.stack([np.lexsort((row, own)) for row, own in zip(value, level, strict=True)])


@pytest.mark.parametrize("in_turn", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_order_is_numpys(in_turn, dtype, descending, masked, monkeypatch):
    monkeypatch.setattr(platform, "in_turn", lambda: in_turn)
    x = rows(jnp.dtype(dtype))
    where = np.random.default_rng(1).random(x.shape) > 0.3 if masked else None
    with jax.enable_x64(dtype == "float64"):
        ordering = Ordering(descending, descending, where)
        order = exact_order(jnp.asarray(x), ordering)
        assert order.dtype == jnp.int32
        expected = ordered(x, ordering)
        np.testing.assert_array_equal(order, expected)
        signed = -jnp.asarray(x) if descending else jnp.asarray(x)
        level = levels(signed, ordering)
        starts = order_and_starts(signed, ordering)[1]
        np.testing.assert_array_equal(starts, (np.asarray(level)[..., None] < np.arange(-2, 4)).sum(-2))


def test_the_order_under_transformations():
    """In a program of 32 bits the order is one of 64-bit integers, which no transformation may cut."""
    x = jnp.asarray(rows("float32"))
    order = lambda x: exact_order(x, Ordering())
    expected = order(x)
    assert not jax.config.jax_enable_x64
    for fn in (order, jax.jit(order), jax.vmap(order), jax.vmap(jax.jit(order)), jax.checkpoint(order)):
        np.testing.assert_array_equal(fn(x), expected)
    for fn in (jax.vmap(order, in_axes=1, out_axes=1), jax.jit(jax.vmap(jax.jit(order), in_axes=1, out_axes=1))):
        np.testing.assert_array_equal(fn(x.T).T, expected)
    np.testing.assert_array_equal(jax.lax.map(order, x), expected)
    picked = lambda x: jnp.take_along_axis(x, order(x), -1) @ jnp.arange(50.0)
    finite = jnp.nan_to_num(x, nan=7, posinf=9, neginf=-9)
    slope = jax.jit(jax.jacrev(lambda x: picked(x[None])[0]))(finite[0])
    np.testing.assert_array_equal(slope[order(finite)[0]], np.arange(50.0))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_the_first_is_that_of_the_order(descending, masked):
    x = rows("float32")
    x[0], x[1], x[2] = np.nan, -np.inf, np.inf
    x[3] = np.where(np.isnan(x[3]), 1, x[3])
    where = np.random.default_rng(2).random(x.shape) > 0.5 if masked else None
    ordering = Ordering(descending, True, where)
    index, value = first(jnp.asarray(x), ordering)
    expected = ordered(x, ordering)[:, :1]
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_array_equal(value, np.take_along_axis(x, expected, -1))


def test_a_batch_of_finite_rows_has_its_top_k_without_a_sort():
    """Which of both it takes is a branch, also under vmap, where it is one of the whole batch."""
    x = jnp.asarray(np.random.default_rng(3).normal(size=(4, 40)), jnp.float32)
    top = lambda x: sft.top_k(x, 3, axis=-1, algorithm="softsort")[0]
    assert jax.jit(jax.vmap(top)).lower(x).as_text().count("stablehlo.case") == 1
    for rows in (x, x.at[0, 1].set(jnp.inf).at[1, 2].set(jnp.nan)):
        np.testing.assert_allclose(jax.vmap(top)(rows), top(rows), rtol=1e-6)


VIEWS = {
    "sort": lambda x: sft.sort(x),
    "sort descending": lambda x: sft.sort(x, descending=True),
    "argsort": lambda x: sft.argsort(x),
    "rank": lambda x: sft.rank(x),
    "median": lambda x: sft.median(x),
}


@pytest.mark.parametrize("name", VIEWS)
def test_both_views_take_one_sort(name):
    """The straight-through value with its gradient sorts as often as jnp.sort does: once."""

    def loss(x):
        out = VIEWS[name](sft.soft(x, algorithm="softsort"))
        return out.st().sum() if name != "argsort" else (out.st() * jnp.arange(40.0)[None]).sum()

    program = jax.jit(jax.value_and_grad(loss)).lower(jnp.linspace(0, 1, 40)).compile()
    assert len(re.findall(r"= \S+ sort\(", program.as_text())) == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_values_sorted_as_integers_are_numpys(dtype):
    with jax.enable_x64(dtype == "float64"):
        x = rows(jnp.dtype(dtype))
        x = np.where(np.isnan(x), x.dtype.type(3), x)
        np.testing.assert_array_equal(along.ascending(jnp.asarray(x)), np.sort(x))


@pytest.mark.parametrize("in_turn", [True, False])
@pytest.mark.parametrize("shape", [(0,), (1,), (50,), (1, 1, 50), (3, 50), (0, 50)])
def test_cumulative_extremes_are_numpys(shape, in_turn, monkeypatch):
    monkeypatch.setattr(platform, "in_turn", lambda: in_turn)
    for x in (np.random.default_rng(0).integers(-9, 9, shape), np.random.default_rng(0).normal(size=shape)):
        x = x.astype("int32" if x.dtype.kind == "i" else "float32")
        largest, smallest = jax.jit(lambda x: (along.running_max(x), along.following_min(x)))(jnp.asarray(x))
        np.testing.assert_array_equal(largest, np.maximum.accumulate(x, -1))
        np.testing.assert_array_equal(smallest, np.minimum.accumulate(x[..., ::-1], -1)[..., ::-1])
