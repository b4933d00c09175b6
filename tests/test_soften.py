"""`soften` beside programs that were written with the types by hand; its report, selectors, loops and limits."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import softtypes as sft
from softtypes.softening.rule import RULES
from softtypes.softening.sites import Site

X = np.array([0.3, 0.9, -0.4, 0.23, 1.57], np.float32)
W = np.array([[0.2, -0.1, 0.4, 1.0, 0.3], [0.5, 0.1, -0.3, 0.2, 0.9], [-0.2, 0.7, 0.1, 0.4, 0.6]], np.float32)
# Compiled once and run once: what XLA would gain by optimising, it would not earn back.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
S = sft.Relaxation(0.3, "c1", logic="godel")


# Programs beside the same written with the types


def controller(x, where):
    def step(on, t):
        on = where(t < x[0], True, where(t > x[1], False, on))
        return on, where(on, 1.0, -0.5)

    return step


def plain_loop(x):
    return lax.scan(controller(x, jnp.where), x[2] > 0, x[3] * jnp.arange(6.0))[1]


def typed_loop(x):
    soft = sft.soft(x, S)
    on = soft[2] > 0
    out = []
    for t in range(6):
        on, y = controller(soft, sft.where)(on, soft[3] * jnp.float32(t))
        out.append(y.soft())
    return jnp.stack(out)


def typed_tree(x):
    x = sft.soft(x, S)
    return sft.where(x[0] > 0.5, sft.where(x[1] > 0.35, 1.0, 2.0), sft.where(x[2] < 0.15, 3.0, 4.0)).soft()


def typed_experts(x):
    gates, chosen = sft.soft(W @ x, S).top_k(2)
    return (jax.nn.softmax(gates.soft()) * sft.take(W[:, 0], chosen).soft()).sum()


def typed_select(x):
    y = sft.soft(x, S)
    return sft.where(y < 0, 0 * x, sft.where(y > 1, x, x + 1)).soft()


PAIRS = {
    "comparisons": (
        lambda x: ((x > 0.2) & ~(x < 0.5)) | (x[::-1] == 1.0),
        lambda x: (((sft.soft(x, S) > 0.2) & ~(sft.soft(x, S) < 0.5)) | (sft.soft(x[::-1], S) == 1.0)).soft(),
    ),
    "where": (
        lambda x: jnp.where(x > 0.5, jnp.sin(x), 0.0).sum(),
        lambda x: sft.where(sft.soft(x, S) > 0.5, jnp.sin(x), 0.0).soft().sum(),
    ),
    "steps": (
        lambda x: jnp.stack([jnp.abs(x), jnp.sign(x), jnp.round(x)]),
        lambda x: jnp.stack([sft.soft(x, S).abs().soft(), sft.soft(x, S).sign().soft(), sft.soft(x, S).round().soft()]),
    ),
    "any": (
        lambda x: jnp.any(x > 1) & jnp.all(x > -1),
        lambda x: (sft.soft(x, S) > 1).any() & (sft.soft(x, S) > -1).all(),
    ),
    "max": (lambda x: jnp.max(x) - jnp.min(x), lambda x: (sft.soft(x, S).max() - sft.soft(x, S).min()).soft()),
    "sort": (jnp.sort, lambda x: sft.sort(x, relaxation=S)),
    "median": (jnp.median, lambda x: sft.median(x, relaxation=S)),
    "argmax": (lambda x: x[jnp.argmax(x)], lambda x: sft.soft(x)[sft.argmax(x, relaxation=S)].soft()),
    "one_hot": (lambda x: jax.nn.one_hot(jnp.argmax(x), 5), lambda x: sft.argmax(x, relaxation=S).probs),
    "take_along_axis": (
        lambda x: jnp.take_along_axis(jnp.sin(x), jnp.argsort(x), 0),
        lambda x: sft.take_along_axis(jnp.sin(x), sft.argsort(x, relaxation=S), 0).soft(),
    ),
    "slice": (
        lambda x: lax.dynamic_slice(x, (jnp.argmin(x),), (2,)),
        lambda x: sft.dynamic_slice(x, [sft.argmin(x, relaxation=S)], [2]).soft(),
    ),
    "index comparison": (
        lambda x: jnp.where(jnp.argmax(x) > 2, 1.0, 2.0),
        lambda x: sft.where(sft.argmax(x, relaxation=S) > 2, 1.0, 2.0).soft(),
    ),
    "set": (
        lambda x: x.at[jnp.argmax(x)].set(7.0),
        lambda x: sft.where(sft.SoftBool(sft.argmax(x, relaxation=S).probs), 7.0, x).soft(),
    ),
    "searchsorted": (
        lambda x: jnp.searchsorted(jnp.arange(4.0), x, side="right"),
        lambda x: (sft.soft(x, S)[:, None] >= jnp.arange(4.0)[None, :]).sum(1).soft(),
    ),
    "select": (lambda x: jnp.select([x < 0, x > 1], [0 * x, x], x + 1), typed_select),
    "tree": (
        lambda x: jnp.where(x[0] > 0.5, jnp.where(x[1] > 0.35, 1.0, 2.0), jnp.where(x[2] < 0.15, 3.0, 4.0)),
        typed_tree,
    ),
    "experts": (
        lambda x: (lambda g, i: (jax.nn.softmax(g) * jnp.asarray(W)[i, 0]).sum())(*lax.top_k(W @ x, 2)),
        typed_experts,
    ),
    "cond": (
        lambda x: lax.cond(x[0] > 0.2, lambda: x + 1, lambda: x * 2),
        lambda x: sft.where((sft.soft(x, S)[0] > 0.2).reshape(1), x + 1, x * 2).soft(),
    ),
    "loop": (plain_loop, typed_loop),
}


def plain(tree):
    return jax.tree.map(lambda v: v.soft() if hasattr(v, "soft") else v, tree, is_leaf=lambda v: hasattr(v, "soft"))


@pytest.fixture(autouse=True)
def ordinary_promotion():
    """The programs are of people who have not heard of strict promotion."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def observed(f, x):
    """The value, its change along a direction, and the gradient of a mixture of its entries."""
    value, push = jax.linearize(f, x)
    mixture = jax.tree.map(lambda v: jnp.cos(1.0 + jnp.arange(v.size, dtype=v.dtype)).reshape(v.shape), value)
    return value, push(jnp.cos(3 * x)), jax.linear_transpose(push, x)(mixture)


def test_soften_is_what_would_be_written_by_hand_in_value_and_gradient():
    def both(x):
        softened = {name: observed(sft.soften(program, S), x) for name, (program, _) in PAIRS.items()}
        by_hand = {name: observed(lambda x, f=f: plain(f(x)), x) for name, (_, f) in PAIRS.items()}
        return softened, by_hand

    softened, by_hand = jax.jit(both, compiler_options=QUICK)(X)
    for name, found in softened.items():
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(by_hand[name]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=name)
        assert any(np.any(a) for a in found[2]), name


def relu(x):
    return jnp.where(x > 0.2, x, 0.0)


def soft_relu(x):
    return sft.where(sft.soft(x, S) > 0.2, x, 0.0).soft()


OPERATORS = {
    "sort": (PAIRS["sort"][1],) * 2,
    "top_k": (typed_experts,) * 2,
    "argmax": (PAIRS["argmax"][1],) * 2,
    "expressions": (typed_tree,) * 2,
    "loop": (typed_loop,) * 2,
    "softened": (sft.soften(PAIRS["argmax"][0], S), PAIRS["argmax"][1]),
    "of what was relaxed": (lambda x: sft.sort(relu(x), relaxation=S), lambda x: sft.sort(soft_relu(x), relaxation=S)),
    "on the way": (
        lambda x: relu(sft.sort(x, relaxation=S)),
        lambda x: soft_relu(sft.sort(x, relaxation=S)),
    ),
    "of a relaxed condition": (lambda x: sft.where(x > 0.2, x, 0.0), soft_relu),
    "of a relaxed index": (lambda x: sft.take(x, jnp.argmax(x)), PAIRS["argmax"][1]),
}


def test_operators_of_this_library_are_left_as_they_are():
    """On values that were relaxed before, too; a plain condition is the program's own."""

    def both(x):
        given = {name: observed(sft.soften(f, S), x) for name, (f, _) in OPERATORS.items()}
        return given, {name: observed(f, x) for name, (_, f) in OPERATORS.items()}

    softened, as_they_are = jax.jit(both, compiler_options=QUICK)(X)
    for name, expected in as_they_are.items():
        for a, b in zip(jax.tree.leaves(softened[name]), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=name)


# What it costs

N = 64
WEIGHTS = np.random.default_rng(0).normal(0, 0.2, (8, N, N)).astype(np.float32)
ROUTER = WEIGHTS[:, 0]


def experts(gates, chosen, take, x):
    return jnp.einsum("k,kio,i->o", jax.nn.softmax(gates), take(jnp.asarray(WEIGHTS), chosen), x)


def branches(x):
    return lambda: jnp.tanh(WEIGHTS[0] @ x), lambda: jnp.sin(x @ WEIGHTS[1])


def typed_branches(x):
    a, b = (branch() for branch in branches(x))
    return sft.where(sft.soft(x, S)[:1] > 0.2, a, b).soft()


def typed_scan(x):
    soft = sft.soft(x, S)
    return lax.scan(controller(soft, sft.where), soft[2] > 0, x[3] * jnp.arange(6.0))[1].soft()


def typed_router(x):
    gates, chosen = sft.soft(ROUTER @ x, S).top_k(2)
    return experts(gates.soft(), chosen, lambda w, i: sft.take(w, i, axis=0).soft(), x)


COSTS = {name: PAIRS[name] for name in ("where", "argmax", "median", "select", "sort", "searchsorted", "set", "tree")}
COSTS |= {
    "scan": (plain_loop, typed_scan),
    "branches": (lambda x: lax.cond(x[0] > 0.2, *branches(x)), typed_branches),
    "router": (lambda x: experts(*lax.top_k(ROUTER @ x, 2), lambda w, i: w[i], x), typed_router),
}


def cost(f):
    """Floating-point operations of a function and its gradient."""
    loss = lambda x: jnp.sum(jnp.cos(f(x)))
    return jax.jit(jax.value_and_grad(loss)).lower(jnp.linspace(0.0, 1.0, N)).compile().cost_analysis()["flops"]


@pytest.mark.parametrize(
    "name", [name if name in ("where", "median") else pytest.param(name, marks=pytest.mark.slow) for name in COSTS]
)
def test_a_softened_program_costs_what_is_written_by_hand(name):
    program, by_hand = COSTS[name]
    expected = cost(lambda x: plain(by_hand(x)))
    assert expected >= N
    assert cost(sft.soften(program, S)) <= 1.1 * expected


# Arguments


@pytest.mark.core
def test_arguments_keep_their_structure_and_what_is_not_differentiable_is_untouched():
    def f(data, n, *, key, mode, scale=1.0):
        assert type(n) is int
        assert mode == "a"
        noise = jax.random.uniform(key, (n,))
        return {"x": jnp.where(data["x"] > 0, scale, noise), "i": data["i"] + 1, "none": None, "big": data["i"] > 3}

    data = {"x": jnp.array([1.0, -1.0]), "i": jnp.array([3, 4])}
    out = sft.soften(f)(data, 2, key=jax.random.key(0), mode="a", scale=2.0)
    assert out["none"] is None
    np.testing.assert_array_equal(out["i"], [4, 5])
    assert out["i"].dtype == data["i"].dtype
    np.testing.assert_array_equal(out["big"], [False, True])
    assert out["big"].dtype == bool
    p = jax.nn.sigmoid(10.0)
    np.testing.assert_allclose(out["x"][0], 2 * p + (1 - p) * jax.random.uniform(jax.random.key(0), (2,))[0], rtol=1e-6)


def test_integers_that_are_inputs_stay_hard_and_results_are_floats_where_they_are_relaxed():
    f = sft.soften(lambda x, i: (x > 0, jnp.argmax(x), i > 2, x[i]))
    x = jnp.array([0.0, 1.0])
    p, mean, hard, entry = jax.jit(f)(x, jnp.array(1))
    np.testing.assert_allclose(p, (0.5, jax.nn.sigmoid(10.0)), rtol=1e-6)
    np.testing.assert_allclose(mean, jax.jit(sft.argmax)(x).probs[1])
    assert hard.dtype == bool
    assert entry == 1
    exact = jax.eval_shape(sft.soften(lambda x: (x > 0, jnp.argmax(x)), straight_through=True), x)
    assert [a.dtype for a in exact] == [jnp.bool_, jnp.argmax(x).dtype]


def test_a_traced_closure_is_an_input_and_a_concrete_one_is_not():
    def loss(threshold, x):
        return sft.soften(lambda x: jnp.where(x > threshold, 1.0, 0.0))(x)

    assert jax.grad(loss)(0.5, 0.4) < 0
    relaxed = sft.soften.report(lambda x: jnp.where(jnp.float32(1.0) > 0.5, x, 0.0))(0.4)
    assert list(relaxed) == []


def test_it_composes_with_vmap_jit_and_grad():
    f = sft.soften(lambda x: x[jnp.argmax(x)])
    rows = jnp.stack([X, X[::-1]])
    batched = jax.jit(jax.vmap(jax.grad(f)))(rows)
    np.testing.assert_allclose(batched[0], batched[1][::-1], rtol=1e-5, atol=1e-6)


def test_second_derivatives():
    f = sft.soften(lambda x: jnp.where(x > 0.0, x, 0.0))
    second = jax.jit(jax.grad(jax.grad(f)))(0.05)
    by_hand = jax.grad(jax.grad(lambda x: jax.nn.sigmoid(x / 0.1) * x))(0.05)
    np.testing.assert_allclose(second, by_hand, rtol=1e-4)


def test_softness_may_be_traced():
    f = lambda s: sft.soften(lambda x: jnp.where(x > 1.0, 1.0, 0.0), s)(1.1)
    value, slope = jax.jit(jax.value_and_grad(f))(0.1)
    np.testing.assert_allclose(value, jax.nn.sigmoid(1.0), rtol=1e-5)
    assert slope < 0


# Report and selectors


def guarded(x):
    with jax.named_scope("guard"):
        safe = jnp.where(x == 0, 1.0, x)
    return jnp.where(x > 0.5, 1 / safe, 0.0)


LINE = guarded.__code__.co_firstlineno


def test_the_report_says_where_and_what():
    sites = sft.soften.report(guarded)(0.25)
    assert [(s.primitive, s.scope, s.relaxed) for s in sites] == [
        ("eq", "guard", True),
        ("select_n", "guard", True),
        ("gt", "", True),
        ("select_n", "", True),
    ]
    assert [s.place for s in sites] == [f"test_soften.py:{LINE + i}" for i in (2, 2, 3, 3)]
    assert {s.function for s in sites} == {"guarded"}
    assert sites[0].inputs == ("f32[]", "f32[]")
    assert sites[0].outputs == ("bool[]",)
    assert sites[0].softness == 0.1
    assert isinstance(sites[0], Site)
    text = str(sites).splitlines()
    assert len(text) == 5
    assert text[1].split()[:4] == [f"test_soften.py:{LINE + 2}", "guarded", "guard", "eq"]


SELECTORS = [
    "guard",
    f"test_soften.py:{LINE + 2}",
    f"test_soften.py:{LINE + 1}-{LINE + 2}",
    lambda site: site.scope == "guard",
]


@pytest.mark.parametrize("selector", SELECTORS, ids=["scope", "line", "lines", "function"])
def test_what_is_skipped_stays_hard(selector):
    f = sft.soften(guarded, skip=selector)
    np.testing.assert_allclose(f(0.25), (sft.soft(0.25) > 0.5).soft() / 0.25, rtol=1e-6)
    sites = sft.soften.report(guarded, skip=selector)(0.25)
    assert [s.relaxed for s in sites if s.scope == "guard"] == [False]  # with a hard test the choice is no site
    assert str(sites).splitlines()[1].split()[4:7] == ["left", "hard:", "skipped"]


def test_only_some_sites_by_primitive_or_function():
    p = (sft.soft(0.25) > 0.5).soft()
    np.testing.assert_allclose(sft.soften(guarded, only="gt")(0.25), p / 0.25, rtol=1e-6)
    assert sft.soften(guarded, skip="guarded")(0.25) == guarded(0.25)
    sites = sft.soften.report(guarded, only="gt")(0.25)
    assert {s.primitive: s.became for s in sites}["eq"] == "not among `only`"


def test_softness_of_a_site():
    overrides = {"gt": 0.7, "guard": {"softness": 1e-6}}
    f = sft.soften(guarded, overrides=overrides)
    np.testing.assert_allclose(f(0.25), (sft.soft(0.25, 0.7) > 0.5).soft() / 0.25, rtol=1e-6)
    assert [s.softness for s in sft.soften.report(guarded, overrides=overrides)(0.25)] == [1e-6, 1e-6, 0.7, 0.1]


def test_a_comparison_of_a_value_to_itself_and_what_has_no_rule_stay_hard():
    sites = sft.soften.report(lambda x: (jnp.isnan(x), lax.reduce_window(x, -jnp.inf, lax.max, (2,), (1,), "VALID")))(X)
    assert [(s.primitive, s.relaxed) for s in sites] == [("ne", False), ("reduce_window_max", False)]
    assert sites[0].became == "it compares a value to itself: a test for NaN"
    assert sites[1].became == "it has no rule"


def test_stop_gradient_gives_the_exact_value_and_nothing_before_it_is_relaxed():
    f = lambda x: lax.stop_gradient(jnp.where(x > 0, 1.0, 0.0)) * x
    assert sft.soften(f)(0.01) == f(jnp.float32(0.01))
    assert jax.grad(sft.soften(f))(0.01) == 1
    assert list(sft.soften.report(f)(0.01)) == []


def test_negative_positions_of_a_soft_index_are_no_site():
    sites = sft.soften.report(lambda x: x[jnp.argmax(x)])(X)
    assert [s.primitive for s in sites] == ["argmax", "dynamic_slice"]


# Functions with derivatives of their own


@jax.custom_jvp
def own(x):
    return jnp.sin(x)


own.defjvp(lambda x, t: (own(*x), 5.0 * t[0]))


@jax.custom_vjp
def own_step(x):
    return jnp.where(x > 0, x, 0.0)


own_step.defvjp(lambda x: (own_step(x), x), lambda x, g: (3.0 * g,))


def test_own_derivatives_are_kept_where_nothing_is_relaxed():
    assert jax.grad(sft.soften(own))(0.3) == 5
    np.testing.assert_allclose(jax.grad(sft.soften(own_step))(0.0), 0.5)
    assert jax.grad(sft.soften(own_step, skip="own_step"))(0.0) == 3
    np.testing.assert_allclose(sft.soften(jax.nn.relu)(0.0), 0.1 * np.log(2), rtol=1e-6)


# Branches and loops


def test_a_branch_of_probability_zero_leaks_nothing():
    f = lambda x: lax.cond(x > 0, lambda: jnp.sqrt(x), lambda: 2 * x)
    value, slope = jax.jit(jax.value_and_grad(sft.soften(f, 1e-3)))(-1.0)
    assert (value, slope) == (-2, 2)
    at_zero = sft.soften(lambda x: lax.cond(x > 0.5, lambda: jnp.sqrt(x), lambda: 2 * x), 1e-3)
    assert jax.jit(jax.grad(at_zero))(0.0) == 2  # the derivative of the other is infinite


def grows(x):
    return lax.while_loop(lambda c: c[0] < 3.0, lambda c: (1.5 * c[0], c[1] + 1.0), (x, 0.0))


def test_a_loop_with_a_soft_condition_needs_a_bound():
    line = grows.__code__.co_firstlineno + 1
    with pytest.raises(ValueError, match=rf"while_loop at test_soften.py:{line} \(in grows\) is soft.*unroll=N.*skip="):
        sft.soften(grows)(0.7)
    with pytest.raises(ValueError, match="unroll must be a number of steps, at least 0; got -1"):
        sft.soften(grows, unroll=-1)
    np.testing.assert_allclose(sft.soften(grows, 1e-4, unroll=6)(0.7), grows(0.7), rtol=1e-5)
    np.testing.assert_allclose(sft.soften(grows, skip="while")(0.7), grows(0.7), rtol=1e-6)


def test_unrolled_steps_are_mixed_by_the_probability_that_the_loop_still_runs():
    value, steps = sft.soften(grows, 0.5, unroll=2)(2.5)
    p = jax.nn.sigmoid((3 - 2.5) / 0.5)
    first = p * 3.75 + (1 - p) * 2.5
    q = p * jax.nn.sigmoid((3 - first) / 0.5)
    np.testing.assert_allclose(
        [value, steps], [q * 1.5 * first + (1 - q) * first, q * (p + 1) + (1 - q) * p], rtol=1e-5
    )


def test_a_loop_with_a_definite_condition_carries_soft_values():
    f = lambda x: lax.while_loop(
        lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.where(c[1] > 1, 0.5 * c[1], 2 * c[1])), (0, x)
    )
    steps, value = sft.soften(f)(0.7)
    assert steps.dtype == jnp.int32
    assert steps == 3
    y = jnp.float32(0.7)
    for _ in range(3):
        y = sft.where(sft.soft(y) > 1, 0.5 * y, 2 * y).soft()
    np.testing.assert_allclose(value, y, rtol=1e-6)


# Errors


@pytest.mark.parametrize(
    ("kwargs", "error", "text"),
    [
        ({"skip": 3}, TypeError, "skip: a site is selected by a primitive.*got 3"),
        ({"skip": [3]}, TypeError, r"skip: a site is selected by a primitive \('lt'\).*got 3"),
        ({"softnes": 3}, TypeError, "unknown relaxation keyword 'softnes'; the keywords are"),
        ({"mode": "soft"}, ValueError, "mode must be one of"),
        ({"overrides": {"lt": {"mode": "soft"}}}, ValueError, "mode must be one of"),
    ],
)
def test_errors(kwargs, error, text):
    with pytest.raises(error, match=text):
        sft.soften(jnp.sin, **kwargs)


# The page


def table():
    rows: dict[str, list[str]] = {}
    for name, entry in RULES.items():
        rows.setdefault(entry.became, []).append(f"`{name}`")
    lines = [
        "| primitives | become |",
        "|---|---|",
        *(f"| {' '.join(names)} | {words} |" for words, names in rows.items()),
    ]
    return "\n".join(lines)


def test_the_page_shows_the_rules():
    assert table() in (Path(__file__).parents[1] / "docs" / "soften.md").read_text()
