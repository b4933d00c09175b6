"""Soft values through JAX's transformations and their compositions."""

import copy
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import softtypes as sft

S = 0.5
DEVICES = 8
CLOSE = {"rtol": 2e-5, "atol": 2e-6}


def rows(*batch):
    """A batch of rows of three, without ties."""
    steps = np.arange(np.prod(batch, dtype=int))[:, None]
    values = np.array([0.3, -0.4, 0.9]) * np.cos(steps) + 0.1 * steps
    return jnp.asarray(values.reshape(*batch, 3), jnp.float32)


def typed(x):
    """An index, a number and a Boolean made of a SoftArray of three."""
    total = x.relu().sum()
    index = sft.SoftIndex.from_logits(x.soft() / S)
    return {"index": index, "total": total, "truth": (total > 1.0) & ~(x[1] < x[2])}


def soft_by_hand(x):
    """The soft views of `typed`."""
    total = S * jax.nn.softplus(x / S).sum()
    truth = jax.nn.sigmoid((total - 1) / S) * (1 - jax.nn.sigmoid((x[2] - x[1]) / S))
    return {"index": jax.nn.softmax(x / S), "total": total, "truth": truth}


def hard_by_hand(x):
    """The hard views of `typed`, as `.st()` shows them."""
    total = jax.nn.relu(x).sum()
    truth = (total > 1) & ~(x[1] < x[2])
    return {"index": jax.nn.one_hot(x.argmax(), 3), "total": total, "truth": truth.astype(x.dtype)}


def score(views):
    """A number that depends linearly on every view, so that straight-through and soft gradients agree."""
    return views["total"].sum() + 2 * views["truth"].sum() + (views["index"] @ jnp.array([1.0, -2.0, 4.0])).sum()


def straight_through(values):
    return {name: value.st() for name, value in values.items()}


def over_devices(fn):
    mesh = jax.make_mesh((DEVICES,), ("d",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec("d")
    return jax.jit(jax.shard_map(jax.vmap(fn), mesh=mesh, in_specs=spec, out_specs=spec))


def by_scan(fn):
    return lambda xs: lax.scan(lambda count, x: (count + 1, fn(x)), 0, xs)[1]


def by_cond(fn):
    return lambda x: lax.cond(x.hard().max() > -9, fn, lambda x: fn(x * 2.0), x)


def by_switch_on_closures(fn):
    return lambda x: lax.switch(1, [lambda: fn(-x), lambda: fn(x)])


WRAPPING = {"jit": jax.jit, "checkpoint": jax.checkpoint, "cond": by_cond, "closure": by_switch_on_closures}
BATCHING = {"vmap": jax.vmap, "scan": by_scan, "map": lambda fn: lambda x: lax.map(fn, x), "shard_map": over_devices}

COMPOSITIONS = (
    "checkpoint closure",
    "vmap",
    "vmap cond",
    "vmap scan",
    "vmap jit vmap",
    "scan vmap",
    "scan checkpoint cond",
    "map closure",
    "shard_map cond",
    "shard_map scan checkpoint",
)


def composed(words, fn):
    """`fn` under the transformations, outermost first, and the batch shape that they add."""
    batch = ()
    for word in reversed(words.split()):
        fn = (WRAPPING | BATCHING)[word](fn)
        batch = {"shard_map": (DEVICES, *batch)}.get(word, (2, *batch)) if word in BATCHING else batch
    return fn, batch


@functools.cache
def by_hand():
    """For the first rows: the soft views, the hard ones, the gradient of the score and a derivative of that."""
    gradient = jax.grad(lambda x: score(soft_by_hand(x)))
    derivatives = jax.vmap(lambda x, dx: jax.jvp(gradient, (x,), (dx,)))
    return jax.jit(lambda x, dx: (jax.vmap(soft_by_hand)(x), jax.vmap(hard_by_hand)(x), *derivatives(x, dx)))(
        rows(16), jnp.cos(7 * rows(16))
    )


@pytest.mark.parametrize("words", COMPOSITIONS)
def test_a_composition_changes_neither_values_nor_derivatives(words):
    transformed, batch = composed(words, typed)
    x, along = rows(*batch), jnp.cos(7 * rows(*batch))
    soft, hard, gradient, derivative = jax.tree.map(
        lambda a: a[: np.prod(batch, dtype=int)].reshape(*batch, *a.shape[1:]), by_hand()
    )

    def values(x):
        return transformed(sft.soft(x, S))

    def loss(x):
        return score(straight_through(values(x)))

    def run(x, along):
        forward = jax.jvp(loss, (x,), (along,))[1]
        return values(x), forward, jax.jvp(jax.grad(loss), (x,), (along,))

    found, forward, (reverse, second) = jax.jit(run)(x, along)
    for name, value in found.items():
        np.testing.assert_allclose(value.soft(), soft[name], **CLOSE, err_msg=name)
        np.testing.assert_array_equal(value.st(), hard[name], err_msg=name)
    np.testing.assert_allclose(reverse, gradient, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(forward, (gradient * along).sum(), rtol=1e-4)
    np.testing.assert_allclose(second, derivative, rtol=2e-4, atol=2e-5)


SAMPLES = {
    "array": lambda: sft.soft(rows(2), S, mode="c1"),
    "array of integers": lambda: sft.soft(jnp.array([[1, 2, 3], [4, 5, 6]])),
    "array with its softness": lambda: sft.soft(rows(2), jnp.full((2, 3), S)),
    "selection": lambda: (sft.soft(rows(2), S) > 0.1).where(1.0, 0.0),
    "bool": lambda: sft.soft(rows(2), S, logic="godel") > 0.1,
    "index": lambda: sft.SoftIndex.from_logits(rows(2)),
}
each_kind = pytest.mark.parametrize("kind", SAMPLES)


def assert_same(a, b):
    """Equal in type, settings, dtype and every bit."""
    assert type(a) is type(b)
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


@each_kind
def test_jit_scan_and_cond_hand_on_soft_values_unchanged(kind):
    value = SAMPLES[kind]()

    def hand_on(v):
        carried, stacked = lax.scan(lambda carry, row: (carry, row), v, v)
        return carried, stacked, lax.cond(v.hard().size > 1, lambda w: w, lambda w: w[::-1], v), lambda: v

    *handed_on, closure = hand_on(value)
    for v in (*handed_on, *jax.jit(lambda v: hand_on(v)[:3])(value), jax.jit(lambda: value)(), closure()):
        assert_same(v, value)


@each_kind
def test_vmap_is_a_loop_over_the_rows(kind):
    value = SAMPLES[kind]()
    seen = jax.vmap(lambda v: (v, v.shape, v.st()) if v.shape else (v, (), v.st()), out_axes=(0, None, 0))
    rows_of, shape, exact = jax.tree.map(lambda x: x, seen(value))
    assert_same(rows_of, value)
    assert tuple(map(int, shape)) == value.shape[1:]
    np.testing.assert_array_equal(exact, value.st())
    for i, row in enumerate(value):
        assert_same(jax.tree.map(lambda leaf, i=i: leaf[i], value), row)
    assert_same(jax.tree.map(lambda *leaves: jnp.stack(leaves), *value), value)


@each_kind
@pytest.mark.parametrize("leaf", [None, jax.ShapeDtypeStruct((7,), jnp.int32), object(), "text", -1.0])
def test_trees_are_rebuilt_around_any_leaf(kind, leaf):
    value = SAMPLES[kind]()
    odd = jax.tree.map(lambda _: leaf, value)
    assert type(odd) is type(value)
    assert repr(odd)
    put_back = jax.tree.map(lambda _, old: old, odd, value, is_leaf=lambda x: x is leaf)
    assert_same(put_back, value)
    leaves, structure = jax.tree.flatten(value)
    assert_same(jax.tree.unflatten(structure, leaves), value)


def test_leaves_have_names():
    value = {"a": sft.soft(rows(), jnp.array(S)), "b": sft.soft(1.0) > 0.0, "c": sft.SoftIndex.from_logits(rows())}
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(value)]
    assert names == [
        "['a'].values",
        "['a'].hard_view",
        "['a']._relaxation.softness",
        "['b'].probs",
        "['b'].hard_view",
        "['c'].probs",
        "['c'].hard_view",
    ]


@each_kind
def test_values_survive_pickling_and_copying(kind):
    value = SAMPLES[kind]()
    for other in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):
        assert_same(other, value)


@each_kind
def test_eval_shape_gives_the_type_with_its_shape(kind):
    value = SAMPLES[kind]()
    shown = jax.eval_shape(lambda v: v[::-1], value)
    assert type(shown) is type(value)
    assert (shown.shape, shown.dtype, shown.ndim) == (value.shape, value.dtype, value.ndim)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), shown.hard()) == (value.hard().shape, value.hard().dtype)
    assert jax.eval_shape(lambda v: v.st(), shown).shape == value.st().shape


# Carries


def test_a_scan_carries_soft_values():
    """`ever = ever | (x > 0)` with probability `1 - prod(1 - p)`, beside a sum and the index of the last positive."""
    x = rows(4)[:, 0] - 0.1

    def run(x):
        def step(carry, new):
            (ever, total, last), (i, value) = carry, new
            above = value > 0.0
            here = sft.SoftIndex.from_hard(i, 4)
            return (ever | above, total * 0.5 + value, above.where(here, last)), ever

        start = (sft.SoftBool.from_hard(False), sft.soft(0.0, S), sft.SoftIndex.from_hard(0, 4))
        return lax.scan(step, start, (jnp.arange(4), sft.soft(x, S)))

    (ever, total, last), before = jax.jit(run)(x)
    p = jax.nn.sigmoid(x / S)
    np.testing.assert_allclose(ever.probs, 1 - jnp.prod(1 - p), rtol=1e-6)
    np.testing.assert_allclose(before.probs, 1 - jnp.cumprod(jnp.append(1.0, 1 - p))[:-1], **CLOSE)
    np.testing.assert_allclose(total.soft(), (x * 0.5 ** jnp.arange(3.0, -1.0, -1.0)).sum(), rtol=1e-6)
    np.testing.assert_allclose(last.probs.sum(), 1, rtol=1e-6)
    np.testing.assert_allclose(last.probs[1:], p[1:] * jnp.append(jnp.cumprod((1 - p)[:0:-1])[-2::-1], 1.0), rtol=1e-5)
    assert bool(ever.hard()) == bool((x > 0).any())
    assert int(last.hard()) == max([i for i in range(4) if x[i] > 0], default=0)

    gradient = jax.jit(jax.grad(lambda x: run(x)[0][0].st()))(x)
    others = jnp.array([jnp.prod(jnp.delete(1 - p, i)) for i in range(4)])
    np.testing.assert_allclose(gradient, others * p * (1 - p) / S, rtol=1e-5)


@each_kind
def test_a_while_loop_is_a_python_loop(kind):
    value = SAMPLES[kind]()

    def change(v):
        if isinstance(v, sft.SoftArray):
            return v + v[::-1]
        return ~v if isinstance(v, sft.SoftBool) else v[::-1]

    def thrice(v):
        return lax.while_loop(lambda state: state[0] < 3, lambda state: (state[0] + 1, change(state[1])), (0, v))[1]

    looped, expected = jax.jit(thrice)(value), change(change(change(value)))
    assert jax.tree.structure(looped) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), looped, expected)


def test_forward_mode_passes_a_while_loop_and_both_modes_a_fori_loop():
    """Three soft rectifiers in a row: the derivative is the product of three logistic functions."""
    softplus = lambda x: S * jax.nn.softplus(x / S)
    x = rows()
    expected = jnp.ones(3)
    value = x
    for _ in range(3):
        expected, value = expected * jax.nn.sigmoid(value / S), softplus(value)

    def by_while(x):
        step = lambda state: (state[0] + 1, state[1].relu())
        return lax.while_loop(lambda state: state[0] < 3, step, (0, sft.soft(x, S)))[1].soft()

    def by_fori(x):
        return lax.fori_loop(0, 3, lambda _, v: v.relu(), sft.soft(x, S)).soft()

    found, derivative = jax.jvp(jax.jit(by_while), (x,), (jnp.ones(3),))
    np.testing.assert_allclose(found, value, rtol=1e-6)
    np.testing.assert_allclose(derivative, expected, rtol=1e-5)
    np.testing.assert_allclose(jax.grad(lambda x: by_fori(x).sum())(x), expected, rtol=1e-5)
    np.testing.assert_allclose(jnp.diag(jax.jacfwd(by_fori)(x)), expected, rtol=1e-5)


def test_an_associative_scan_combines_soft_values():
    above = sft.soft(rows(4), S) > 0.1
    ever = lax.associative_scan(lambda a, b: a | b, above)
    np.testing.assert_allclose(ever.probs, 1 - jnp.cumprod(1 - above.probs, 0), **CLOSE)
    np.testing.assert_array_equal(ever.hard(), lax.associative_scan(jnp.logical_or, above.hard()))


# Soft values as what is differentiated


def test_the_gradient_in_a_soft_array_is_a_soft_array_of_gradients():
    x = rows()
    value = sft.SoftArray(x, x + 1.0, sft.Relaxation(S))
    gradient = jax.grad(lambda v: v.relu().st().sum())(value)
    assert type(gradient) is sft.SoftArray
    assert gradient.relaxation == value.relaxation
    np.testing.assert_allclose(gradient.soft(), jax.nn.sigmoid(x / S), rtol=1e-6)
    np.testing.assert_array_equal(gradient.hard(), jnp.zeros(3))


def test_the_gradient_in_probabilities_is_no_probability():
    p, q = jnp.array([0.2, 0.9]), sft.SoftIndex(jnp.array([0.25, 0.75]))
    gradient = jax.grad(lambda b: -5 * b.all().st(), allow_int=True)(sft.SoftBool(p))
    assert type(gradient) is sft.SoftBool
    np.testing.assert_allclose(gradient.probs, -5 * p[::-1], rtol=1e-6)
    assert gradient.hard_view.dtype == jax.dtypes.float0
    gradient = jax.grad(lambda i: i.take(jnp.array([3.0, -7.0])).st(), allow_int=True)(q)
    assert type(gradient) is sft.SoftIndex
    np.testing.assert_array_equal(gradient.probs, [3.0, -7.0])


def test_tangents_and_cotangents_of_typed_results_are_typed():
    x, along = rows(), jnp.array([1.0, -2.0, 0.5])
    p = jax.nn.sigmoid(x / S)
    primal, tangent = jax.jvp(lambda x: sft.soft(x, S) > 0.0, (x,), (along,))
    assert type(tangent) is sft.SoftBool
    np.testing.assert_allclose(tangent.probs, p * (1 - p) / S * along, rtol=1e-5)
    assert tangent.hard_view.dtype == jax.dtypes.float0
    _, pull = jax.vjp(lambda x: sft.soft(x, S) > 0.0, x)
    cotangent = jax.tree.map(lambda a: along if a.dtype == x.dtype else np.zeros(3, jax.dtypes.float0), primal)
    np.testing.assert_allclose(pull(cotangent)[0], p * (1 - p) / S * along, rtol=1e-5)
    np.testing.assert_allclose(jax.linearize(lambda x: (sft.soft(x, S) > 0.0).probs, x)[1](along), tangent.probs)


def test_jacobians_and_hessians_have_their_closed_forms(x64):
    x = jnp.array([0.3, -0.4, 0.9])
    p = jax.nn.softmax(x / S)
    softmax = lambda x: sft.soft(x, S).argmax(standardize=False).st()
    expected = (jnp.diag(p) - jnp.outer(p, p)) / S
    for jacobian in (jax.jacfwd, jax.jacrev):
        np.testing.assert_allclose(jacobian(softmax)(x), expected, atol=1e-12)
        np.testing.assert_allclose(jax.vmap(jacobian(jax.jit(softmax)))(x[None])[0], expected, atol=1e-12)

    rectified = jax.jit(lambda x: sft.soft(x, S).relu().sum().st())
    logistic = jax.nn.sigmoid(x / S)
    curvature = jnp.diag(logistic * (1 - logistic) / S)
    for hessian in (jax.hessian(rectified), jax.jacrev(jax.jacrev(rectified)), jax.jacrev(jax.jacfwd(rectified))):
        np.testing.assert_allclose(hessian(x), curvature, atol=1e-12)
    third = jax.grad(jax.grad(jax.grad(rectified)))  # of a number
    u = logistic[0]
    np.testing.assert_allclose(third(x[0]), u * (1 - u) * (1 - 2 * u) / S**2, atol=1e-12)


def test_gradients_one_an_example():
    x = rows(4)
    fn = lambda x: score(straight_through(typed(sft.soft(x, S))))
    expected = by_hand()[2][:4]
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(fn)))(x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda x: lax.map(jax.grad(fn), x))(x), expected, rtol=1e-4, atol=1e-5)


def test_gradient_descent_in_a_scan_is_the_loop_by_hand():
    """A learned threshold; the loss is quadratic in the soft fraction of what lies above it."""
    x = rows(2)

    def ours(threshold):
        return ((sft.soft(x, S) > threshold).mean() - 0.25).soft() ** 2

    def by_hand(threshold):
        return (jax.nn.sigmoid((x - threshold) / S).mean() - 0.25) ** 2

    def descend(loss):
        step = lambda t, _: (t - 0.1 * jax.grad(loss)(t), loss(t))
        return jax.jit(lambda: lax.scan(step, jnp.array(1.0), length=5))()

    (threshold, losses), expected = descend(ours), descend(by_hand)
    np.testing.assert_allclose(threshold, expected[0], rtol=1e-5)
    np.testing.assert_allclose(losses, expected[1], rtol=1e-5)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("outer", ["vmap", "scan"])
def test_selection_by_a_soft_index_under_maps(outer):
    fn = lambda x: x[x.argmax(standardize=False)].st()
    x = rows(2)
    p = jax.nn.softmax(x / S, axis=1)
    mean = (p * x).sum(1, keepdims=True)
    value, gradient = jax.jit(jax.value_and_grad(lambda x: BATCHING[outer](fn)(sft.soft(x, S)).sum()))(x)
    np.testing.assert_allclose(value, x.max(1).sum(), rtol=1e-6)
    np.testing.assert_allclose(gradient, p + p * (x - mean) / S, rtol=1e-5, atol=1e-6)


# Memory and devices


@each_kind
def test_a_donated_value_is_used_up(kind):
    value = SAMPLES[kind]()
    expected = jax.tree.map(np.array, value[::-1])
    found = jax.jit(lambda v: v[::-1], donate_argnums=0)(value)
    assert_same(found, jax.tree.map(jnp.asarray, expected))
    assert value.soft().is_deleted()
    assert value.hard().is_deleted()


def test_a_carry_is_donated_again_and_again():
    state = sft.soft(jnp.zeros(3), S)
    step = jax.jit(lambda v: v * 0.5 + 1.0, donate_argnums=0)
    for _ in range(3):
        state = step(state)
    np.testing.assert_array_equal(state.soft(), jnp.full(3, 1.75))
    np.testing.assert_array_equal(state.hard(), jnp.full(3, 1.75))


def mesh_of(axis_type):
    return jax.make_mesh((DEVICES,), ("d",), axis_types=(axis_type,))


SPEC = PartitionSpec("d")


def batched(kind):
    """A sample of this kind with eight rows."""
    return jax.tree.map(lambda leaf: jnp.concatenate([leaf] * 4), SAMPLES[kind]())


@each_kind
def test_device_put_shards_both_views(kind):
    sharding = NamedSharding(mesh_of(AxisType.Auto), SPEC)
    value = batched(kind)
    placed = jax.device_put(value, sharding)
    assert_same(placed, value)
    for leaf in jax.tree.leaves(placed):
        assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim)
    doubled = jax.jit(lambda v: v[:, None] if v.ndim > 1 else v, out_shardings=sharding)(placed)
    assert doubled.soft().sharding.is_equivalent_to(sharding, doubled.soft().ndim)


@each_kind
def test_shard_map_takes_and_returns_soft_values(kind):
    value = batched(kind)
    mapped = jax.shard_map(lambda v: v, mesh=mesh_of(AxisType.Auto), in_specs=SPEC, out_specs=SPEC)
    assert_same(jax.jit(mapped)(value), value)


@pytest.mark.parametrize("mode", ["smooth", "c1", "hard"])
def test_a_sharded_loss_is_the_loss(mode):
    """Data in shards, a learned threshold and softness on all devices, the loss summed over them; default checks."""
    x = rows(DEVICES)

    def loss(x, threshold, softness):
        value = sft.soft(x, softness, mode=mode)
        index = value.argmax(axis=1, softness=0.3)
        picked = index.take(jnp.array([1.0, 2.0, 3.0]))
        return ((value > threshold).where(value.relu(), 0.5).sum(1) * picked + value.max(1, softness=0.3)).st().sum()

    def sharded(x, threshold, softness):
        local = lambda *args: lax.psum(loss(*args), "d")
        specs = (SPEC, PartitionSpec(), PartitionSpec())
        return jax.shard_map(local, mesh=mesh_of(AxisType.Auto), in_specs=specs, out_specs=PartitionSpec())(
            x, threshold, softness
        )

    args = (x, jnp.array(0.2), jnp.array(S))
    found, expected = (jax.jit(jax.value_and_grad(fn, (0, 1, 2)))(*args) for fn in (sharded, loss))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5), found, expected)
    if mode != "hard":
        assert all(jnp.any(gradient != 0) for gradient in found[1])


EXPLICIT = {
    "logic": lambda v: (v > 0.1) & ~(v == 0.3),
    "numbers": lambda v: sft.maximum(v.relu(), v.clip(0.0, 1.0)) * 2.0 - v.round(),
    "where": lambda v: (v > 0.1).where(v.abs(), v.sign()),
    "count": lambda v: (v > 0.1).sum(axis=1),
    "all": lambda v: (v > 0.1).all(axis=1),
    "any of all rows": lambda v: (v > 0.1).any(axis=0),
    "max": lambda v: v.max(axis=1),
    "max of all rows": lambda v: v.max(axis=0),
    "argmax": lambda v: v.argmax(axis=1),
    "argmax of all rows": lambda v: v.argmax(axis=0),
    "expected": lambda v: v.argmax(axis=1).expected(),
    "selection": lambda v: v[:, v.mean(axis=0).argmax()],
    "take_along_axis": lambda v: sft.take_along_axis(v, v.argmax(axis=1, keepdims=True), axis=1),
    "shape": lambda v: v.T[None].at[0, 0].set(1.0),
}


SOME = ("logic", "numbers", "max", "selection")


@pytest.mark.parametrize(
    "name", [name if name in SOME else pytest.param(name, marks=pytest.mark.slow) for name in EXPLICIT]
)
def test_explicit_sharding_changes_no_value(name):
    x = rows(DEVICES)
    mesh = mesh_of(AxisType.Explicit)
    fn = lambda x: EXPLICIT[name](sft.soft(x, S)).st()
    both = jax.jit(lambda x: (fn(x), jax.grad(lambda x: (fn(x) * jnp.cos(fn(x))).sum())(x)))
    expected = both(x)
    with jax.set_mesh(mesh):
        found = both(jax.device_put(x, NamedSharding(mesh, SPEC)))
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5, atol=1e-6)
    assert found[1].sharding.is_equivalent_to(NamedSharding(mesh, SPEC), 2)


def test_rows_stay_where_they_are_under_explicit_sharding():
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        value = sft.soft(jax.device_put(rows(DEVICES), NamedSharding(mesh, SPEC)), S)
        for name in ("logic", "numbers", "count", "argmax", "max"):
            for leaf in jax.tree.leaves(jax.jit(EXPLICIT[name])(value)):
                assert jax.typeof(leaf).sharding.spec[0] == "d", name


# Leaks


def test_no_tracer_leaks():
    index = jax.jit(lambda x: sft.soft(x, S).argmax())(rows())

    def fn(x):
        inner = sft.SoftIndex.from_logits(sft.soft(x, S).abs().soft())  # remembers how to compute its logarithms
        below = lax.map(lambda i: inner.log_probs()[i] + index.probs[i], jnp.arange(3))
        return (inner < 2).st() + below.sum()

    with jax.checking_leaks():
        gradient = jax.jit(jax.vmap(jax.grad(fn)))(rows(2))
        assert jnp.isfinite(gradient).all()
        returned = jax.jit(lambda x: sft.soft(x, S).argmax())(rows(2)[0])
        assert jnp.isfinite(returned.log_probs()).all()
