"""Few rows of NeuralSort, each from the sums of its steps: the matrix in value, derivatives and precision."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft
from softtypes.rules.order import Ordering
from softtypes.rules.ordering import statistics_of
from softtypes.surrogates import neuralsort, profiles
from softtypes.surrogates.modes import MODES
from tests.surrogates.rows import close, rows
from tests.surrogates.rows import double_precision as double_precision

slow = pytest.mark.slow
exhaustive = [slow, pytest.mark.exhaustive]
median = partial(sft.median, axis=-1, algorithm="neuralsort")
OPERATORS = {
    "max": partial(sft.max, axis=-1, algorithm="neuralsort"),
    "median": median,
    "quantile": lambda x, **knobs: sft.quantile(
        x, jnp.array([0.1, 0.77], x.dtype), -1, algorithm="neuralsort", **knobs
    ),
    "argmin": lambda x, **knobs: sft.argmin(x, axis=-1, algorithm="neuralsort", **knobs).probs,
    "argmedian": lambda x, **knobs: sft.argmedian(x, axis=-1, algorithm="neuralsort", **knobs).probs,
}


@pytest.fixture
def few(monkeypatch):
    """However few entries there are, and in small blocks."""
    monkeypatch.setattr(neuralsort, "SMALL", 0)
    monkeypatch.setattr(profiles, "BLOCK", 8)


def by_matrix(fn, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(neuralsort, "SMALL", 10**6)
        return fn()


def finite_sum(y):
    y = jnp.where(jnp.isfinite(y), y, 0)
    return (y * jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)).sum()


def everything(mode, x, softness, operators, **knobs):
    """The values, and the gradients of their sum in the data and in a softness per row."""

    def total(x, softness):
        y = {op: fn(x, softness=softness, mode=mode, **knobs) for op, fn in operators.items()}
        return sum(map(finite_sum, y.values())), y

    return jax.jit(jax.grad(total, (0, 1), has_aux=True))(x, softness)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(
    ("mode", "operators"),
    [
        ("smooth", ["median", "argmin"]),
        *(pytest.param(m, OPERATORS, marks=slow if m in ("smooth", "c0") else exhaustive) for m in MODES),
    ],
)
def test_few_rows_are_those_of_the_matrix(mode, operators, monkeypatch, few):
    x, softness = jnp.asarray(rows(70)), jnp.array([0.103, 0.0327, 0.1, 0.00271])[:, None]
    where = np.random.default_rng(2).random(x.shape) < 0.8
    run = lambda: everything(mode, x, softness, {op: OPERATORS[op] for op in operators}, where=where)
    close(run(), by_matrix(run, monkeypatch), 1e-9)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("mode", [pytest.param(mode, marks=slow if mode == "c1" else ()) for mode in ("smooth", "c1")])
def test_the_first_k_in_a_large_softness(mode, monkeypatch, few):
    top = {"top_k": lambda x, **knobs: sft.top_k(x, 5, algorithm="neuralsort", **knobs)[0]}
    x = jnp.asarray(rows(70))
    run = lambda: everything(mode, x, jnp.full((4, 1), 5.3), top)
    close(run(), by_matrix(run, monkeypatch), 1e-9)


@pytest.mark.usefixtures("double_precision")
def test_logarithms_of_far_weights(monkeypatch, few):
    """Of neighbours that are a million softnesses apart, in value and gradient."""
    fn = lambda x, **knobs: jnp.maximum(sft.argmedian(x, axis=-1, algorithm="neuralsort", **knobs).log_probs(), -1e300)
    x = jnp.asarray(rows(40)[:2])
    run = lambda: everything("smooth", x, jnp.full((2, 1), 1e-7), {"log_probs": fn})
    close(run(), by_matrix(run, monkeypatch), 1e-9)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("mode", [pytest.param(mode, marks=exhaustive) for mode in ("smooth", "c2")])
def test_second_derivatives(mode, monkeypatch, few):
    x = jnp.asarray(rows(40)[1])

    def run():
        total = lambda x, s: sum(jnp.sin(fn(x, softness=s, mode=mode)).sum() for fn in OPERATORS.values())
        change = lambda *args: jax.jvp(jax.grad(total, (0, 1)), args, (jnp.cos(x), jnp.ones(())))[1]
        return jax.jit(change)(x, jnp.asarray(0.0937))

    close(run(), by_matrix(run, monkeypatch), 1e-8)


@pytest.mark.parametrize("mode", ["smooth", pytest.param("c1", marks=exhaustive)])
def test_single_precision_is_accurate(mode, monkeypatch):
    """Against the matrix in double precision, for softness from a thousandth of the spread to ten times it."""
    x = np.random.default_rng(3).normal(size=(2, 600)).astype("float32")
    x[1] = x[1].round(1)

    @jax.jit
    def run(x, softness):
        q = jnp.array([0, 0.013, 0.3, 0.5, 0.9, 1], x.dtype)
        value, pull = jax.vjp(lambda x: sft.quantile(x, q, -1, algorithm="neuralsort", softness=softness, mode=mode), x)
        return value, *pull(jnp.cos(jnp.arange(value.size, dtype=x.dtype)).reshape(value.shape))

    for softness in (1e-3, 0.03, 0.2, 10.0):
        value, gradient = run(jnp.asarray(x), jnp.float32(softness))
        with jax.enable_x64(True):
            exact = by_matrix(lambda s=softness: run(jnp.asarray(x, "float64"), jnp.asarray(s)), monkeypatch)
        close(value, exact[0], 1e-5)
        # of the least softness the keys, which are rounded, are known to a thousandth of a gap
        close(gradient, exact[1], 1e-4 if softness > 1e-3 else 3e-3)


@pytest.mark.parametrize("n", [pytest.param(n, marks=exhaustive) for n in (1, 2, 3, 9)])
def test_few_entries(n, monkeypatch, few):
    monkeypatch.setattr(neuralsort, "_few", lambda row, _: neuralsort.SMALL == 0)
    x = jnp.asarray(np.random.default_rng(n).normal(size=n), "float32")
    run = lambda: jax.jit(jax.value_and_grad(lambda x: jnp.sin(median(x)).sum()))(x)
    close(run(), by_matrix(run, monkeypatch), 1e-5)


def test_no_softness_and_the_smallest_have_finite_gradients(few):
    x = jnp.asarray(np.random.default_rng(5).normal(size=(3, 20)), "float32")
    gradients = jax.jit(jax.grad(lambda x, s: median(x, softness=s).sum(), (0, 1)))
    for gradient in gradients(x, jnp.array([[0.0], [1e-38], [1e30]])):
        assert np.isfinite(gradient).all()


@slow
def test_requests_that_share_the_sums(monkeypatch, few):
    """One after another they are the same as together."""
    x = jnp.asarray(rows(40)[:2], "float32")

    def each(x):
        at = statistics_of(x, Ordering(), sft.Relaxation(0.1), "neuralsort")
        return jnp.concatenate([at(jnp.full((2, 1), k)) for k in (3, 20, 39)], -1)

    run = lambda: jax.jit(jax.value_and_grad(lambda x: jnp.sin(each(x)).sum()))(x)
    close(run(), by_matrix(run, monkeypatch), 1e-5)


# Transformations


def total(x, softness=0.1):
    return jnp.sin(median(x, softness=softness)).sum()


def two_rows():
    return jnp.asarray(np.random.default_rng(6).normal(size=(2, 20)), "float32")


@slow
def test_shard_map(monkeypatch, few):
    x, spec = two_rows(), jax.sharding.PartitionSpec("d")
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    mapped = jax.shard_map(median, mesh=mesh, in_specs=spec, out_specs=spec)
    ours = jax.jit(jax.grad(lambda x: jnp.sin(mapped(x)).sum()))(x)
    close(ours, by_matrix(lambda: jax.jit(jax.grad(total))(x), monkeypatch), 1e-5)


@slow
def test_transforms(few):
    """vmap over softness and forward mode are the plain gradient."""
    x = two_rows()
    exact = jax.jit(jax.grad(total))(x)
    close(jax.jit(jax.vmap(lambda row, s: jax.grad(total)(row, s)))(x, jnp.full(2, 0.1)), exact, 1e-5)
    close(jax.jit(jax.jacfwd(total))(x), exact, 1e-5)


@pytest.mark.parametrize("mode", ["smooth", pytest.param("c2", marks=exhaustive)])
def test_memory(mode):
    """Of a median with its gradient: some hundred numbers an entry, where the matrix has n."""
    x = jnp.zeros(2**16, "float32")
    run = jax.jit(jax.value_and_grad(lambda x: median(x, mode=mode))).lower(x).compile()
    analysis = run.memory_analysis()
    assert analysis
    assert analysis.temp_size_in_bytes < (250 if mode == "smooth" else 1000) * x.nbytes
