"""Laws of the ordering operators: derivatives, bad entries, scale, sizes, dtypes, masks, axes and transformations.

One program per algorithm and mode evaluates all operators on one batch of rows, forwards, backwards and twice
differentiated; the laws look at its rows.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import softtypes as sft
from softtypes.surrogates.algorithms import ALGORITHMS

Q = np.array([0.3, 0.9])
LAST = {"axis": -1}


def column(x):
    return x[..., None]


# Every operator on rows `(rows, n)`, as `(rows, k)` or, of an index, `(rows, k, n)`
VALUES = {
    "sort": lambda x, **knobs: sft.sort(x, **knobs),
    "rank": lambda x, **knobs: sft.rank(x, **LAST, **knobs),
    "max": lambda x, **knobs: column(sft.max(x, **LAST, **knobs)),
    "min": lambda x, **knobs: column(sft.min(x, **LAST, **knobs)),
    "median": lambda x, **knobs: column(sft.median(x, **LAST, **knobs)),
    "quantile": lambda x, **knobs: jnp.moveaxis(sft.quantile(x, Q, **LAST, **knobs), 0, -1),
    "top_k": lambda x, **knobs: sft.top_k(x, 2, **knobs)[0],
}
WEIGHTS = {
    "argsort": lambda x, **knobs: sft.argsort(x, **knobs).probs,
    "argmax": lambda x, **knobs: sft.argmax(x, **LAST, **knobs).probs[:, None],
    "argmin": lambda x, **knobs: sft.argmin(x, **LAST, **knobs).probs[:, None],
    "argmedian": lambda x, **knobs: sft.argmedian(x, **LAST, **knobs).probs[:, None],
    "argquantile": lambda x, **knobs: jnp.moveaxis(sft.argquantile(x, Q, **LAST, **knobs).probs, 0, -2),
    "top_k index": lambda x, **knobs: sft.top_k(x, 2, **knobs)[1].probs,
}
OPERATORS = VALUES | WEIGHTS
IN_UNITS_OF_X = VALUES.keys() - {"rank"}
FEW = ("sort", "rank", "max", "median", "argmax")


def names_of(algorithm, names=tuple(OPERATORS)):
    return [name for name in names if name in VALUES or ALGORITHMS[algorithm].has_weights]


def outcomes(names, x, **knobs):
    return {name: OPERATORS[name](x, **knobs) for name in names}


# The rows: what is in them, which entries count, and the softness

SPREAD = np.array([0.31, -1.24, 2.53, 0.45, -0.42])
ALL = np.ones(5, bool)
BUT_ONE, BUT_TWO = ALL.copy(), ALL.copy()
BUT_ONE[1] = BUT_TWO[[1, 3]] = False
SCALES = (1e-30, 1e-20, 1e-10, 1e10, 1e20, 1e30)
HIDDEN = (1e30, np.inf, -np.inf, np.nan)
LEVELS = (0.0, 3.0, 1e30, -1e-30)


def with_entries(*pairs):
    row = SPREAD.copy()
    for place, value in pairs:
        row[place] = value
    return row


ROWS = {
    "plain": (SPREAD, ALL, 0.1),
    "soft": (np.array([0.7, 0.13, -0.85, 1.64, 0.22]), ALL, 1.0),
    "close": (np.array([2.0313, 1.9937, 2.0781, 1.9742, 2.1231]), ALL, 0.23),
    "without one": (with_entries((1, 0.0)), BUT_ONE, 0.1),
    "without two": (SPREAD, BUT_TWO, 0.1),
    "inf": (with_entries((1, np.inf)), ALL, 0.1),
    "-inf": (with_entries((1, -np.inf)), ALL, 0.1),
    "both": (with_entries((1, np.inf), (3, -np.inf)), ALL, 0.1),
    "nan": (with_entries((1, np.nan)), ALL, 0.1),
    "nothing": (SPREAD, ~ALL, 0.1),
    "hard": (SPREAD, ALL, 1e-30),
    "flat": (SPREAD, ALL, 1e30),
}
ROWS |= {f"hides {value}": (with_entries((1, value)), BUT_ONE, 0.1) for value in HIDDEN}
ROWS |= {f"scale {scale}": (SPREAD * scale, ALL, 0.1) for scale in SCALES}
ROWS |= {f"level {level}": (np.full(5, level), ALL, 0.1) for level in LEVELS}
X, WHERE, SOFTNESS = (np.stack(a) for a in zip(*ROWS.values(), strict=True))


# The program

# of all operators, in double precision: compiled once, what XLA would gain by optimising it would not earn back
QUICK = {"xla_backend_optimization_level": 0}


def cotangents(value):
    shape = (1, *value.shape[1:])
    return np.cos(1.0 + np.arange(math.prod(shape))).reshape(shape).astype(value.dtype)


@functools.cache
def program(algorithm, mode, names, curved):
    """Of rows `(rows, 5)`: values, their derivatives by each entry `(5, ...)`, and backwards those of a mixture of all.

    With `curved` also the gradient and the Hessian of a mixture of sort, rank and max.
    """

    def of(names, where, softness):
        return lambda x: outcomes(names, x, where=where, algorithm=algorithm, mode=mode, softness=softness[:, None])

    @functools.partial(jax.jit, compiler_options=QUICK if names == tuple(names_of(algorithm)) else None)
    def run(x, where, softness):
        each = jnp.broadcast_to(jnp.eye(5, dtype=x.dtype)[:, None], (5, *x.shape))
        values, push = jax.linearize(of(names, where, softness), x)
        mixed = {name: jnp.broadcast_to(cotangents(value), value.shape) for name, value in values.items()}
        out = {"values": values, "forwards": jax.vmap(push)(each), "backwards": jax.linear_transpose(push, x)(mixed)[0]}
        if curved:

            def mixture(x):
                some = of(("sort", "rank", "max"), where, softness)(x).values()
                return sum((value * cotangents(value)).sum() for value in some)

            twice = jax.vmap(lambda along: jax.jvp(jax.grad(mixture), (x,), (along,)), out_axes=(None, 0))
            out["slope"], out["hessian"] = twice(each)
        return out

    return run


def observe(algorithm, mode, dtype=np.float64, x=X):
    """What the program says of the rows; in float32 only of some operators."""
    wide = dtype == np.float64
    names = tuple(names_of(algorithm, OPERATORS if wide else FEW))
    with jax.enable_x64(wide), np.errstate(over="ignore"):
        run = program(algorithm, mode, names, wide and (algorithm, mode) in PAIRS)
        out = run(x.astype(dtype), WHERE, SOFTNESS.astype(dtype))
        return jax.tree.map(np.asarray, out)


seen = functools.cache(observe)


class Row:
    """One row of what was seen, by its name."""

    def __init__(self, algorithm, mode, dtype, name):
        place = list(ROWS).index(name)
        everything = seen(algorithm, mode, dtype)
        self.values = {key: value[place] for key, value in everything["values"].items()}
        self.slopes = {key: np.moveaxis(value[:, place], 0, -1) for key, value in everything["forwards"].items()}
        self.backwards = everything["backwards"][place]


EVERY_DAY = [("neuralsort", "smooth")]
# the laws hold in one mode of each algorithm, in a second one of two; another differs in the projection only
LOOKED_AT = {"softsort": "smooth", "neuralsort": "smooth", "ot": "smooth", "sorting_network": "c2"}
LOOKED_AT |= {"fast_soft_sort": "c0", "smooth_sort": "smooth"}
BESIDE = [("softsort", "c1"), ("neuralsort", "c2")]
ITERATED = [("ot", "c1")]  # whose derivatives a sum that cancels has let run away
PAIRS = [*LOOKED_AT.items(), *BESIDE]
EVERY = [(name, mode) for name, algorithm in ALGORITHMS.items() for mode in algorithm.modes]
# single precision: every algorithm once
SINGLE = [("softsort", "c0"), ("neuralsort", "c1"), ("sorting_network", "c2"), ("fast_soft_sort", "smooth")]
SINGLE += [("ot", "smooth"), ("smooth_sort", "smooth")]
SINGLE_EVERY_DAY = SINGLE[:1]
FOR_A_RELEASE = ("sorting_network", "smooth_sort")  # in what compiles programs of its own


def marked(pair, everyday):
    marks = [] if pair in everyday else [pytest.mark.slow]
    if pair[:2] in BESIDE and np.float32 not in pair:
        marks.append(pytest.mark.exhaustive)
    return pytest.param(*pair, marks=marks, id=" ".join(getattr(a, "__name__", a) for a in pair))


def beside(pair):
    return pytest.param(*pair, marks=[pytest.mark.slow, pytest.mark.exhaustive], id=" ".join(pair))


each_pair = pytest.mark.parametrize(("algorithm", "mode"), [marked(pair, EVERY_DAY) for pair in PAIRS])
each_single = pytest.mark.parametrize(
    ("algorithm", "mode"),
    [marked(pair, SINGLE_EVERY_DAY) if pair[0] not in FOR_A_RELEASE else beside(pair) for pair in SINGLE],
)
each_case = pytest.mark.parametrize(
    ("algorithm", "mode", "dtype"),
    [marked((*pair, np.float64), [(*day, np.float64) for day in EVERY_DAY]) for pair in PAIRS]
    + [marked((*pair, np.float32), [(*day, np.float32) for day in SINGLE_EVERY_DAY]) for pair in SINGLE],
)


def rounding(dtype, algorithm):
    """Of a row's values: a few dozen roundings, divided by a softness of 0.1; transport stops at 1e-6 of the mass."""
    return {np.float32: 3e-5 if algorithm == "ot" else 1e-5, np.float64: 1e-9}[dtype]


# Derivatives

STEP = 1e-4
PLACES = [list(ROWS).index(name) for name in ("plain", "soft", "close", "without one", "without two")]


def differences(algorithm, mode, key):
    """Fourth-order central differences of what is seen of finite rows, `(5, rows, ...)`."""

    def at(i, steps):
        everything = observe(algorithm, mode, x=X + steps * STEP * np.eye(5)[i])[key]
        return jax.tree.map(lambda a: a[PLACES], everything)

    combine = lambda a, b, c, d: (8 * (a - b) - (c - d)) / (12 * STEP)
    columns = [jax.tree.map(combine, *(at(i, steps) for steps in (1, -1, 2, -2))) for i in range(5)]
    return jax.tree.map(lambda *a: np.stack(a), *columns)


@pytest.mark.parametrize(
    ("algorithm", "mode"), [marked(pair, EVERY_DAY) if pair in PAIRS + ITERATED else beside(pair) for pair in EVERY]
)
def test_derivatives_are_those_of_finite_differences(algorithm, mode):
    """Forwards of every operator, backwards of a mixture of all, and the Hessian of a mixture of some.

    The values are known to 1e-15, those of transport to 1e-12, which the step divides by 1e-4.
    """
    tolerance = 1e-7 if algorithm == "ot" else 1e-8
    found = seen(algorithm, mode)
    mixture = 0
    for name, expected in differences(algorithm, mode, "values").items():
        slopes = found["forwards"][name][:, PLACES]
        steep = max(np.abs(slopes).max(), 1)
        np.testing.assert_allclose(slopes, expected, rtol=0, atol=tolerance * steep, err_msg=name)
        mixture = mixture + (slopes * cotangents(slopes[0])).sum(tuple(range(2, slopes.ndim))).T
    np.testing.assert_allclose(found["backwards"][PLACES], mixture, rtol=1e-9, atol=1e-9)
    if "hessian" not in found:
        return
    expected = differences(algorithm, mode, "slope")
    hessian = found["hessian"][:, PLACES]
    bent = max(np.abs(hessian).max(), 1)
    np.testing.assert_allclose(hessian, expected, rtol=0, atol=10 * tolerance * bent, err_msg="Hessian")
    np.testing.assert_allclose(hessian, hessian.transpose(2, 1, 0), rtol=0, atol=1e-9 * bent)


@each_pair
@pytest.mark.parametrize("name", ROWS)
def test_hessians_are_finite(algorithm, mode, name):
    """Of every row, be the data or the softness as large or small as they may, or the entries bad, tied or masked."""
    assert np.isfinite(seen(algorithm, mode)["hessian"][:, list(ROWS).index(name)]).all()


# Bad entries


def check_others(row, others, gone, place, shift, tolerance):
    """A row whose entry `gone` is sorted to `place` is for the rest the row without it, whose ranks are lower."""
    kept, sorted_to = np.delete(np.arange(5), gone), np.delete(np.arange(5), place)
    for name, (there, here) in {"sort": (sorted_to, np.arange(4)), "rank": (kept, kept)}.items():
        expected = others.values[name][here] + (shift if name == "rank" else 0)
        np.testing.assert_allclose(row.values[name][there], expected, rtol=tolerance, atol=tolerance)
        slopes, expected = row.slopes[name][there][:, kept], others.slopes[name][here][:, kept]
        np.testing.assert_allclose(slopes, expected, rtol=tolerance, atol=10 * tolerance)


@each_case
@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_one_infinity_stays_local(algorithm, mode, dtype, bad):
    row, others = (Row(algorithm, mode, dtype, name) for name in (str(bad), "without one"))
    place = 4 if bad > 0 else 0
    assert row.values["sort"][place] == bad
    assert row.values["rank"][1] == place + 1
    near, far = ("max", "min") if bad > 0 else ("min", "max")
    for name, expected in ((near, bad), (far, others.values.get(far))):
        if name in row.values:
            np.testing.assert_allclose(row.values[name], expected, rtol=rounding(dtype, algorithm))
    if f"arg{near}" in row.values:
        np.testing.assert_array_equal(row.values[f"arg{near}"], np.eye(5)[[1]])
    check_others(row, others, 1, place, float(bad < 0), rounding(dtype, algorithm))
    assert np.isfinite(row.backwards).all()
    for name, slopes in row.slopes.items():
        assert np.isfinite(slopes).all(), name


@each_case
def test_two_infinities_stay_local(algorithm, mode, dtype):
    row, others = (Row(algorithm, mode, dtype, name) for name in ("both", "without two"))
    np.testing.assert_array_equal(row.values["sort"][[0, 4]], [-np.inf, np.inf])
    np.testing.assert_array_equal(row.values["rank"][[1, 3]], [5, 1])
    tolerance = rounding(dtype, algorithm)
    np.testing.assert_allclose(row.values["sort"][1:4], others.values["sort"][:3], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(row.values["rank"][[0, 2, 4]], others.values["rank"][[0, 2, 4]] + 1, rtol=tolerance)
    np.testing.assert_allclose(row.values["median"], others.values["median"], rtol=tolerance)
    assert np.isfinite(row.backwards).all()


@each_case
def test_nan_is_last_and_poisons_only_what_it_touches(algorithm, mode, dtype):
    row, others = (Row(algorithm, mode, dtype, name) for name in ("nan", "without one"))
    assert np.isnan(row.values["sort"]).tolist() == [False] * 4 + [True]
    assert row.values["rank"][1] == 5
    for name in ("max", "min", "median", "quantile"):
        if name in row.values:
            assert np.isnan(row.values[name]).all()
    for name in ("argmax", "argmin"):
        if name in row.values:
            np.testing.assert_array_equal(row.values[name], np.eye(5)[[1]])
    check_others(row, others, 1, 4, 0.0, rounding(dtype, algorithm))
    assert np.isfinite(row.backwards).all()


# Masks


@each_case
@pytest.mark.parametrize("hidden", HIDDEN)
def test_a_masked_entry_changes_nothing_whatever_its_value(algorithm, mode, dtype, hidden):
    row, others = (Row(algorithm, mode, dtype, name) for name in (f"hides {hidden}", "without one"))
    tolerance = 64 * np.finfo(dtype).eps  # the compiler may round one row of a batch otherwise than the next
    for name, value in row.values.items():
        expected, slopes = others.values[name], row.slopes[name]
        if name in ("sort", "argsort"):  # it comes last, as it is
            last = (value[4], slopes[4])
            whole = (hidden, np.eye(5)[1]) if name == "sort" else (np.eye(5)[1], np.zeros((5, 5)))
            for found, exact in zip(last, whole, strict=True):
                np.testing.assert_array_equal(found, exact.astype(dtype) if exact is not hidden else dtype(hidden))
            value, expected, slopes = value[:4], expected[:4], slopes[:4]
        np.testing.assert_allclose(value, expected, rtol=0, atol=tolerance, err_msg=name)
        np.testing.assert_array_equal(slopes[..., 1], 0, err_msg=name)
        steady = others.slopes[name][:4] if name in ("sort", "argsort") else others.slopes[name]
        np.testing.assert_allclose(slopes, steady, rtol=0, atol=10 * tolerance, err_msg=name)
        if name in WEIGHTS:
            np.testing.assert_array_equal(value[:, 1], 0, err_msg=name)
            np.testing.assert_allclose(value.sum(-1), 1, rtol=rounding(dtype, algorithm))
    assert row.values["rank"][1] == 0
    np.testing.assert_allclose(row.backwards, others.backwards, rtol=0, atol=10 * tolerance)


@functools.cache
def shorter(algorithm, mode):
    """Of the row without its masked entry, by a program without masks and with a static softness."""
    names = tuple(names_of(algorithm, FEW))
    run = jax.jit(lambda x: outcomes(names, x, algorithm=algorithm, mode=mode, softness=0.1))
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, run(np.delete(SPREAD, 1)[None]))


@each_pair
def test_a_masked_entry_is_as_if_it_were_not_there(algorithm, mode):
    masked = Row(algorithm, mode, np.float64, "without one").values
    for name, (expected,) in shorter(algorithm, mode).items():
        value = np.delete(masked[name], 4 if name == "sort" else 1, -1) if masked[name].shape[-1] == 5 else masked[name]
        np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-10, err_msg=name)


@each_case
def test_a_row_with_nothing_left_is_uniform_and_has_no_value(algorithm, mode, dtype):
    row = Row(algorithm, mode, dtype, "nothing")
    np.testing.assert_array_equal(row.values["sort"], SPREAD.astype(dtype))
    np.testing.assert_array_equal(row.values["rank"], 0)
    for name in ("max", "min", "median", "quantile"):
        if name in row.values:
            assert np.isnan(row.values[name]).all()
            np.testing.assert_array_equal(row.slopes[name], 0)
    for name in ("argmax", "argmin", "argmedian", "argquantile"):
        if name in row.values:
            np.testing.assert_allclose(row.values[name], 0.2, rtol=1e-6)
            np.testing.assert_array_equal(row.slopes[name], 0)


# Scale


def test_of_a_row_with_nothing_left_logarithms_are_those_of_the_weights():
    x, nothing = jnp.asarray(SPREAD, jnp.float32), ~ALL
    top = lambda x, **knobs: sft.top_k(x, 2, **knobs)[1]
    for fn in (sft.argmax, sft.argmin, sft.argsort, top, sft.argmedian):
        index = fn(x, where=nothing)
        np.testing.assert_allclose(np.exp(index.log_probs()), index.probs, rtol=1e-6)


@each_case
@pytest.mark.parametrize("scale", SCALES)
def test_nothing_depends_on_the_scale_of_the_data(algorithm, mode, dtype, scale):
    """But for the deviation, which is 1.005 times the data's below a scale of 1e-2: a change of units from there on.

    Above, what is added to the variance is 1e-6 of it for the plain row, and 0 for large ones.
    """
    unit, reference = (1e-10, "scale 1e-10") if scale < 1 else (1.0, "plain")
    row, reference = (Row(algorithm, mode, dtype, name) for name in (f"scale {scale}", reference))
    for name, value in row.values.items():
        assert np.isfinite(value).all(), name
        assert np.isfinite(row.slopes[name]).all(), name
        if ALGORITHMS[algorithm].standardizes:
            factor, inverse = (1 / scale, 1 / unit) if name in IN_UNITS_OF_X else (1, 1)
            expected = reference.values[name] * dtype(inverse)
            np.testing.assert_allclose(value * dtype(factor), expected, rtol=0, atol=3e-5, err_msg=name)
    assert np.isfinite(row.backwards).all()
    slack = 1e-5 if ALGORITHMS[algorithm].standardizes else 0.05  # beyond the hull, see test_contracts.py
    ranks = row.values["rank"]
    assert ranks.min() >= 1 - slack
    assert ranks.max() <= 5 + slack


@each_case
@pytest.mark.parametrize("softness", ["hard", "flat"])
def test_the_ends_of_softness_are_finite(algorithm, mode, dtype, softness):
    row = Row(algorithm, mode, dtype, softness)
    for name, value in row.values.items():
        assert np.isfinite(value).all(), name
        assert np.isfinite(row.slopes[name]).all(), name
    assert np.isfinite(row.backwards).all()
    if softness == "hard":
        np.testing.assert_allclose(row.values["sort"], np.sort(SPREAD), rtol=1e-5)
        np.testing.assert_allclose(row.values["rank"], np.argsort(np.argsort(SPREAD)) + 1, rtol=1e-5)
        np.testing.assert_allclose(row.values["median"], [0.31], rtol=1e-5)


@each_case
@pytest.mark.parametrize("level", LEVELS)
def test_a_constant_row_is_uniform(algorithm, mode, dtype, level):
    """Equal entries share the mean of the ranks, and every value is the entry.

    Not in a network of five wires, which treats them differently; nor in what keeps another sum than that of the ranks
    (the smooth mode of the permutahedron that of their exponentials, 2.163 for three entries) or leaves the hull.
    """
    row = Row(algorithm, mode, dtype, f"level {level}")
    for name, value in row.values.items():
        assert np.isfinite(row.slopes[name]).all(), name
        if name in WEIGHTS and algorithm != "sorting_network":
            np.testing.assert_allclose(value, 0.2, rtol=1e-5, err_msg=name)
        if name in IN_UNITS_OF_X and algorithm != "smooth_sort":
            np.testing.assert_allclose(value, level, rtol=1e-6, err_msg=name)
    assert np.isfinite(row.backwards).all()
    ranks = row.values["rank"]
    if (algorithm, mode) != ("fast_soft_sort", "smooth"):
        np.testing.assert_allclose(ranks.sum(), 15, rtol=1e-6)
    if algorithm == "sorting_network":
        assert np.abs(ranks - 3).max() > 0.1
    else:
        np.testing.assert_allclose(ranks, ranks.mean(), rtol=1e-5)


# Sizes

SIZES = (0, 1, 2, 3)


@each_single
def test_rows_of_every_size(algorithm, mode):
    """A row and a constant one: no entry is no crash, one entry is itself, two and three are between their ends."""

    def mixture(rows):
        out = [(sft.sort(x, **knobs), sft.rank(x, **LAST, **knobs)) for x in rows]
        return sum((v * cotangents(v)).sum() for pair in out for v in pair if v.size), out

    knobs = {"algorithm": algorithm, "mode": mode}
    rows = [jnp.stack([jnp.asarray(SPREAD[:n], jnp.float32), jnp.ones(n)]) for n in SIZES]
    gradients, out = jax.jit(jax.grad(mixture, has_aux=True))(rows)
    for n, x, gradient, (ordered, ranks) in zip(SIZES, map(np.asarray, rows), gradients, out, strict=True):
        assert ordered.shape == ranks.shape == gradient.shape == (2, n)
        assert np.isfinite(gradient).all()
        if algorithm != "smooth_sort":  # whose values leave the hull
            np.testing.assert_allclose(ordered[1], x[1], rtol=1e-6)
            assert (np.asarray(ordered) >= x.min(-1, keepdims=True, initial=9) - 1e-6).all()
            assert (np.asarray(ordered) <= x.max(-1, keepdims=True, initial=-9) + 1e-6).all()
        if n == 1:
            np.testing.assert_allclose(ordered, x, rtol=1e-6)
            np.testing.assert_allclose(ranks, 1, rtol=1e-6)
            np.testing.assert_allclose(gradient, [cotangents(ordered)[0]] * 2, rtol=1e-5)
        if n > 1:
            assert 0.9 <= ranks[0].min() < ranks[0].max() <= n + 0.1
            if (algorithm, mode) != ("fast_soft_sort", "smooth"):  # which keeps the sum of the exponentials
                np.testing.assert_allclose(ranks[1].mean(), (n + 1) / 2, rtol=2e-6)
            if algorithm != "sorting_network":  # which treats three entries differently
                assert np.ptp(ranks[1]) <= 1e-5


@each_single
def test_a_thousand_entries(algorithm, mode):
    """At a softness of 0.1, or what leaves an order of it: a network mixes at each of its 55 stages."""
    softness = 1e-3 if algorithm == "sorting_network" else 0.1
    knobs = {"algorithm": algorithm, "mode": mode, "softness": softness}
    x = np.random.default_rng(1).normal(size=1000).astype(np.float32)

    def mixture(x):
        ordered, ranks = sft.sort(x, **knobs), sft.rank(x, **knobs)
        return (ordered * jnp.cos(jnp.arange(1000.0))).sum() + ranks @ jnp.sin(x), (ordered, ranks)

    gradient, (ordered, ranks) = jax.jit(jax.grad(mixture, has_aux=True))(jnp.asarray(x))
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 1e-3
    if algorithm != "smooth_sort":  # whose bounds are lower by 0.1 log n
        assert ranks.min() >= 1 - 1e-3
        assert ranks.max() <= 1000 * (1 + 1e-5)
        rounding = 1e-6 * np.abs(x).max()  # some are mapped back from the standardised row
        assert ordered.min() >= x.min() - rounding
        assert ordered.max() <= x.max() + rounding
    assert np.corrcoef(ranks, np.argsort(np.argsort(x)))[0, 1] > 0.95


# Dtypes


@each_single
def test_dtypes_come_out_as_they_go_in(algorithm, mode):
    """16 bits are computed in 32; the logits of a softness of 0.1 have ten times their 1e-7, five of them a sum."""
    names = names_of(algorithm, ("sort", "rank", "argmax"))
    run = jax.jit(lambda x: outcomes(names, x, algorithm=algorithm, mode=mode))
    for dtype in (jnp.float16, jnp.bfloat16):
        narrow = jnp.asarray(X[:3], dtype)
        found, wide = run(narrow), run(narrow.astype(jnp.float32))
        for name in names:
            assert found[name].dtype == dtype
            assert wide[name].dtype == jnp.float32
            exact = np.asarray(wide[name].astype(dtype), np.float64)
            step = float(jnp.finfo(dtype).eps) * np.abs(exact)  # the two programs may round a tie to either side
            gap = np.abs(np.asarray(found[name], np.float64) - exact)
            assert (gap <= step).all(), name
            assert (gap == 0).mean() > 0.8, name
    single = X[:3].astype(np.float32)
    wide = run(jnp.asarray(single))
    with jax.enable_x64(True):
        double = run(jnp.asarray(single, jnp.float64))
        for name in names:
            assert double[name].dtype == jnp.float64
            np.testing.assert_allclose(wide[name], double[name], rtol=0, atol=rounding(np.float32, algorithm))


# Axes


BLOCK = np.random.default_rng(2).normal(size=(2, 3, 4)).astype(np.float32)
REDUCTIONS = {
    "max": sft.max,
    "min": sft.min,
    "median": sft.median,
    "quantile": lambda x, *args, **knobs: sft.quantile(x, Q.astype(np.float32), *args, **knobs),
}
AXES = (0, -2, (0, 2), (2, -3), None)


def as_rows(axes):
    """The block with these axes flattened into the last, and the shape of what they leave."""
    axes = tuple(range(3)) if axes is None else axes if isinstance(axes, tuple) else (axes,)
    axes = tuple(a % 3 for a in axes)
    rest = [a for a in range(3) if a not in axes]
    shape = tuple(BLOCK.shape[a] for a in rest)
    kept = tuple(1 if a in axes else BLOCK.shape[a] for a in range(3))
    return BLOCK.transpose(*rest, *axes).reshape(*shape, -1), shape, kept


@pytest.mark.parametrize(
    "name", [name if name == "max" else pytest.param(name, marks=pytest.mark.slow) for name in REDUCTIONS]
)
def test_reductions_along_axes_are_those_of_rows(name):
    fn, leading = REDUCTIONS[name], (2,) * (name == "quantile")
    found = jax.jit(lambda x: [fn(x, axis) for axis in AXES])(BLOCK)
    for axes, value in zip(AXES, found, strict=True):
        rows, shape, kept = as_rows(axes)
        assert value.shape == (*leading, *shape)
        assert jax.eval_shape(lambda x, axes=axes: fn(x, axes, keepdims=True), BLOCK).shape == (*leading, *kept)
        np.testing.assert_allclose(value, by_rows(name)(rows), rtol=1e-6, atol=1e-6)


@functools.cache
def by_rows(name):
    return jax.jit(lambda rows: REDUCTIONS[name](rows, -1))


@pytest.mark.parametrize("axis", [0, pytest.param(-2, marks=pytest.mark.slow)])
def test_orders_along_axes_are_those_of_rows(axis):
    def along(x, axis):
        top = sft.top_k(x, 2, axis)
        arrays = (sft.sort(x, axis), sft.rank(x, axis), top[0])
        indices = (sft.argsort(x, axis).probs, top[1].probs)
        singles = [fn(x, axis).probs for fn in (sft.argmax, sft.argmin, sft.argmedian)]
        return arrays, indices, (*singles, sft.argquantile(x, 0.3, axis).probs)

    found = jax.jit(lambda x: along(x, axis))(BLOCK)
    arrays, indices, singles = jax.jit(lambda x: along(x, -1))(np.moveaxis(BLOCK, axis, -1))
    expected = [np.moveaxis(a, -1, axis) for a in arrays], [np.moveaxis(a, -2, axis % 3) for a in indices], singles
    for group, others in zip(found, expected, strict=True):
        for value, other in zip(group, others, strict=True):
            np.testing.assert_allclose(value, other, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_no_axis_is_the_flattened_array():
    def flat(x):
        return [sft.sort(x, None), sft.rank(x), sft.argsort(x, None).probs, sft.argmax(x).probs, sft.argmedian(x).probs]

    for value, other in zip(jax.jit(flat)(BLOCK), jax.jit(flat)(BLOCK.ravel()), strict=True):
        assert value.shape == other.shape
        np.testing.assert_allclose(value, other, rtol=1e-6)


# Transformations

DEVICES = 8
BATCH = np.random.default_rng(3).normal(size=(DEVICES, 5)).astype(np.float32)


def by_scan(fn):
    """The loop over rows, each forgotten on the way there and computed again on the way back."""
    return lambda xs: lax.scan(lambda count, x: (count + 1, jax.checkpoint(fn)(x)), 0, xs)[1]


def over_devices(fn):
    mesh = jax.make_mesh((DEVICES,), ("b",), axis_types=(AxisType.Auto,))
    return jax.shard_map(jax.vmap(fn), mesh=mesh, in_specs=PartitionSpec("b"), out_specs=PartitionSpec("b"))


@each_single
def test_transformations_change_nothing(algorithm, mode):
    """`vmap` of rows under `shard_map`, a scan over rows, and a mesh with explicit axes, each with its gradient."""
    names = names_of(algorithm, ("sort", "rank", "argmax"))

    def fn(x):
        return {name: value[0] for name, value in outcomes(names, x[None], algorithm=algorithm, mode=mode).items()}

    def differentiated(mapped):
        def mixture(x):
            out = mapped(x)
            return sum((v * cotangents(v)).sum() for v in out.values()), out

        return jax.jit(jax.grad(mixture, has_aux=True))

    whole = differentiated(lambda x: outcomes(names, x, algorithm=algorithm, mode=mode))
    expected = whole(BATCH)
    assert np.abs(expected[0]).max() > 0.1
    found = [differentiated(mapping(fn))(BATCH) for mapping in (by_scan, over_devices)]
    mesh = jax.make_mesh((DEVICES,), ("b",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        explicit = whole(jax.device_put(jnp.asarray(BATCH), NamedSharding(mesh, PartitionSpec("b"))))
    for leaf in jax.tree.leaves(explicit):
        assert jax.typeof(leaf).sharding.spec[0] == "b"
    tolerance = rounding(np.float32, algorithm)
    for gradient, values in (*found, explicit):
        for name in names:
            np.testing.assert_allclose(values[name], expected[1][name], rtol=0, atol=tolerance, err_msg=name)
        np.testing.assert_allclose(gradient, expected[0], rtol=0, atol=10 * tolerance)


# Logarithms of weights


@functools.cache
def logarithms(algorithm):
    """Indices' probabilities, their logarithms, and the gradient of the logarithms' sum."""

    def indices(x, softness):
        knobs = {"algorithm": algorithm, "softness": softness}
        return sft.argmax(x, **knobs), sft.argsort(x, **knobs), sft.argquantile(x, 0.3, **knobs)

    def total(x, softness):
        found = indices(x, softness)
        logs = [index.log_probs() for index in found]
        return sum(log.sum() for log in logs), (logs, [index.probs for index in found])

    return jax.jit(jax.grad(total, has_aux=True))


@pytest.mark.parametrize("algorithm", ["softsort", pytest.param("neuralsort", marks=pytest.mark.slow)])
def test_logarithms_of_weights_are_exact_where_the_weights_underflow(algorithm):
    x = SPREAD.astype(np.float32)
    gradient, (logs, probs) = logarithms(algorithm)(x, jnp.float32(1e-3))
    with jax.enable_x64(True):
        for softness in (0.3, 5e-3):
            for log, prob in zip(*logarithms(algorithm)(x.astype(np.float64), jnp.asarray(softness))[1], strict=True):
                np.testing.assert_allclose(log, np.log(prob), rtol=1e-9)
        steep, (precise, _) = logarithms(algorithm)(x.astype(np.float64), jnp.asarray(1e-3))
    for log, prob, expected in zip(logs, probs, precise, strict=True):
        assert (prob == 0).any()
        assert np.isfinite(log).all()
        np.testing.assert_allclose(log, expected, rtol=1e-4, atol=1e-3)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient, steep, rtol=0, atol=1e-3 * np.abs(steep).max())


# Drawn rows


@functools.cache
def drawn_program(algorithm):
    names = ("sort", "rank", "argmax", "argsort")
    return jax.jit(lambda x, softness: outcomes(names, x, algorithm=algorithm, softness=softness))


@pytest.mark.parametrize(
    "algorithm", ["softsort", *(pytest.param(name, marks=pytest.mark.slow) for name in ("neuralsort", "ot"))]
)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_is_equivariant_and_bounded(algorithm, seed):
    """Of rows with ties: a permutation of the entries is one of ranks and weights and leaves the sorted values."""
    rng = np.random.default_rng(seed)
    x = rng.choice([-1.0, 0.0, 0.5, *rng.normal(0, 3, 4)], (DEVICES, 5))
    softness, order = rng.choice([0.02, 0.1, 1.0], (DEVICES, 1)), rng.permutation(5)
    with jax.enable_x64(True):
        there, here = (jax.tree.map(np.asarray, drawn_program(algorithm)(a, softness)) for a in (x[:, order], x))
    tolerance = 1e-8 if algorithm == "ot" else 1e-11
    for name in ("rank", "argmax", "argsort"):
        np.testing.assert_allclose(there[name], here[name][..., order], rtol=0, atol=tolerance, err_msg=name)
    np.testing.assert_allclose(there["sort"], here["sort"], rtol=0, atol=tolerance)
    assert (here["rank"] >= 1 - 1e-9).all()
    assert (here["rank"] <= 5 + 1e-9).all()
    assert (np.diff(here["sort"]) >= -1e-9).all()
    assert (here["sort"] >= x.min(-1, keepdims=True) - 1e-9).all()
    assert (here["sort"] <= x.max(-1, keepdims=True) + 1e-9).all()
    for name in ("argmax", "argsort"):
        assert (here[name] >= 0).all()
        np.testing.assert_allclose(here[name].sum(-1), 1, rtol=1e-12)


@pytest.mark.parametrize("algorithm", ["softsort", "fast_soft_sort", "sorting_network"])
def test_infinities_that_tie_share_their_rank(algorithm):
    x = jnp.array([np.inf, np.inf, 1.0, -np.inf, 2.0, -np.inf])
    expected = jax.scipy.stats.rankdata(x)
    assert expected.tolist() == [5.5, 5.5, 3, 1.5, 4, 1.5]
    rank = functools.partial(sft.rank, algorithm=algorithm, **LAST)
    for softness in (1e-3, jnp.float32(1e-3), jnp.float32(0)):
        np.testing.assert_allclose(rank(x, softness=softness), expected, atol=1e-6)
    np.testing.assert_array_equal(rank(x, mode="hard"), expected)
    np.testing.assert_array_equal(rank(sft.soft(x)).hard(), expected)
    np.testing.assert_array_equal(rank(x, mode="hard", descending=True), 7 - expected)


@pytest.mark.parametrize(
    ("algorithm", "n"),
    [
        ("softsort", 40),
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in (("neuralsort", 600), ("sorting_network", 40))),
    ],
)
def test_a_batch_without_rows_has_none(algorithm, n):
    x = jnp.zeros((2, 0, n))
    for name, shape in {"sort": (2, 0, n), "rank": (2, 0, n), "median": (2, 0), "max": (2, 0)}.items():
        assert getattr(sft, name)(x, algorithm=algorithm, **LAST).shape == shape, name
