"""Hard views are jax.numpy's, bit for bit, for every function and method; the soft view keeps the float dtype.

A table of (ours, theirs). All entries run in one compiled program per dtype, ours and theirs apart, on matrices with
ties, signed zeros, infinities and NaN.
"""

from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft

FLOATS = ("float16", "bfloat16", "float32", "float64")
DTYPES = (*FLOATS, "int32", "bool")
MARKS = {"float32": (), "float16": [pytest.mark.slow, pytest.mark.exhaustive]}
each_dtype = pytest.mark.parametrize(
    "dtype", [pytest.param(dtype, marks=MARKS.get(dtype, pytest.mark.slow)) for dtype in DTYPES]
)

SPECIAL = np.array(
    [[0.0, -0.0, 1.5, 1.5], [np.nan, 2.0, np.inf, -1.0], [-np.inf, np.inf, 3.0, -2.5], [-0.0, 0.0, -0.0, -7.0]]
)
PLAIN = np.array([[0.5, -0.5, 2.5, 2.5], [1.0, 1.0, 1.0, 1.0], [3.7, -1.2, 100.0, -2.5], [-0.0, 0.0, 0.25, -7.0]])
OTHER = np.array([[0.5, 0.0, 2.0, 1.5], [1.0, 2.0, np.inf, 4.0], [-3.0, np.inf, 0.75, -2.5], [0.0, 0.0, -1.0, 2.0]])
MASK = np.array([[1, 0, 1, 1], [1, 1, 0, 1], [0, 0, 0, 1], [1, 1, 1, 1]], bool)
ROWS, PICKS = np.array([[0, 3], [1, 1]], np.int32), np.array([[2], [0], [3], [1]], np.int32)
PERCENT = np.array([0.0, 12.5, 30.0, 50.0, 100.0])
REDUCTIONS = ((None, False), (None, True), (0, True), (-1, False), ((0, 1), True), ((1,), False), ((), False))


def named(name, ours, theirs=None):
    """An entry that spells ours and theirs the same way."""
    return name, ours, theirs or ours


def methods():
    """`x.method(...)`, the same on a SoftArray and a jax.Array."""
    for name in ("sum", "prod", "mean", "max", "min"):
        for how in REDUCTIONS:
            yield named(f"{name}{how}", lambda x, y, a=(name, *how): _reduce(x, *a))
    for name in ("sum", "prod", "max", "min"):
        yield (
            f"{name} initial",
            lambda x, y, n=name: getattr(x, n)(axis=1, initial=_one(x), where=MASK),
            lambda x, y, n=name: getattr(jnp, n)(x, 1, initial=_one(x), where=MASK),  # jax.Array.sum drops it
        )
    for name in ("sum", "prod", "mean", "var", "std"):
        yield named(f"{name} where", lambda x, y, n=name: getattr(x, n)(axis=1, where=MASK))
    for name in ("var", "std"):
        yield named(f"{name}", lambda x, y, n=name: getattr(x, n)(axis=1, ddof=1, keepdims=True))
    for name in ("argmax", "argmin"):
        for how in REDUCTIONS[:4]:
            yield named(f"{name}{how}", lambda x, y, a=(name, *how): _reduce(x, *a))
    for name in ("cumsum", "cumprod"):
        for axis in (None, 0, -1):
            yield named(f"{name}{axis}", lambda x, y, n=name, a=axis: getattr(x, n)(axis=a))
    for decimals in (0, 1, -1):
        yield named(f"round{decimals}", lambda x, y, d=decimals: x.round(d))
    yield named("clip", lambda x, y: x.clip(-1, 2))
    yield named("clip max", lambda x, y: x.clip(max=2))
    yield named("clip between", lambda x, y: x.clip(min=y))
    yield named("dot", lambda x, y: x.dot(y))
    yield named("reshape", lambda x, y: x.reshape(2, -1))
    yield named("reshape tuple", lambda x, y: x.reshape((8, 2)))
    yield named("ravel", lambda x, y: x.ravel())
    yield named("flatten", lambda x, y: x.flatten())
    yield named("squeeze", lambda x, y: x[None, :, None].squeeze(0))
    yield named("T", lambda x, y: x.T)
    yield named("transpose", lambda x, y: x[None].transpose(1, 2, 0))
    yield named("swapaxes", lambda x, y: x.swapaxes(0, 1))
    yield named("repeat", lambda x, y: x.repeat(2, 1))
    for dtype in ("float32", "int32", "bfloat16"):
        yield named(f"astype {dtype}", lambda x, y, d=dtype: x.astype(d))
    for update in ("set", "add", "subtract", "multiply", "divide", "power"):
        yield named(f"at {update}", lambda x, y, n=update: getattr(x.at[1:3, ::2], n)(y[1:3, ::2]))
    yield named("at get", lambda x, y: x.at[0].get())
    for i, key in enumerate((1, -1, (0, -2), slice(1, 3), (..., None, 0), (None, 2), ROWS, MASK[:, 0], (ROWS, ROWS.T))):
        yield named(f"getitem {i}", lambda x, y, key=key: x[key])


def _reduce(x, name, axis, keepdims):
    return getattr(x, name)(axis=axis, keepdims=keepdims)


def _one(x):
    return x.dtype == "bool" or 1


def operators():
    """Operators, with every kind of other operand on either side."""
    binary = {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a / b,
        "**": lambda a, b: a**b,
        "@": lambda a, b: a @ b,
        "<": lambda a, b: a < b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        ">=": lambda a, b: a >= b,
        "==": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
    }
    for symbol, op in binary.items():
        yield named(f"x{symbol}y", lambda x, y, op=op: op(x, y))
        yield f"x{symbol}raw", lambda x, y, op=op: op(x, y.hard()), lambda x, y, op=op: op(x, y)
        yield f"raw{symbol}y", lambda x, y, op=op: op(x.hard(), y), lambda x, y, op=op: op(x, y)
        if symbol != "@":
            yield named(f"x{symbol}2", lambda x, y, op=op: op(x, 2))
            yield named(f"2{symbol}y", lambda x, y, op=op: op(2, y))
            yield named(f"x{symbol}0.5", lambda x, y, op=op: op(x, 0.5))
            yield named(f"0.5{symbol}x", lambda x, y, op=op: op(0.5, x))
    yield named("-x", lambda x, y: -x)
    yield named("+x", lambda x, y: +x)
    yield named("abs(x)", lambda x, y: abs(x))


def functions():
    """`sft.f(...)` on soft arguments against jax's f on their hard views."""
    unary = {
        "abs": jnp.abs,
        "sign": jnp.sign,
        "heaviside": lambda x: jnp.heaviside(x, 0.5),
        "sigmoidal": lambda x: jnp.heaviside(x, 0.5),
        "relu": jax.nn.relu,
        "softrelu": jax.nn.relu,
        "round": jnp.round,
    }
    for name, theirs in unary.items():
        yield f"sft.{name}", lambda x, y, n=name: getattr(sft, n)(x), lambda x, y, f=theirs: f(x)
    for name in ("sign", "relu", "abs"):
        yield f".{name}()", lambda x, y, n=name: getattr(x, n)(), lambda x, y, f=unary[name]: f(x)
    for name in (
        "maximum",
        "minimum",
        "greater",
        "greater_equal",
        "less",
        "less_equal",
        "equal",
        "not_equal",
        "isclose",
    ):
        theirs = getattr(jnp, name)
        yield f"sft.{name}", lambda x, y, n=name: getattr(sft, n)(x, y), lambda x, y, f=theirs: f(x, y)
    yield "isclose nan", lambda x, y: sft.isclose(x, x, equal_nan=True), lambda x, y: jnp.isclose(x, x, equal_nan=True)
    yield "isclose wide", lambda x, y: sft.isclose(x, y, 0.1, 0.5), lambda x, y: jnp.isclose(x, y, 0.1, 0.5)
    yield "sft.clip", lambda x, y: sft.clip(x, y, 2), lambda x, y: jnp.clip(x, y, 2)
    for name in ("max", "min", "argmax", "argmin"):
        yield f"sft.{name}", lambda x, y, n=name: getattr(sft, n)(x, 1), lambda x, y, n=name: getattr(jnp, n)(x, 1)
    for name, start in (("max", -np.inf), ("min", np.inf)):
        yield (
            f"sft.{name} where",
            lambda x, y, n=name: getattr(sft, n)(x, 1, where=MASK),
            lambda x, y, n=name, s=start: getattr(jnp, n)(x, 1, initial=_limit(x.dtype, s), where=MASK),
        )
    yield "sft.where", lambda x, y: sft.where(x > y, x, y), lambda x, y: jnp.where(x > y, x, y)
    yield "where raw", lambda x, y: sft.where(MASK, x, y), lambda x, y: jnp.where(MASK, x, y)
    yield "x.where", lambda x, y: x.where(MASK, y), lambda x, y: jnp.where(MASK, x, y)
    for axis in (0, -1, None):
        yield f"take{axis}", lambda x, y, a=axis: sft.take(x, ROWS, a), lambda x, y, a=axis: jnp.take(x, ROWS, a)
        yield (
            f"take soft{axis}",
            lambda x, y, a=axis: sft.take(x, sft.SoftIndex.from_hard(ROWS, 16 if a is None else 4), a),
            lambda x, y, a=axis: jnp.take(x, ROWS, a),
        )
    yield (
        "take_along_axis",
        lambda x, y: sft.take_along_axis(x, sft.argmax(y, axis=1, keepdims=True), 1),
        lambda x, y: jnp.take_along_axis(x, jnp.argmax(y, axis=1, keepdims=True), 1),
    )
    yield (
        "choose",
        lambda x, y: sft.choose(sft.SoftIndex.from_hard(PICKS, 4), x),
        lambda x, y: jnp.choose(PICKS, x, mode="clip"),
    )
    for name, rest in (("dynamic_index_in_dim", ()), ("dynamic_slice_in_dim", (3,))):
        yield (
            name,
            lambda x, y, n=name, r=rest: getattr(sft, n)(x, sft.argmax(y[0]), *r, axis=-1),
            lambda x, y, n=name, r=rest: getattr(jax.lax, n)(x, jnp.argmax(y[0]), *r, axis=-1),
        )
    yield (
        "dynamic_slice",
        lambda x, y: sft.dynamic_slice(x, [sft.argmax(y[0]), 3], (2, 2)),
        lambda x, y: jax.lax.dynamic_slice(x, (jnp.argmax(y[0]), 3), (2, 2)),
    )
    yield "x[index]", lambda x, y: x[:, y.argmax(1)], lambda x, y: x[:, y.argmax(1)]
    yield "x[1, index]", lambda x, y: x[1, y.argmax(1)[None]], lambda x, y: x[1, y.argmax(1)[None]]
    yield "lift", lambda x, y: sft.lift(jnp.tanh)(x), lambda x, y: jnp.tanh(x)


def ordering():
    """Order statistics, on the last axis, another, or the flattened array."""
    for axis in (-1, 0, None):
        for name in ("sort", "argsort"):
            for descending in (False, True):
                yield (
                    f"sft.{name}{axis, descending}",
                    lambda x, y, n=name, a=axis, d=descending: getattr(sft, n)(x, a, descending=d),
                    lambda x, y, n=name, a=axis, d=descending: getattr(jnp, n)(x, axis=a, descending=d),
                )
        yield (
            f"sft.rank{axis}",
            lambda x, y, a=axis: sft.rank(x, a),
            lambda x, y, a=axis: as_given(jax.scipy.stats.rankdata(x, axis=a), x),
        )
    for part in (0, 1):
        yield f"sft.top_k[{part}]", lambda x, y, i=part: sft.top_k(x, 2)[i], lambda x, y, i=part: jax.lax.top_k(x, 2)[i]
    for how in REDUCTIONS:
        yield (
            f"sft.median{how}",
            lambda x, y, h=how: sft.median(x, *h),
            lambda x, y, h=how: jnp.median(x, h[0], keepdims=h[1]),
        )
    for method in ("linear", "lower", "higher", "nearest", "midpoint"):
        yield (
            f"sft.quantile {method}",
            lambda x, y, m=method: sft.quantile(x, 0.3, 1, m),
            lambda x, y, m=method: jnp.quantile(x, 0.3, 1, method=m),
        )
        yield (
            f"sft.percentile {method}",
            lambda x, y, m=method: sft.percentile(x, percent(x), 0, m, keepdims=True),
            lambda x, y, m=method: jnp.percentile(x, percent(x), 0, method=m, keepdims=True),
        )


def percent(x):
    """jnp takes float32 beside narrower data."""
    return jnp.asarray(PERCENT, "float64" if x.dtype == "float64" else "float32")


def as_given(ranks, x):
    """Ranks are floats of the width of the data, as all results here; jax's are float32 at least."""
    return ranks.astype(x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else "float32")


def _limit(dtype, end):
    if jnp.issubdtype(dtype, jnp.bool_):
        return end > 0
    if jnp.issubdtype(dtype, jnp.integer):
        info = jnp.iinfo(dtype)
        return info.max if end > 0 else info.min
    return end


def logic():
    """SoftBool against bool arrays."""
    binary = {"&": lambda a, b: a & b, "|": lambda a, b: a | b, "^": lambda a, b: a ^ b}
    binary |= {"==": lambda a, b: a == b, "!=": lambda a, b: a != b}
    for symbol, op in binary.items():
        yield named(f"p{symbol}q", lambda x, y, op=op: op(x > 0, y > 1))
    yield named("~p", lambda x, y: ~(x > 0))
    for name in ("all", "any", "sum", "mean"):
        for how in REDUCTIONS:
            yield named(f"p.{name}{how}", lambda x, y, a=(name, *how): _reduce(x > 0, *a))
        yield named(f"p.{name} where", lambda x, y, n=name: getattr(x > 0, n)(axis=0, where=MASK))
    for name in ("and", "or", "xor"):
        f = f"logical_{name}"
        yield f, lambda x, y, f=f: getattr(sft, f)(x > 0, y > 1), lambda x, y, f=f: getattr(jnp, f)(x > 0, y > 1)
    yield "logical_not", lambda x, y: sft.logical_not(x > 0), lambda x, y: jnp.logical_not(x > 0)
    yield "implies", lambda x, y: sft.implies(x > 0, y > 1), lambda x, y: (x > 0) <= (y > 1)
    for name in ("all", "any"):
        yield (
            f"sft.{name}",
            lambda x, y, n=name: getattr(sft, n)(x > 0, -1),
            lambda x, y, n=name: getattr(jnp, n)(x > 0, -1),
        )
    yield "p.where", lambda x, y: (x > 0).where(y, 2), lambda x, y: jnp.where(x > 0, y, 2)
    yield named("p[...]", lambda x, y: (x > 0)[1:, None])
    yield named("p.at", lambda x, y: (x > 0).at[0].set(True))
    yield "p[index]", lambda x, y: (x > 0)[y.argmax(0)], lambda x, y: (x > 0)[y.argmax(0)]


def indices():
    """SoftIndex against integer arrays."""
    for symbol, op in (
        ("==", lambda a, b: a == b),
        ("!=", lambda a, b: a != b),
        ("<", lambda a, b: a < b),
        ("<=", lambda a, b: a <= b),
        (">", lambda a, b: a > b),
        (">=", lambda a, b: a >= b),
    ):
        yield named(f"i{symbol}j", lambda x, y, op=op: op(x.argmax(0), y.argmax(0)))
        yield named(f"i{symbol}2", lambda x, y, op=op: op(x.argmax(0), 2))
    yield "expected", lambda x, y: x.argmax(0).expected(), lambda x, y: x.argmax(0)
    yield named("i.reshape", lambda x, y: x.argmax(0).reshape(2, 2))
    yield named("i[...]", lambda x, y: x.argmax(0)[::-2])
    yield named("i.at", lambda x, y: x.argmax(0).at[1].set(3))
    yield (
        "where i",
        lambda x, y: (x[0] > 0).where(x.argmax(0), y.argmax(0)),
        lambda x, y: jnp.where(x[0] > 0, x.argmax(0), y.argmax(0)),
    )


TABLE = [*methods(), *operators(), *functions(), *ordering(), *logic(), *indices()]
# `+` of two bool arrays is logic in jnp and refused here; of arithmetic, these give Booleans:
REFUSED_OF_BOOLS = {
    "x+y",
    "x+raw",
    "raw+y",
    "x*y",
    "x*raw",
    "raw*y",
    "x@y",
    "x@raw",
    "raw@y",
    "dot",
    "at add",
    "at multiply",
}


def matrices(dtype):
    kinds = (SPECIAL, OTHER), (PLAIN, OTHER)
    if dtype == "int32":
        kinds = ((np.round(PLAIN), np.nan_to_num(OTHER, posinf=5)),)
    elif dtype == "bool":
        kinds = ((PLAIN > 0.6, OTHER > 0.6),)
    return [tuple(jnp.asarray(m, dtype) for m in pair) for pair in kinds]


NAMES = [name for name, *_ in TABLE]


def accepted(f, *args):
    try:
        jax.eval_shape(f, *args)
    except (TypeError, ValueError, NotImplementedError):
        return False
    return True


@contextmanager
def universe(dtype):
    """Strict promotion, as everywhere in the tests, but for exact numbers, which would hardly meet anything there."""
    promotion = "strict" if dtype in FLOATS else "standard"
    with jax.enable_x64(dtype == "float64"), jax.numpy_dtype_promotion(promotion):
        yield


def results(dtype):
    """For each entry that jax accepts: our hard view and jax's result on each input, and the dtype of our soft view.

    One program holds both sides, so that XLA cannot round two spellings of one computation in two ways.
    """
    with universe(dtype):
        inputs, soft_dtypes = matrices(dtype), {}
        table = [entry for entry in TABLE if accepted(entry[2], *inputs[0])]
        if dtype == "bool":
            table = [entry for entry in table if entry[0] not in REFUSED_OF_BOOLS]

        @jax.jit
        def program(x, y):
            out = {}
            for name, ours, theirs in table:
                value = ours(sft.soft(x), sft.soft(y))
                soft_dtypes[name] = value.soft().dtype
                out[name] = value.hard(), theirs(x, y)
            return out

        return [jax.tree.map(np.asarray, program(*pair)) for pair in inputs], soft_dtypes


def same_bits(a, b, name=""):
    """One dtype, one shape, the same values: -0.0 is not 0.0, and NaN is NaN."""
    assert (a.dtype, a.shape) == (b.dtype, b.shape), name
    if a.dtype.kind not in "biu":
        a, b = (x.astype(np.float64) for x in (a, b))
        np.testing.assert_array_equal(np.signbit(a) & ~np.isnan(a), np.signbit(b) & ~np.isnan(b), name)
    np.testing.assert_array_equal(a, b, name)


@each_dtype
def test_hard_views_are_jaxs(dtype):
    cases, soft_dtypes = results(dtype)
    for name, soft_dtype in soft_dtypes.items():
        for case in cases:
            same_bits(*case[name], name)
        if not name.startswith("astype"):
            assert soft_dtype == (dtype if dtype in FLOATS else "float32"), name
    assert len(soft_dtypes) > {"int32": 0.99, "bool": 0.8}.get(dtype, 0.999) * len(NAMES), "jax takes most of the table"


def test_names_are_unique():
    assert len(set(NAMES)) == len(NAMES)


# Straight-through


@pytest.mark.parametrize("dtype", FLOATS)
def test_straight_through_is_the_hard_view_in_the_soft_dtype(dtype):
    with jax.enable_x64(dtype == "float64"):
        hard = jnp.asarray(SPECIAL, dtype)
        x = sft.SoftArray(jnp.full_like(hard, 0.3), hard)
        for st in (x.st(), jax.jit(lambda x: x.st())(x)):
            same_bits(np.asarray(st), np.asarray(hard))
        bits = sft.SoftBool(jnp.full_like(hard, 0.3), hard > 0)
        same_bits(np.asarray(bits.st()), np.asarray((hard > 0).astype(dtype)))
        index = sft.SoftIndex(jnp.full_like(hard, 0.25), jnp.array([3, 0, 1, 3]))
        same_bits(np.asarray(index.st()), np.eye(4)[[3, 0, 1, 3]].astype(jnp.dtype(dtype)))


def test_straight_through_of_exact_integers_is_floating():
    x = sft.soft(jnp.array([1, -2]))
    assert x.hard().dtype == jnp.int32
    same_bits(np.asarray((x * 3).st()), np.array([3, -6], np.float32))


# Empty and 0-d arrays: shapes, dtypes and refusals


def outcome(f, *args):
    """The shape and dtype of a result, or that there is none."""
    try:
        out = jax.eval_shape(f, *args)
    except (TypeError, ValueError, IndexError, NotImplementedError):
        return "refused"
    return out.shape, out.dtype


# jnp.median(0-d, keepdims=True) has shape (1,), numpy's and ours ()
STRUCTURAL = (
    "sft.median(None, True)",
    "sft.median(0, True)",
    "sft.top_k",
    "@",
    "dot",
    "reshape",
    "at ",
    "getitem",
    "take",
    "choose",
    "dynamic",
    "x[",
    "p[",
    "i",
    "where i",
    "p.at",
)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("shape", [(0, 4), (4, 0), ()])
def test_empty_and_0d_arrays_have_jaxs_shapes_and_dtypes(shape, dtype):
    compared = 0
    with universe(dtype):
        x = y = jnp.zeros(shape, dtype)
        for name, ours, theirs in TABLE:
            if "where" in name or name.startswith(STRUCTURAL):
                continue
            expected = outcome(theirs, x, y)
            assert outcome(lambda x, y, f=ours: f(sft.soft(x), sft.soft(y)).hard(), x, y) == expected, name
            compared += expected != "refused"
    assert compared > 80


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_values_of_empty_arrays(shape):
    x = sft.soft(jnp.zeros(shape))
    for value, exact in (
        (x.sum(0), np.zeros(shape).sum(0)),
        (x.prod(), 1.0),
        (x.relu() + 1, np.zeros(shape)),
        ((x > 0).all(), True),
        ((x > 0).any(), False),
        ((x > 0).sum(), 0),
        (x.round(), np.zeros(shape)),
    ):
        np.testing.assert_array_equal(value.hard(), exact)
        np.testing.assert_array_equal(value.soft(), exact)


def test_extremes_along_another_axis_than_the_empty_one():
    x = sft.soft(jnp.zeros((0, 3)))
    for value in (x.max(1), x.argmax(1), x.min(-1), x.argmin(-1)):
        assert value.shape == (0,)
    assert x.argmax(1).probs.shape == (0, 3)


def test_values_of_0d_arrays():
    x = sft.soft(jnp.float32(-1.5))
    for value, exact in (
        (x.max(), -1.5),
        (x.min(), -1.5),
        (x.argmax(), 0),
        (x.sum(), -1.5),
        (x.abs(), 1.5),
        ((x > 0).all(), False),
        (x[...], -1.5),
        (x[None], [-1.5]),
    ):
        np.testing.assert_array_equal(value.hard(), exact)
    np.testing.assert_array_equal(x.argmax().probs, [1.0])
    assert x.max().soft() == -1.5


# Functions that are jax's inside their domain


@pytest.mark.parametrize("dtype", FLOATS)
def test_safe_functions_are_jaxs_inside_their_domain(dtype):
    with jax.enable_x64(dtype == "float64"):
        positive = jnp.array([1e-3, 0.5, 1.0, 7.0, 1e4, np.inf, np.nan], dtype)
        unit = jnp.array([-0.999, -0.5, 0.0, -0.0, 0.25, 0.999, np.nan], dtype)
        for name, x, exact in (
            ("sqrt", positive, jnp.sqrt),
            ("log", positive, jnp.log),
            ("arcsin", unit, jnp.arcsin),
            ("arccos", unit, jnp.arccos),
        ):
            f = getattr(sft, name)
            for view in (f(x), f(sft.soft(x)).hard(), f(sft.soft(x)).soft()):
                same_bits(np.asarray(view), np.asarray(exact(x)))
        quotient = sft.div(sft.soft(unit), positive)
        same_bits(np.asarray(quotient.hard()), np.asarray(unit / positive))


@pytest.mark.parametrize("dtype", FLOATS)
def test_norm_is_exact_at_every_scale(dtype):
    with jax.enable_x64(dtype == "float64"):
        info = jnp.finfo(dtype)
        for scale in (1.0, float(info.max) / 8, float(info.max) / 5.5, float(info.tiny) * 4):
            x = jnp.asarray(np.array([[3.0, -4.0], [0.0, 0.0]]) * scale, dtype)
            norm, pull = jax.vjp(lambda x: sft.norm(x, axis=1), x)
            np.testing.assert_allclose(np.asarray(norm, float), [5 * scale, 0], rtol=4 * float(info.eps))
            gradient = np.asarray(pull(jnp.ones_like(norm))[0], float)
            np.testing.assert_allclose(gradient, [[0.6, -0.8], [0, 0]], rtol=4 * float(info.eps))
