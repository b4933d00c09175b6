"""`soften` of programs that know nothing of it: the limit of small softness, exact values, finite gradients.

All programs of a test are compiled as one, which is what makes so many of them cheap.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import softtypes as sft
from softtypes.softening.interpret import evaluate
from softtypes.softening.sites import Recorder, plan
from softtypes.softening.values import Smooth, hard

X = np.array([0.3, 0.9, -0.4, 0.23, 1.57], np.float32)
ROWS = np.stack([X, X[::-1] + np.float32(0.01), 2 * X], dtype=np.float32)
F32 = jnp.float32


def bang_bang(x):
    """The heater goes on below one threshold and off above another; which it is, is an integer that is carried."""

    def step(carry, _):
        temperature, mode = carry
        mode = jnp.where(temperature < x[0], 1, jnp.where(temperature > x[1], 0, mode))
        temperature = temperature + jnp.array([-0.07, 0.11], F32)[mode]
        return (temperature, mode), temperature

    return lax.scan(step, (x[4] - 1, 0), None, length=20)[1]


def bouncing_ball(x):
    def step(carry, _):
        height, speed = carry
        speed = speed - 0.98
        height = height + 0.1 * speed
        contact = (height < 0) & (speed < 0)
        return (jnp.where(contact, -height, height), jnp.where(contact, -0.8 * speed, speed)), height

    return lax.scan(step, (x[4], jnp.zeros_like(x[4])), None, length=20)[1]


def decision_tree(x):
    return jnp.where(x[0] > 0.5, jnp.where(x[1] > 0.35, 1.0, 2.0), jnp.where(x[2] < 0.15, 3.0, 4.0))


def mixture_of_experts(x):
    router, experts = jnp.arange(15.0).reshape(3, 5) % 4, jnp.sin(jnp.arange(30.0)).reshape(3, 5, 2)
    gates, chosen = lax.top_k(router @ x, 2)
    return jnp.einsum("k,kio,i->o", jax.nn.softmax(gates), experts[chosen], x)


def counter(x):
    return lax.scan(lambda n, v: (n + jnp.where(v > 0.25, 1, 0), n), 0, x)


def flattened(rows):
    return rows.ravel()[jnp.arange(3) * 5 + jnp.argmax(rows, 1)]


def edges():
    return jnp.linspace(-1.0, 2.0, 4, dtype=F32)


ON_A_ROW = {
    "where": lambda x: jnp.where(x > 0.5, x, 0.0),
    "comparisons": lambda x: jnp.stack([x > 0, x >= 0.1, x < 0.5, x <= 1, x == 5, x != 5]),
    "logic": lambda x: ((x > 0) & ~(x < 0.5)) ^ (x > 1) | (x < -1),
    "any, all": lambda x: jnp.where(jnp.any(x > 1) & jnp.all(x > -1), x, 0.0),
    "steps": lambda x: jnp.stack([jnp.sign(x), jnp.abs(x), jnp.floor(x), jnp.ceil(x), jnp.round(x + 0.1)]),
    "maximum": lambda x: jnp.minimum(jnp.maximum(x, 0.1), x[::-1] + 1),
    "clip": lambda x: jnp.stack([jnp.clip(x, 0, 1), lax.clamp(F32(0), x, F32(1))]),
    "remainders": lambda x: jnp.stack([x % 0.7, x // 0.7, jnp.fmod(x, 0.7)]),
    "finite": lambda x: jnp.where(jnp.isfinite(x), x, 0.0),
    "integers of floats": lambda x: jnp.arange(5.0)[jnp.clip(jnp.floor(2 * x), 0, 4).astype(int)],
    "extremes": lambda x: jnp.stack([jnp.max(x), jnp.min(x), jnp.ptp(x), jnp.nanmax(x)]),
    "select": lambda x: jnp.select([x < 0, x > 1], [0 * x, x], x + 1),
    "piecewise": lambda x: jnp.piecewise(x, [x < 0, x > 1], [0.0, 1.0, lambda x: x]),
    "argmax": lambda x: jnp.stack([jnp.argmax(x), jnp.argmin(x)]),
    "index": lambda x: x[jnp.argmax(x)] + x[jnp.argmin(x) - 5],
    "arithmetic of an index": lambda x: x[(3 * jnp.argmax(x) + 1) % 5] + jnp.where(jnp.argmin(x) > 1, 1.0, 2.0),
    "permuted index": lambda x: x[jnp.array([3, 1, 4, 0, 2])[jnp.argmax(x)]],
    "set": lambda x: x.at[jnp.argmax(x)].set(7.0),
    "add": lambda x: x.at[jnp.argsort(x)].add(jnp.arange(5.0)),
    "inverse permutation": lambda x: jnp.zeros(5).at[jnp.argsort(x)].set(x),
    "slices": lambda x: lax.dynamic_update_slice(x, lax.dynamic_slice(x, (jnp.argmin(x),), (2,)), (jnp.argmax(x),)),
    "one_hot": lambda x: jax.nn.one_hot(jnp.argmax(x), 5),
    "sort": lambda x: jnp.sort(x)[1:3],
    "sort descending": lambda x: jnp.stack([jnp.sort(x, descending=True), x[jnp.argsort(x, descending=True)]]),
    "sort with payload": lambda x: lax.sort((x, jnp.sin(x), x > 0.25), num_keys=1),
    "ranks": lambda x: jnp.argsort(jnp.argsort(x)),
    "top_k": lambda x: lax.top_k(x, 2),
    "cumulative": lambda x: jnp.stack([lax.cummax(x), lax.cummin(x, reverse=True)]),
    "median": lambda x: jnp.stack([jnp.median(x), jnp.quantile(x, 0.3)]),
    "searchsorted": lambda x: jnp.stack([jnp.searchsorted(edges(), x), jnp.digitize(x, edges())]),
    "searchsorted, counting": lambda x: jnp.searchsorted(edges(), x, side="right", method="compare_all"),
    "searchsorted as index": lambda x: jnp.arange(5.0)[jnp.searchsorted(edges(), x)],
    "histogram": lambda x: jnp.histogram(x, edges())[0],
    "counts": lambda x: jnp.stack([jnp.sum(x > 0).astype(F32), jnp.mean(x, where=x > 0)]),
    "activations": lambda x: jnp.stack([jax.nn.relu(x), jax.nn.hard_tanh(x), jax.nn.relu6(7 * x)]),
    "smooth": lambda x: jnp.stack([jax.nn.softmax(x), jax.nn.gelu(x), jnp.logaddexp(x, 0.1)]),
    "cond": lambda x: lax.cond(x[0] > 0.2, lambda x: x + 1, lambda x: x * 2, x),
    "switch": lambda x: lax.switch(jnp.argmax(x[:3]), [lambda x: x + 1, lambda x: x * 2, lambda x: x], x),
    "batched cond": lambda x: jax.vmap(lambda s: lax.cond(s > 0.25, lambda s: s * 2, lambda s: s - 1, s))(x),
    "fori_loop": lambda x: lax.fori_loop(0, 3, lambda i, x: x.at[i].set(jnp.maximum(x[i], 0.35)), x),
    "checkpoint": lambda x: jax.checkpoint(jnp.abs)(x),
    "gradient": jax.grad(lambda x: jnp.sum(jnp.where(x > 0.5, x**2, jnp.sin(x))) + jnp.max(x) + jnp.median(x)),
    "bang-bang": bang_bang,
    "ball": bouncing_ball,
    "tree": decision_tree,
    "experts": mixture_of_experts,
    "counter": counter,
}
ON_ROWS = {
    "index a column": lambda rows: rows[:, jnp.argmax(rows[0])],
    "index by row": lambda rows: rows[jnp.arange(3), jnp.argmax(rows, 1)],
    "flat index": flattened,
    "take": lambda rows: jnp.take(rows, jnp.argmin(rows[0]), axis=1),
    "take_along_axis": lambda rows: jnp.take_along_axis(rows, jnp.argsort(rows, axis=1), 1),
    "sort a column": lambda rows: jnp.sort(rows, axis=0),
    "batched index": jax.vmap(lambda x: x[jnp.argmax(x)]),
    "batched slice": jax.vmap(lambda x: lax.dynamic_slice(x, (jnp.argmin(x),), (2,))),
    "batched set": jax.vmap(lambda x: x.at[jnp.argmin(x)].set(7.0)),
    "two indices": lambda rows: rows[jnp.argmax(rows[:, 0]), jnp.argmin(rows[0])],
}


def programs(x, rows):
    return {name: f(x) for name, f in ON_A_ROW.items()} | {name: f(rows) for name, f in ON_ROWS.items()}


@pytest.fixture(autouse=True)
def ordinary_promotion():
    """The programs are of people who have not heard of strict promotion."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


# Compiled once and run once: what XLA would gain by optimising, it would not earn back.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


EVERYDAY = {
    "where",
    "comparisons",
    "logic",
    "steps",
    "index",
    "arithmetic of an index",
    "set",
    "searchsorted",
    "piecewise",
    "cond",
    "counter",
    "bang-bang",
    "flat index",
}


def part(names, x, rows):
    """The results of the programs of these names."""
    return {name: f(x) for name, f in ON_A_ROW.items() if name in names} | {
        name: f(rows) for name, f in ON_ROWS.items() if name in names
    }


@pytest.mark.parametrize("everyday", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["everyday", "others"])
def test_small_softness_gives_the_values_and_a_larger_one_derivatives(everyday):
    """Values away from ties, of which these data have none; derivatives that are finite, not all zero, and the same
    forwards and backwards: of any mixture w of the results `w . (J t) == (J' w) . t`."""
    names = EVERYDAY if everyday else {*ON_A_ROW, *ON_ROWS} - EVERYDAY

    def run(x, rows, softness):
        softened = sft.soften(lambda x, rows: part(names, x, rows), softness)
        values, push = jax.linearize(softened, x, rows)
        mixture = jax.tree.map(lambda v: jnp.cos(1 + jnp.arange(v.size, dtype=v.dtype)).reshape(v.shape), values)
        along = jnp.cos(x), jnp.cos(rows)
        forwards, backwards = push(*along), jax.linear_transpose(push, x, rows)(mixture)
        return values, forwards, (dot(mixture, forwards), dot(backwards, along)), part(names, x, rows)

    run = jax.jit(run, compiler_options=QUICK)
    got, _, _, wanted = run(X, ROWS, 1e-4)
    _, tangents, both_ways, _ = run(X, ROWS, 0.1)
    for name in names:
        close = functools.partial(np.testing.assert_allclose, atol=2e-3, err_msg=name)
        jax.tree.map(lambda a, b, close=close: close(a, np.asarray(b, np.float32)), got[name], wanted[name])
        changes = list(map(np.asarray, jax.tree.leaves(tangents[name])))
        assert all(np.isfinite(a).all() for a in changes), name
        assert any(a.any() for a in changes), name
    np.testing.assert_allclose(*both_ways, rtol=1e-4)
    assert abs(both_ways[0]) > 1


def dot(one, other):
    return sum(jnp.sum(a * b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


@pytest.mark.slow
def test_hard_views_are_the_values_of_every_program_bit_for_bit():
    def both(x, rows):
        closed, shapes = jax.make_jaxpr(programs, return_shape=True)(x, rows)
        views = evaluate(closed, [Smooth(x), Smooth(rows)], plan(sft.Relaxation(0.3)), Recorder())
        return jax.tree.unflatten(jax.tree.structure(shapes), list(map(hard, views))), programs(x, rows)

    got, wanted = jax.jit(both, compiler_options=QUICK)(X, ROWS)
    for name in wanted:
        same = functools.partial(np.testing.assert_array_equal, err_msg=name, strict=True)
        jax.tree.map(same, got[name], wanted[name])


def softened_shapes(x, rows):
    """Shapes and dtypes of every program that can be traced as things are set, as it is and softened."""
    for name, f in (ON_A_ROW | ON_ROWS).items():
        x_or_rows = x if name in ON_A_ROW else rows
        try:
            wanted = jax.eval_shape(f, x_or_rows)
        except (TypeError, ValueError, FutureWarning):  # not under strict promotion, or not in this dtype
            continue
        yield name, wanted, jax.eval_shape(sft.soften(f), x_or_rows)


def check_shapes(dtype, count):
    found = list(softened_shapes(jnp.asarray(X, dtype), jnp.asarray(ROWS, dtype)))
    assert len(found) >= count
    for name, wanted, got in found:
        for a, b in zip(jax.tree.leaves(wanted), jax.tree.leaves(got), strict=True):
            assert a.shape == b.shape, name
            assert jnp.issubdtype(b.dtype, jnp.floating), name
            assert not jnp.issubdtype(a.dtype, jnp.floating) or a.dtype == b.dtype, name


@pytest.mark.slow
def test_dtypes_are_kept():
    check_shapes(jnp.bfloat16, 50)
    with jax.enable_x64(True):
        check_shapes(jnp.float64, 50)


@pytest.mark.slow
def test_under_strict_promotion():
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        check_shapes(jnp.float32, 50)


SOME = ("index", "cond")


@pytest.mark.core
def test_straight_through_is_the_program_itself_operation_by_operation():
    for name in SOME:
        got = sft.soften(ON_A_ROW[name], straight_through=True)(jnp.asarray(X))
        wanted = ON_A_ROW[name](jnp.asarray(X))
        same = functools.partial(np.testing.assert_array_equal, err_msg=name, strict=True)
        jax.tree.map(same, got, wanted)
        assert jax.tree.structure(got) == jax.tree.structure(wanted)


def test_straight_through_has_the_gradient_of_the_relaxation():
    def gradient(straight_through):
        f = sft.soften(bang_bang, straight_through=straight_through)
        return jax.grad(lambda x: jnp.sum(f(x) * jnp.arange(20.0)))

    a, b = jax.jit(lambda x: (gradient(True)(x), gradient(False)(x)))(X)
    np.testing.assert_array_equal(a, b)
    assert np.any(a)
