"""Real Flax NNX modules, real Haiku functions, plain JAX with optax; softtypes imports none of them."""

import subprocess
import sys

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import softtypes as sft


@pytest.fixture
def ordinary_promotion():
    """optax's Adam promotes dtypes as jax does by default, and does not run without."""
    with jax.numpy_dtype_promotion("standard"):
        yield


S = 0.5
X = jnp.array([[0.3, -0.4, 0.9], [-0.2, 0.7, 0.1]])


def logistic(x):
    return jax.nn.sigmoid(x / S)


# Flax NNX


class Rule(nnx.Module):
    """All features lie above their thresholds."""

    def __init__(self, softness=S):
        self.threshold = nnx.Param(jnp.array([0.1, 0.2, -0.3]))
        self.softness = softness

    def __call__(self, x):
        softness = self.softness if isinstance(self.softness, float) else self.softness[...]
        return (sft.soft(x, softness) > self.threshold[...][None]).all(axis=1)


def rule_by_hand(x, threshold, softness=S):
    return jax.nn.sigmoid((x - threshold[None]) / softness).prod(1)


def test_nnx_jit_takes_modules_and_returns_soft_values():
    rule = Rule()
    truth = nnx.jit(lambda rule, x: rule(x))(rule, X)
    assert type(truth) is sft.SoftBool
    np.testing.assert_allclose(truth.probs, rule_by_hand(X, rule.threshold[...]), rtol=1e-6)
    np.testing.assert_array_equal(truth.hard(), (rule.threshold[...][None] < X).all(1))


def test_a_split_module_passes_through_jax_jit():
    rule = Rule()
    graph, state = nnx.split(rule)
    truth = jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, X)
    np.testing.assert_allclose(truth.probs, rule_by_hand(X, rule.threshold[...]), rtol=1e-6)


def test_nnx_grad_differentiates_the_soft_view_in_threshold_and_softness():
    rule = Rule(softness=nnx.Param(jnp.array(S)))
    gradient = nnx.jit(nnx.grad(lambda rule: rule(X).st().sum()))(rule)
    expected = jax.jit(jax.grad(lambda t, s: rule_by_hand(X, t, s).sum(), (0, 1)))(rule.threshold[...], jnp.array(S))
    np.testing.assert_allclose(gradient["threshold"][...], expected[0], rtol=1e-5)
    np.testing.assert_allclose(gradient["softness"][...], expected[1], rtol=1e-5)


def test_nnx_grad_differentiates_the_soft_view():
    rule = Rule()
    loss = lambda rule, x: rule(x).st().sum()
    value, gradient = nnx.jit(nnx.value_and_grad(loss))(rule, X)
    expected = jax.grad(lambda t: rule_by_hand(X, t).sum())(rule.threshold[...])
    np.testing.assert_array_equal(value, (rule.threshold[...][None] < X).all(1).sum())
    np.testing.assert_allclose(gradient["threshold"][...], expected, rtol=1e-5)


def test_nnx_vmap_over_modules_and_over_soft_values():
    @nnx.vmap
    def make(threshold):
        rule = Rule()
        rule.threshold[...] = threshold
        return rule

    thresholds = jnp.array([[0.0, 0.1, 0.2], [0.5, 0.0, 0.0]])
    truths = nnx.jit(nnx.vmap(lambda rule, x: rule(x[None])[0]))(make(thresholds), X)
    assert truths.shape == (2,)
    for i in range(2):
        np.testing.assert_allclose(truths.probs[i], rule_by_hand(X[i : i + 1], thresholds[i])[0], rtol=1e-6)
    every = nnx.jit(nnx.vmap(lambda rule, x: rule(x), in_axes=(0, None)))(make(thresholds), X)
    assert type(every) is sft.SoftBool
    np.testing.assert_allclose(every.probs, jnp.stack([rule_by_hand(X, t) for t in thresholds]), rtol=1e-6)
    shared = nnx.vmap(lambda rule, v: (v > rule.threshold[...]).all(), in_axes=(None, 0))(Rule(), sft.soft(X, S))
    np.testing.assert_array_equal(shared.probs, Rule()(X).probs)


def test_nnx_scan_carries_a_soft_value_past_one_module():
    @nnx.scan(in_axes=(nnx.Carry, None, 0), out_axes=(nnx.Carry, 0))
    def step(carry, rule, x):
        carry = carry | (sft.soft(x, S) > rule.threshold[...])
        return carry, carry.all()

    rule = Rule()
    last, each = step(sft.SoftBool.from_hard(jnp.zeros(3, bool)), rule, X)
    above = logistic(X - rule.threshold[...][None])
    seen = 1 - jnp.cumprod(1 - above, 0)
    np.testing.assert_allclose(last.probs, seen[-1], rtol=1e-5)
    np.testing.assert_allclose(each.probs, seen.prod(1), rtol=1e-5)


def test_nnx_scan_carries_soft_values():
    """A chain of soft rectifiers, one bias a layer."""

    class Layer(nnx.Module):
        def __init__(self, bias):
            self.bias = nnx.Param(bias)

        def __call__(self, value):
            return (value + self.bias[...]).relu()

    layers = nnx.vmap(Layer)(jnp.array([[0.1, 0.0, -0.2], [0.3, 0.1, 0.0]]))
    chain = nnx.scan(lambda value, layer: layer(value), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
    value, gradient = nnx.jit(nnx.value_and_grad(lambda layers, x: chain(sft.soft(x, S), layers).st().sum()))(
        layers, X[0]
    )

    hidden = X[0] + layers.bias[...][0]
    last = S * jax.nn.softplus(hidden / S) + layers.bias[...][1]
    exact = jax.nn.relu(jax.nn.relu(hidden) + layers.bias[...][1])
    np.testing.assert_allclose(value, exact.sum(), rtol=1e-6)
    expected = jnp.stack([logistic(last) * logistic(hidden), logistic(last)])
    np.testing.assert_allclose(gradient["bias"][...], expected, rtol=1e-5)


STORED = {
    "array": lambda: sft.soft(X, S, mode="c1"),
    "array with its softness": lambda: sft.soft(X, jnp.array(S)),
    "bool": lambda: sft.soft(X, S, logic="godel") > 0.1,
    "index": lambda: sft.SoftIndex.from_logits(X),
}


@pytest.mark.parametrize("kind", STORED)
def test_a_soft_value_lives_in_an_nnx_variable(kind):
    class Memory(nnx.Module):
        def __init__(self, value):
            self.value = nnx.Variable(value)
            self.steps = nnx.Param(jnp.array(0))

    value = STORED[kind]()
    memory = Memory(value)
    assert type(memory.value[...]) is type(value)

    graph, state = nnx.split(memory)
    assert len(jax.tree.leaves(state)) == len(jax.tree.leaves(value)) + 1
    merged = nnx.merge(graph, jax.tree.map(lambda leaf: leaf, state))
    np.testing.assert_array_equal(merged.value[...].st(), value.st())
    assert jax.tree.structure(merged.value[...]) == jax.tree.structure(value)

    @nnx.jit
    def flip(memory):
        state = nnx.state(memory, nnx.Variable)
        nnx.update(memory, jax.tree.map(lambda leaf: leaf[::-1] if leaf.ndim else leaf, state))
        memory.steps[...] += 1
        return memory.value[...]

    np.testing.assert_array_equal(flip(memory).soft(), value.soft()[::-1])
    np.testing.assert_array_equal(memory.value[...].hard(), value.hard()[::-1])
    assert memory.steps[...] == 1
    assert nnx.clone(memory).value[...].shape == value.shape


def test_a_method_sets_a_soft_value_in_an_nnx_variable():
    class Memory(nnx.Module):
        def __init__(self):
            self.seen = nnx.Variable(sft.SoftBool.from_hard(jnp.zeros(3, bool)))

        def __call__(self, x):
            self.seen.set_value(self.seen.get_value() | (sft.soft(x, S) > 0.0))

    memory = Memory()
    see = nnx.jit(lambda memory, x: memory(x))
    for x in X:
        see(memory, x)
    value = memory.seen.get_value()
    assert type(value) is sft.SoftBool
    np.testing.assert_array_equal(value.hard(), (X > 0.0).any(0))
    np.testing.assert_allclose(value.probs, 1 - (1 - logistic(X)).prod(0), rtol=1e-5)


@pytest.mark.usefixtures("ordinary_promotion")
def test_softness_learned_as_an_nnx_param():
    """The rule that made the data was softer; gradient descent finds out."""
    rule = Rule(softness=nnx.Param(jnp.array(1.0)))
    x = jnp.linspace(-1, 1, 30).reshape(10, 3)
    target = rule_by_hand(x, rule.threshold[...], 0.4)
    optimizer = nnx.Optimizer(rule, optax.adam(0.05), wrt=nnx.Param)
    losses = []

    @nnx.jit
    def step(rule, optimizer):
        loss, gradient = nnx.value_and_grad(lambda rule: ((rule(x).probs - target) ** 2).sum())(rule)
        optimizer.update(rule, gradient)
        return loss

    for _ in range(100):
        losses.append(float(step(rule, optimizer)))
    assert losses[-1] < losses[0] / 100
    np.testing.assert_allclose(rule.softness[...], 0.4, atol=0.05)


def test_softness_annealed_as_an_nnx_variable_compiles_once():
    class Temperature(nnx.Variable):
        """Not learned."""

    traces = []
    rule = Rule(softness=Temperature(jnp.array(1.0)))

    @nnx.jit
    def loss_and_gradient(rule):
        traces.append(rule)
        return nnx.value_and_grad(lambda rule: rule(X).probs.sum())(rule)

    for softness in (1.0, 0.5, 0.1):
        rule.softness[...] = jnp.array(softness)
        loss, gradient = loss_and_gradient(rule)
        np.testing.assert_allclose(loss, rule_by_hand(X, rule.threshold[...], softness).sum(), rtol=1e-6)
        assert "softness" not in gradient
    assert len(traces) == 1


def test_an_nnx_param_is_an_operand_as_it_is_in_jnp():
    param, softness = nnx.Param(jnp.array([0.1, 0.2, -0.3])), nnx.Param(jnp.array(S))
    value = sft.soft(X[0], S)
    expected = value > param[...]
    for truth in (value > param, param < value, sft.greater(value, param), sft.soft(param, S) < value):
        np.testing.assert_allclose(truth.probs, expected.probs, rtol=1e-6)
        np.testing.assert_array_equal(truth.hard(), expected.hard())
    np.testing.assert_array_equal((value + param).soft(), X[0] + param[...])
    np.testing.assert_array_equal((param - value).soft(), param[...] - X[0])
    np.testing.assert_array_equal(sft.soft(X[0], softness).relu().soft(), value.relu().soft())
    np.testing.assert_array_equal(sft.relu(param, softness=softness), sft.relu(param[...], softness=S))
    chosen, index = sft.where(value > 0.0, param, 0.0), value.argmax()
    np.testing.assert_array_equal(chosen.soft(), sft.where(value > 0.0, param[...], 0.0).soft())
    np.testing.assert_array_equal(sft.take(param, index).soft(), sft.take(param[...], index).soft())
    kept = nnx.Variable(value)
    np.testing.assert_array_equal(sft.maximum(kept, param).soft(), sft.maximum(value, param[...]).soft())
    np.testing.assert_array_equal((value + kept).hard(), 2 * X[0])


# Haiku


def haiku_rule(x):
    threshold = hk.get_parameter("threshold", (3,), init=jnp.zeros)
    return (sft.soft(x, S) > threshold[None]).all(axis=1)


def test_haiku_transform():
    rule = hk.without_apply_rng(hk.transform(haiku_rule))
    params = rule.init(jax.random.key(0), X)
    truth = jax.jit(rule.apply)(params, X)
    assert type(truth) is sft.SoftBool
    np.testing.assert_allclose(truth.probs, logistic(X).prod(1), rtol=1e-6)
    gradient = jax.grad(lambda params: rule.apply(params, X).st().sum())(params)
    expected = jax.grad(lambda t: rule_by_hand(X, t).sum())(jnp.zeros(3))
    np.testing.assert_allclose(gradient["~"]["threshold"], expected, rtol=1e-5)


def test_haiku_state_holds_a_softness_and_a_soft_value():
    def forward(x):
        softness = hk.get_state("softness", (), init=jnp.ones)
        value = sft.soft(x, softness)
        last = hk.get_state("last", (), bool, init=lambda *_: value) if hk.running_init() else hk.get_state("last")
        hk.set_state("softness", softness * 0.5)
        hk.set_state("last", value.relu())
        return (value > last).sum()

    model = hk.without_apply_rng(hk.transform_with_state(forward))
    params, state = model.init(jax.random.key(0), X)
    apply = jax.jit(chex.assert_max_traces(model.apply, n=1))
    for softness in (1.0, 0.5, 0.25):
        last = state["~"]["last"].soft()
        assert state["~"]["softness"] == softness
        count, state = apply(params, state, X)
        # the softer of the value and of the one before it, which was twice as soft from the second step on
        merged = softness if softness == 1.0 else 2 * softness
        np.testing.assert_allclose(count.soft(), jax.nn.sigmoid((X - last) / merged).sum(), rtol=1e-5)
        np.testing.assert_allclose(state["~"]["last"].soft(), softness * jax.nn.softplus(X / softness), rtol=1e-6)


def test_haiku_state_holds_a_soft_boolean():
    def forward(x):
        seen = hk.get_state("seen", (3,), bool, init=lambda shape, _: sft.SoftBool.from_hard(jnp.zeros(shape, bool)))
        hk.set_state("seen", seen | (sft.soft(x, S) > 0.0))
        return hk.get_state("seen").any().st()

    model = hk.without_apply_rng(hk.transform_with_state(forward))
    params, state = model.init(jax.random.key(0), X[0])
    assert state["~"]["seen"].probs.tolist() == [0.0] * 3
    for x in X:
        out, state = jax.jit(model.apply)(params, state, x)
        np.testing.assert_array_equal(out, 1.0)
    np.testing.assert_allclose(state["~"]["seen"].probs, 1 - (1 - logistic(X)).prod(0), rtol=1e-5)
    np.testing.assert_array_equal(state["~"]["seen"].hard(), (X > 0.0).any(0))


def test_haiku_scan_carries_a_soft_value_past_a_parameter():
    def net(xs):
        threshold = hk.get_parameter("threshold", (3,), init=jnp.ones)
        start = sft.SoftBool.from_hard(jnp.zeros(3, bool))
        return hk.scan(lambda c, x: (c | (sft.soft(x, S) > threshold), None), start, xs)[0]

    model = hk.without_apply_rng(hk.transform(net))
    out = model.apply(model.init(jax.random.key(0), X), X)
    np.testing.assert_allclose(out.probs, 1 - (1 - logistic(X - 1)).prod(0), rtol=1e-5)


def test_haiku_scan_carries_soft_values():
    def chain(x):
        def step(value, bias):
            scale = hk.get_parameter("scale", (), init=jnp.ones)
            return (value * scale + bias).relu(), value > bias

        return hk.scan(step, sft.soft(x, S), jnp.array([0.1, -0.2, 0.3]))

    model = hk.without_apply_rng(hk.transform(chain))
    params = model.init(jax.random.key(0), X[0])
    last, above = jax.jit(model.apply)(params, X[0])
    value, exact = X[0], X[0]
    for i, bias in enumerate((0.1, -0.2, 0.3)):
        np.testing.assert_allclose(above.probs[i], logistic(value - bias), rtol=1e-5)
        value, exact = S * jax.nn.softplus((value + bias) / S), jax.nn.relu(exact + bias)
    np.testing.assert_allclose(last.soft(), value, rtol=1e-5)
    np.testing.assert_allclose(last.st(), exact, rtol=1e-5)


def test_haiku_module_with_a_learned_softness():
    class Gate(hk.Module):
        def __call__(self, x):
            softness = jax.nn.softplus(hk.get_parameter("softness", (), init=jnp.zeros))
            return hk.Linear(1)(x).squeeze(1), (sft.soft(x, softness) > 0.0).mean(axis=1)

    model = hk.without_apply_rng(hk.transform(lambda x: Gate()(x)))
    params = model.init(jax.random.key(0), X)
    gradient = jax.grad(lambda params: model.apply(params, X)[1].st().sum())(params)["gate"]["softness"]
    s = jax.nn.softplus(0.0)
    p = jax.nn.sigmoid(X / s)
    np.testing.assert_allclose(gradient, (-p * (1 - p) * X / s**2 * 0.5).mean(1).sum(), rtol=1e-5)


# Plain JAX and optax


@pytest.mark.usefixtures("ordinary_promotion")
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


@pytest.mark.usefixtures("ordinary_promotion")
def test_optax_trains_the_rule_that_made_the_labels():
    """Points above 0.37 are positive; the hard rule that is found says the same of every point."""
    x = jnp.linspace(-1, 1, 41)
    labels = x > 0.37
    params = {"threshold": jnp.array(-0.5), "log_softness": jnp.log(jnp.array(0.3))}
    optimizer = optax.adam(0.05)

    def rule(params):
        return sft.soft(x, jnp.exp(params["log_softness"])) > params["threshold"]

    def loss(params):
        return -jnp.where(labels, jnp.log(rule(params).probs + 1e-6), jnp.log((~rule(params)).probs + 1e-6)).mean()

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for _ in range(150):
        params, state = step(params, state)
    np.testing.assert_array_equal(rule(params).hard(), labels)
    assert 0.35 < params["threshold"] < 0.4
    assert jnp.exp(params["log_softness"]) < 0.3


def test_optax_updates_trees_that_contain_soft_values():
    params = {"value": sft.SoftArray(X, X, sft.Relaxation(jnp.array(S))), "bias": jnp.zeros(3)}
    optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.sgd(0.1, momentum=0.9))
    gradient = jax.grad(lambda p: (p["value"] + p["bias"][None]).relu().st().sum())(params)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    updated = optax.apply_updates(params, updates)
    assert type(updated["value"]) is sft.SoftArray
    np.testing.assert_allclose(updated["value"].soft(), X - 0.1 * logistic(X), rtol=1e-5)
    np.testing.assert_array_equal(updated["value"].hard(), X)
    np.testing.assert_allclose(updated["bias"], -0.1 * logistic(X).sum(0), rtol=1e-5)
    u = X / S
    in_softness = (jax.nn.softplus(u) - u * jax.nn.sigmoid(u)).sum()
    np.testing.assert_allclose(updated["value"].relaxation.softness, S - 0.1 * in_softness, rtol=1e-5)


@pytest.mark.parametrize("softness", [0.3, jnp.array(0.3)], ids=["static", "array"])
def test_a_soft_value_is_a_pytree_for_optax(softness):
    value = optax.tree.scale(2.0, sft.soft(X, softness))
    np.testing.assert_allclose(value.soft(), 2.0 * X)
    np.testing.assert_allclose(value.hard(), 2.0 * X)
    np.testing.assert_allclose(value.relaxation.softness, 0.3 if isinstance(softness, float) else 0.6)


def test_an_optax_schedule_anneals_without_recompilation():
    schedule = optax.exponential_decay(1.0, transition_steps=1, decay_rate=0.5)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(x, count):
        return sft.soft(x, schedule(count)).relu().soft(), count + 1

    count = jnp.array(0)
    for softness in (1.0, 0.5, 0.25, 0.125):
        value, count = step(X, count)
        np.testing.assert_allclose(value, softness * jax.nn.softplus(X / softness), rtol=1e-5)


# What softtypes imports

PROBE = """
import sys
import jax, jax.numpy
packages = lambda: {name.split(".")[0] for name in sys.modules}
before = packages()
import softtypes
softtypes.soft(1.0)
new = packages() - before - set(sys.stdlib_module_names)
print(*sorted(new))
"""


def test_softtypes_imports_no_framework():
    out = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    runtime = {"softtypes", "jax", "jaxlib", "jaxtyping", "beartype", "wadler_lindig", "typing_extensions"}
    assert "softtypes" in out.stdout.split()
    assert set(out.stdout.split()) <= runtime


# Modules that know nothing of soft values


class PlainRule(nnx.Module):
    """A layer, its rectifier, and the row of a table that its largest output names."""

    def __init__(self, rngs):
        self.layer = nnx.Linear(3, 4, rngs=rngs)
        self.table = nnx.Param(jnp.arange(4.0))

    def __call__(self, x):
        y = jax.nn.relu(self.layer(x))
        return self.table[...][jnp.argmax(y)]


def plain_rule_by_hand(weights, bias, table, x):
    y = sft.soft(x @ weights + bias).relu().soft()
    return sft.soft(table)[sft.argmax(y)].soft()


def test_a_plain_nnx_module_is_softened_as_argument_and_as_closure(ordinary_promotion):
    module = PlainRule(nnx.Rngs(0))
    graph, state = nnx.split(module)
    run = lambda state, x: nnx.merge(graph, state)(x)
    by_argument = jax.jit(jax.grad(lambda state: sft.soften(run)(state, X[0])))(state)
    by_closure = jax.jit(jax.grad(lambda state: sft.soften(lambda x: run(state, x))(X[0])))(state)
    held = (module.layer.kernel[...], module.layer.bias[...], module.table[...])
    by_hand = jax.grad(plain_rule_by_hand, (0, 1, 2))(*held, X[0])
    for gradient in (by_argument, by_closure):
        found = (gradient["layer"]["kernel"], gradient["layer"]["bias"], gradient["table"])
        for a, b in zip(found, by_hand, strict=True):
            np.testing.assert_allclose(a[...], b, rtol=1e-4, atol=1e-6)
    exact = sft.soften(module, straight_through=True)(X[0])
    assert exact == module(X[0])


def test_a_plain_haiku_apply_is_softened(ordinary_promotion):
    def forward(x):
        y = jax.nn.relu(hk.Linear(4)(x))
        return hk.get_parameter("table", (4,), init=lambda *_: jnp.arange(4.0))[jnp.argmax(y)]

    model = hk.without_apply_rng(hk.transform(forward))
    params = model.init(jax.random.key(0), X[0])
    value, gradient = jax.value_and_grad(sft.soften(model.apply))(params, X[0])
    linear = params["linear"]
    np.testing.assert_allclose(value, plain_rule_by_hand(linear["w"], linear["b"], jnp.arange(4.0), X[0]), rtol=1e-5)
    assert all(np.isfinite(g).all() and np.any(g) for g in jax.tree.leaves(gradient))


def test_an_update_clipped_by_optax_is_softened(ordinary_promotion):
    clip = optax.clip(1.0)
    update = lambda g: clip.update({"w": g}, clip.init(None))[0]["w"]
    g = jnp.array([0.3, 1.2, -2.0])
    np.testing.assert_allclose(sft.soften(update, 0.1)(g), sft.clip(g, -1.0, 1.0, softness=0.1), rtol=1e-5)
