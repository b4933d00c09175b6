"""Soft types inside Flax NNX, Haiku, and plain JAX with optax; softtypes imports none of them."""

import subprocess
import sys

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import softtypes as sft


@pytest.fixture(autouse=True)
def ordinary_promotion():
    """Frameworks promote dtypes and ranks as jax does by default."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


X = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)


class Gate(nnx.Module):
    """Whether all features exceed their learned thresholds, with a learned softness."""

    def __init__(self, rngs: nnx.Rngs):
        self.threshold = nnx.Param(0.1 * rngs.normal((3,)))
        self.softness = nnx.Param(jnp.array(0.5))

    def __call__(self, x):
        return (sft.soft(x, self.softness[...]) > self.threshold[...]).all(axis=-1)


def gate():
    return Gate(nnx.Rngs(0))


def by_hand(threshold, softness, x=X):
    return jax.nn.sigmoid((x - threshold) / softness).prod(-1)


def test_nnx_jit_and_split_merge():
    model = gate()
    graph, state = nnx.split(model)
    expected = by_hand(model.threshold[...], 0.5)
    np.testing.assert_allclose(nnx.jit(lambda m, x: m(x).probs)(model, X), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda s, x: nnx.merge(graph, s)(x).probs)(state, X), expected, rtol=1e-5)


def test_nnx_grad_learns_threshold_and_softness():
    model = gate()
    grads = nnx.grad(lambda m: m(X).st().sum())(model)
    expected = jax.grad(lambda t, s: by_hand(t, s).sum(), (0, 1))(model.threshold[...], model.softness[...])
    np.testing.assert_allclose(grads["threshold"][...], expected[0], rtol=1e-4)
    np.testing.assert_allclose(grads["softness"][...], expected[1], rtol=1e-4)


def test_nnx_vmap_over_models_gives_soft_values():
    @nnx.split_rngs(splits=5)
    @nnx.vmap(in_axes=0, out_axes=0)
    def many(rngs):
        return Gate(rngs)

    models = many(nnx.Rngs(0))
    out = nnx.vmap(lambda m, x: m(x), in_axes=(0, None), out_axes=0)(models, X)
    assert isinstance(out, sft.SoftBool)
    assert out.shape == (5, 4)
    np.testing.assert_allclose(out.probs[2], by_hand(models.threshold[...][2], 0.5), rtol=1e-5)


def test_nnx_scan_carries_a_soft_value():
    model = gate()

    @nnx.scan(in_axes=(nnx.Carry, None, 0), out_axes=(nnx.Carry, 0))
    def step(carry, m, x):
        carry = carry | (sft.soft(x, m.softness[...]) > m.threshold[...])
        return carry, carry.all()

    carry, each = step(sft.SoftBool.from_hard(jnp.zeros(3, bool)), model, X)
    above = jax.nn.sigmoid((X - model.threshold[...]) / 0.5)
    np.testing.assert_allclose(carry.probs, 1 - (1 - above).prod(0), rtol=1e-5)
    assert each.shape == (4,)


def test_a_soft_value_lives_in_a_variable():
    class Memory(nnx.Module):
        def __init__(self):
            self.seen = nnx.Variable(sft.SoftBool.from_hard(jnp.zeros(3, bool)))

        def __call__(self, x):
            self.seen.set_value(self.seen.get_value() | (sft.soft(x) > 0.0))

    memory = Memory()
    nnx.jit(lambda m, x: m(x))(memory, X[-1])
    value = memory.seen.get_value()
    assert isinstance(value, sft.SoftBool)
    np.testing.assert_array_equal(value.hard(), X[-1] > 0.0)
    restored = nnx.merge(*nnx.split(memory)).seen.get_value()
    np.testing.assert_array_equal(restored.probs, value.probs)


def test_nnx_variable_softness_is_annealed_without_recompilation():
    class Step(nnx.Module):
        def __init__(self):
            self.softness = nnx.Variable(jnp.array(1.0))

        def __call__(self, x):
            return sft.soft(x, self.softness[...]).sign().soft()

    model, traces = Step(), []

    @nnx.jit
    def run(model, x):
        traces.append(1)
        return model(x)

    schedule = optax.exponential_decay(1.0, 1, 0.5)
    for step in range(4):
        model.softness[...] = jnp.asarray(schedule(step))
        np.testing.assert_allclose(run(model, X), jnp.tanh(X / schedule(step) / 2), rtol=1e-5)
    assert len(traces) == 1


def test_haiku_transform_learns():
    def net(x):
        threshold = hk.get_parameter("threshold", (3,), init=jnp.zeros)
        return (sft.soft(x, 0.5) > threshold).all(axis=-1)

    model = hk.without_apply_rng(hk.transform(net))
    params = model.init(jax.random.key(0), X)
    out = jax.jit(model.apply)(params, X)
    np.testing.assert_allclose(out.probs, by_hand(jnp.zeros(3), 0.5), rtol=1e-5)
    grads = jax.grad(lambda p: model.apply(p, X).st().sum())(params)
    expected = jax.grad(lambda t: by_hand(t, 0.5).sum())(jnp.zeros(3))
    np.testing.assert_allclose(jax.tree.leaves(grads)[0], expected, rtol=1e-4)


def test_haiku_state_holds_a_soft_value():
    def net(x):
        seen = hk.get_state("seen", (3,), bool, init=lambda shape, _: sft.SoftBool.from_hard(jnp.zeros(shape, bool)))
        seen = seen | (sft.soft(x) > 0.0)
        hk.set_state("seen", seen)
        return seen.any().st()

    model = hk.without_apply_rng(hk.transform_with_state(net))
    params, state = model.init(jax.random.key(0), X[0])
    out, state = jax.jit(model.apply)(params, state, X[-1])
    assert out == 1.0
    assert isinstance(jax.tree.leaves(state, is_leaf=lambda v: isinstance(v, sft.SoftBool))[0], sft.SoftBool)


def test_haiku_scan_carries_a_soft_value():
    def net(xs):
        threshold = hk.get_parameter("threshold", (3,), init=jnp.zeros)
        start = sft.SoftBool.from_hard(jnp.zeros(3, bool))
        return hk.scan(lambda c, x: (c | (sft.soft(x, 0.5) > threshold), None), start, xs)[0]

    model = hk.without_apply_rng(hk.transform(net))
    out = model.apply(model.init(jax.random.key(0), X), X)
    np.testing.assert_allclose(out.probs, 1 - (1 - jax.nn.sigmoid(X / 0.5)).prod(0), rtol=1e-5)


def test_optax_trains_through_st_and_a_schedule_anneals():
    x = jnp.linspace(-1.0, 1.0, 64)
    labels = (x > 0.3).astype(x.dtype)
    schedule = optax.linear_schedule(1.0, 0.05, 200)
    optimizer, traces = optax.adam(0.02), []

    @jax.jit
    def step(threshold, state, softness):
        traces.append(1)
        loss = lambda t: (((sft.soft(x, softness) > t).st() - labels) ** 2).mean()
        updates, state = optimizer.update(jax.grad(loss)(threshold), state)
        return optax.apply_updates(threshold, updates), state

    threshold = jnp.array(-0.5, jnp.float32)
    state = optimizer.init(threshold)
    for i in range(200):
        threshold, state = step(threshold, state, jnp.asarray(schedule(i), jnp.float32))
    assert ((sft.soft(x) > threshold).hard() == (labels == 1)).mean() > 0.95
    assert len(traces) == 1


def test_softtypes_imports_no_framework():
    program = (
        "import sys, softtypes; "
        "print([m for m in ('flax', 'haiku', 'optax', 'chex', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("softness", [0.3, jnp.array(0.3)])
def test_a_soft_value_is_a_pytree_for_optax(softness):
    value = sft.soft(X, softness)
    scaled = optax.tree.scale(2.0, value) if hasattr(optax.tree, "scale") else jax.tree.map(lambda a: 2.0 * a, value)
    np.testing.assert_allclose(scaled.soft(), 2.0 * X)


def test_an_nnx_param_is_an_operand_as_it_is_in_jnp():
    threshold = nnx.Param(jnp.array([0.0, 0.5, 1.0]))
    found, expected = sft.soft(X) > threshold, sft.soft(X) > threshold[...]
    np.testing.assert_array_equal(found.probs, expected.probs)
    np.testing.assert_array_equal((threshold - sft.soft(X)).soft(), threshold[...] - X)
