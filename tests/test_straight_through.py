"""Straight-through estimation: the hard view forward, to the bit; the derivatives of the soft view."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft

S = 0.5
DTYPES = ("float16", "bfloat16", "float32", "float64")
ODD = (np.inf, -np.inf, np.nan, -0.0, 0.0, 1.5, -65000.0, 1e-7)

pytestmark = pytest.mark.core


@pytest.fixture(params=DTYPES)
def dtype(request):
    with jax.enable_x64(request.param == "float64"):
        yield jnp.dtype(request.param)


def bits(x):
    return np.asarray(x).view(f"uint{8 * x.dtype.itemsize}")


@pytest.mark.parametrize("wrap", [lambda fn: fn, jax.jit, jax.vmap, lambda fn: jax.jit(jax.vmap(fn))])
def test_forward_is_the_hard_view_to_the_bit(dtype, wrap):
    hard = jnp.array(ODD, dtype)
    for soft in (jnp.zeros(len(ODD), dtype), jnp.full(len(ODD), jnp.nan, dtype), hard[::-1]):
        shown = wrap(lambda v: v.st())(sft.SoftArray(soft, hard))
        assert shown.dtype == dtype
        np.testing.assert_array_equal(bits(shown), bits(hard))


def test_differentiation_leaves_the_forward_bits_alone(dtype):
    hard, soft = jnp.array(ODD, dtype), jnp.linspace(-1, 1, len(ODD), dtype=dtype)
    fn = lambda soft: sft.SoftArray(soft, hard).st()
    for shown in (
        jax.jvp(fn, (soft,), (soft,))[0],
        jax.vjp(fn, soft)[0],
        jax.jit(lambda s: jax.linearize(fn, s)[0])(soft),
    ):
        np.testing.assert_array_equal(bits(shown), bits(hard))


@pytest.mark.parametrize(
    "hard", [np.array([3, -7, 2**30 + 1]), np.array([True, False, True]), np.array([0, 255], "u1")]
)
def test_exact_integers_and_bits_show_in_the_dtype_of_the_soft_view(dtype, hard):
    hard = jnp.asarray(hard)
    shown = sft.SoftArray(jnp.zeros(hard.shape, dtype), hard).st()
    assert shown.dtype == dtype
    np.testing.assert_array_equal(bits(shown), bits(hard.astype(dtype)))


def test_a_bool_shows_as_0_or_1_and_an_index_as_one_hot(dtype):
    truth = sft.SoftBool(jnp.array([0.25, 0.75], dtype), jnp.array([True, False])).st()
    index = sft.SoftIndex(jnp.array([[0.25, 0.75], [1.0, 0.0]], dtype), jnp.array([0, 1])).st()
    assert truth.dtype == index.dtype == dtype
    np.testing.assert_array_equal(bits(truth), bits(jnp.array([1, 0], dtype)))
    np.testing.assert_array_equal(bits(index), bits(jnp.eye(2, dtype=dtype)))


EXPRESSIONS = {
    "number": lambda x: sft.soft(x, S).relu() * sft.soft(x, S).abs() - 0.5,
    "bool": lambda x: (sft.soft(x, S) > 0.25) & ~(sft.soft(x, S) > 1.0),
    "index": lambda x: sft.SoftIndex.from_logits(x / S),
    "selection": lambda x: (sft.soft(x, S) > 0.25).where(x, -x),
    "integers": lambda x: sft.soft(x, S).round().astype(int) * 2,
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_all_derivatives_are_those_of_the_soft_view(name):
    x = jnp.array([[-0.3, 0.7, 1.2], [0.1, -0.6, 0.4]])

    def derivatives(x, view):
        fn = jax.vmap(lambda x: view(EXPRESSIONS[name](x)))
        value, tangent = jax.jvp(fn, (x,), (jnp.cos(x),))
        weights = jnp.cos(jnp.arange(value.size, dtype=float)).reshape(value.shape)
        gradient = jax.grad(lambda x: (fn(x) * weights).sum())
        return {"forward": tangent, "reverse": gradient(x), "second": jax.jvp(gradient, (x,), (x,))[1]}

    st, soft = (jax.jit(derivatives, static_argnums=1)(x, view) for view in (lambda v: v.st(), lambda v: v.soft()))
    for order, expected in soft.items():
        np.testing.assert_allclose(st[order], expected, rtol=1e-6, atol=1e-7, err_msg=order)
        assert jnp.any(expected != 0), order


@pytest.mark.parametrize("view", ["values", "probs of a bool", "probs of an index"])
def test_the_derivative_of_the_view_itself_is_the_identity(dtype, view):
    make = {
        "values": lambda p: sft.SoftArray(p, jnp.array([jnp.inf, -1], dtype)),
        "probs of a bool": sft.SoftBool,
        "probs of an index": sft.SoftIndex,
    }[view]
    p = jnp.array([0.25, 0.75], dtype)
    for jacobian in (jax.jacfwd, jax.jacrev):
        found = jacobian(lambda p: make(p).st())(p)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, jnp.eye(2, dtype=dtype))


def test_the_hard_view_has_no_gradient():
    gradient = jax.grad(lambda hard: sft.SoftArray(jnp.zeros(2), hard).st().sum())(jnp.ones(2))
    np.testing.assert_array_equal(gradient, jnp.zeros(2))


def test_an_infinite_input_passes_and_keeps_its_neighbours_gradients():
    x = jnp.array([jnp.inf, -jnp.inf, 0.2])
    value, pull = jax.vjp(lambda x: sft.soft(x, S).relu().st(), x)
    np.testing.assert_array_equal(value, [jnp.inf, 0, x[2]])
    (gradient,) = pull(jnp.ones(3))
    np.testing.assert_allclose(gradient, [1, 0, jax.nn.sigmoid(x[2] / S)], rtol=1e-6)


# A product: what decorating each factor gets wrong


def logistic(x):
    return jax.nn.sigmoid(x / S)


def test_the_composite_has_the_gradient_of_the_product_of_the_soft_factors():
    product = lambda x, y: (sft.soft(x, S).relu() * sft.soft(y, S).relu()).st()
    x, y = jnp.array(-0.1), jnp.array(-0.1)
    value, gradient = jax.jit(jax.value_and_grad(product, (0, 1)))(x, y)
    softplus = S * jax.nn.softplus(x / S)
    assert value == 0
    np.testing.assert_allclose(gradient, [logistic(x) * softplus, logistic(y) * softplus], rtol=1e-6)
    assert min(gradient) > 0.1
    mixed = jax.jit(jax.hessian(product, (0, 1)))(x, y)[0][1]
    np.testing.assert_allclose(mixed, logistic(x) * logistic(y), rtol=1e-6)


def test_the_product_of_straight_through_factors_has_no_gradient():
    factor = sft.st(lambda x, mode="smooth": sft.relu(x, softness=S, mode=mode))
    gradient = jax.grad(lambda x, y: factor(x) * factor(y), (0, 1))(-0.1, -0.1)
    np.testing.assert_array_equal(gradient, [0, 0])


def test_what_follows_uses_hard_values_and_soft_derivatives():
    """`f(st)` has derivative `f'(hard) soft'` and second derivative `f''(hard) soft'^2 + f'(hard) soft''`."""
    x = jnp.array(0.8)
    cube = lambda x: sft.soft(x, S).relu().st() ** 3
    p = logistic(x)
    np.testing.assert_allclose(cube(x), x**3, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.grad(cube))(x), 3 * x**2 * p, rtol=1e-5)
    expected = 6 * x * p**2 + 3 * x**2 * p * (1 - p) / S
    np.testing.assert_allclose(jax.jit(jax.grad(jax.grad(cube)))(x), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(jax.grad(cube)))(x), expected, rtol=1e-5)


# Decorators


@sft.st
def squared(x, softness=S, *, mode="smooth"):
    """A hinge, squared."""
    return sft.relu(x, softness=softness, mode=mode) ** 2


X = jnp.array([-0.1, 0.4])


def test_st_runs_hard_and_differentiates_the_mode():
    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(squared)))(X)
    np.testing.assert_allclose(value, jax.nn.relu(X) ** 2, rtol=1e-6)
    np.testing.assert_allclose(gradient, 2 * S * jax.nn.softplus(X / S) * logistic(X), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda x: jax.jvp(squared, (x,), (x,)))(X)[1], gradient * X, rtol=1e-5)
    second = jax.jit(jax.grad(jax.grad(squared)))(X[0])
    expected = 2 * logistic(X[0]) ** 2 + 2 * jax.nn.softplus(X[0] / S) * logistic(X[0]) * (1 - logistic(X[0]))
    np.testing.assert_allclose(second, expected, rtol=1e-5)


def test_st_takes_the_mode_that_is_asked_for():
    compact = lambda x: 5 * S * (3 / 16 + x / 2 + x**2 * (6 - x**2) / 16)
    ramp, slope = compact(X[0] / (5 * S)), jax.grad(compact)(X[0] / (5 * S)) / (5 * S)
    by_keyword = jax.grad(lambda x: squared(x, mode="c1"))(X[0])
    np.testing.assert_allclose(by_keyword, 2 * ramp * slope, rtol=1e-5)
    by_default = jax.grad(sft.st(lambda x, mode="c1": sft.relu(x, softness=S, mode=mode) ** 2))(X[0])
    np.testing.assert_allclose(by_default, by_keyword, rtol=1e-6)
    np.testing.assert_array_equal(jax.grad(lambda x: squared(x, mode="hard"))(X[0]), 0)


def test_st_keeps_name_and_text():
    assert (squared.__name__, squared.__doc__) == ("squared", "A hinge, squared.")


@pytest.mark.parametrize(
    "call", [lambda fn: fn(X[0], "c1"), lambda fn: fn(X[0], mode="c1"), lambda fn: fn(X[0], "c1", S)]
)
def test_st_keeps_the_signature(call):
    def fn(x, mode="smooth", softness=S):
        return sft.relu(x, softness=softness, mode=mode)

    assert call(fn) > 0
    assert call(sft.st(fn)) == 0


@pytest.mark.parametrize("name", ["relu", "abs", "sign", "heaviside", "round", "max", "min"])
def test_st_of_a_function_of_the_library_is_the_method_of_the_type(name):
    decorated = lambda x: sft.st(getattr(sft, name))(x, softness=S)
    typed = lambda x: getattr(sft.soft(x, S), name)().st()
    x = jnp.array([-0.3, 0.4, 1.2])
    (value, jacobian), expected = (jax.jit(lambda x, fn=fn: (fn(x), jax.jacrev(fn)(x)))(x) for fn in (decorated, typed))
    np.testing.assert_array_equal(value, expected[0])
    np.testing.assert_allclose(jacobian, expected[1], rtol=1e-6, atol=1e-7)


def test_st_of_soft_results_replaces_the_soft_view():
    truth = sft.st(sft.greater)(X, 0.0, softness=S)
    np.testing.assert_array_equal(truth.probs, [0, 1])
    gradient = jax.grad(lambda x: sft.st(sft.greater)(x, 0.0, softness=S).probs.sum())(X)
    np.testing.assert_allclose(gradient, logistic(X) * (1 - logistic(X)) / S, rtol=1e-5)


def test_decorators_treat_trees_leaf_by_leaf():
    @sft.grad_replace
    def fn(x, forward):
        return {"float": jnp.sign(x) if forward else jnp.tanh(x), "int": jnp.arange(2) + int(forward), "none": None}

    out = fn(X)
    assert out["none"] is None
    np.testing.assert_array_equal(out["float"], [-1, 1])
    np.testing.assert_array_equal(out["int"], [1, 2])
    assert out["int"].dtype == jnp.arange(2).dtype
    gradient = jax.grad(lambda x: fn(x)["float"].sum())(X)
    np.testing.assert_allclose(gradient, 1 - jnp.tanh(X) ** 2, rtol=1e-5)


def test_a_hard_result_takes_shape_and_dtype_of_the_soft_one():
    fn = sft.grad_replace(lambda x, forward: jnp.array(True) if forward else x * 3)
    np.testing.assert_array_equal(fn(X), jnp.ones(2))
    np.testing.assert_array_equal(jax.grad(lambda x: fn(x).sum())(X), jnp.full(2, 3.0))


def test_grad_replace_differentiates_the_other_branch():
    step = sft.grad_replace(lambda x, *, forward: jnp.sign(x) if forward else jnp.tanh(x))
    slope = 1 - jnp.tanh(X) ** 2
    np.testing.assert_array_equal(jax.jit(step)(X), [-1, 1])
    np.testing.assert_allclose(jax.vmap(jax.grad(step))(X), slope, rtol=1e-5)
    np.testing.assert_allclose(jax.jvp(step, (X,), (X,))[1], slope * X, rtol=1e-5)
    second = jax.vmap(jax.grad(jax.grad(step)))(X)
    np.testing.assert_allclose(second, -2 * jnp.tanh(X) * slope, rtol=1e-5)


def no_keyword(x):
    return x


def positional_only(x, mode, forward, /):
    return x


@pytest.mark.parametrize(("decorator", "keyword"), [(sft.st, "mode"), (sft.grad_replace, "forward")])
@pytest.mark.parametrize("fn", [no_keyword, positional_only, jnp.sin, functools.partial(no_keyword)])
def test_a_function_without_the_keyword_is_refused(decorator, keyword, fn):
    name = getattr(fn, "__name__", repr(fn))
    expected = f"{decorator.__name__}: expected a function that takes the keyword '{keyword}'; {name} does not"
    with pytest.raises(TypeError) as error:
        decorator(fn)
    assert str(error.value) == expected


@pytest.mark.parametrize("decorator", [sft.st, sft.grad_replace])
def test_keywords_at_large_may_hold_the_one_needed(decorator):
    fn = lambda x, **options: x * (1.0 if options.get("mode") == "hard" or options.get("forward") else 2.0)
    value, gradient = jax.value_and_grad(decorator(fn))(3.0)
    assert (value, gradient) == (3.0, 2.0)


# lift


def test_lift_applies_to_both_views():
    number = sft.SoftArray(X, X + 1.0, sft.Relaxation(S, mode="c1"))
    truth = sft.SoftBool(jnp.array([0.25, 0.75]))
    index = sft.SoftIndex(jnp.array([0.25, 0.75]))
    for value, soft, hard in ((number, X, X + 1.0), (truth, truth.probs, [0, 1]), (index, index.probs, [0, 1])):
        lifted = sft.lift(jnp.exp)(value)
        assert type(lifted) is sft.SoftArray
        np.testing.assert_allclose(lifted.soft(), jnp.exp(soft), rtol=1e-6)
        np.testing.assert_allclose(lifted.hard(), jnp.exp(jnp.asarray(hard, float)), rtol=1e-6)
    assert sft.lift(jnp.exp)(number).relaxation == number.relaxation


def test_lift_finds_soft_values_in_trees_and_keywords():
    fn = lambda tree, *, scale: {"sum": tree["a"] + tree["b"], "scaled": (tree["a"] * scale,)}
    a, b = sft.SoftArray(X, X + 1.0), sft.soft(X, 0.3)
    out = sft.lift(fn)({"a": a, "b": X}, scale=b)
    np.testing.assert_array_equal(out["sum"].soft(), X + X)
    np.testing.assert_array_equal(out["sum"].hard(), X + 1.0 + X)
    np.testing.assert_array_equal(out["scaled"][0].hard(), (X + 1.0) * X)
    assert out["sum"].relaxation.softness == 0.3  # the softer of 0.1 and 0.3


def test_lift_without_a_soft_argument_is_the_function():
    assert sft.lift(lambda x, y: (x, y))(1, "text") == (1, "text")
    assert isinstance(sft.lift(jnp.sin)(X), jax.Array)


def test_lift_refuses_relaxations_that_differ():
    text = "two soft values of different mode cannot be combined: 'smooth' and 'c1'; bring one over with sft.soft"
    with pytest.raises(ValueError, match=text.replace("(", r"\(")):
        sft.lift(jnp.add)(sft.soft(X), sft.soft(X, mode="c1"))


def test_lift_is_transparent_to_transformations():
    fn = lambda x: sft.lift(jnp.tanh)(sft.soft(x, S).relu()).st()
    softplus = S * jax.nn.softplus(X / S)
    expected = (1 - jnp.tanh(softplus) ** 2) * logistic(X)
    np.testing.assert_allclose(jax.jit(fn)(X), jnp.tanh(jax.nn.relu(X)), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(fn)))(X), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.jvp(fn, (X,), (jnp.ones(2),))[1], expected, rtol=1e-5)
