"""NeuralSort without its matrix: the sums over a band are those of the matrix, in value, derivatives and precision."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft
from softtypes.surrogates import band, neuralsort, platform, steps
from softtypes.surrogates.distances import Points, lacks
from softtypes.surrogates.modes import MODES
from tests.surrogates.rows import close, rows
from tests.surrogates.rows import double_precision as double_precision

slow = pytest.mark.slow
exhaustive = [slow, pytest.mark.exhaustive]
OPERATORS = {
    "sort": partial(sft.sort, algorithm="neuralsort"),
    "rank": partial(sft.rank, axis=-1, algorithm="neuralsort"),
}
SPARSE = ("c0", "c1", "c2")
FUNCTIONS = list(OPERATORS.values())


@pytest.fixture
def banded(monkeypatch):
    """However few entries there are."""
    monkeypatch.setattr(neuralsort, "SMALL", 0)


def by_matrix(fn, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(neuralsort, "SMALL", 10**6)
        return fn()


# Distances


def dense_lacks(keys, counted, unit, mode):
    gaps, places = keys[..., :, None] - keys[..., None, :], np.arange(keys.shape[-1])
    sides = np.sign(places[:, None] - places[None])[None].astype(float)
    lack = (sides * gaps - steps.absolute(gaps, unit[..., None], MODES[mode].step)) / unit[..., None]
    return (lack * counted[..., None, :]).sum(-1)


def lacks_of(mode, keys, counted, unit):
    gaps = jnp.diff(keys, append=keys[..., -1:], axis=-1) / unit
    return lacks(keys, Points(gaps, neuralsort._scaled(keys, unit), -jnp.log(unit)), counted, unit, MODES[mode])


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(
    ("mode", "in_turn"),
    [
        ("smooth", True),
        ("smooth", False),
        *(pytest.param(m, True, marks=slow if m == "c2" else exhaustive) for m in SPARSE),
    ],
)
def test_sums_of_distances(mode, in_turn, monkeypatch):
    monkeypatch.setattr(platform, "in_turn", lambda: in_turn)
    keys = np.sort(np.random.default_rng(0).normal(size=(3, 37)), -1)
    keys[1] = keys[1].round(1)
    counted = np.ones((3, 37))
    keys[2, 30:], counted[2, 30:] = keys[2, 29], 0
    keys, counted, unit = jnp.asarray(keys), jnp.asarray(counted), jnp.array([[0.0713], [0.1234], [0.0317]])

    def derivatives(fn):
        """Both ways to the first, of keys and unit; and the second."""
        probe = jnp.cos(jnp.arange(keys.size, dtype=keys.dtype)).reshape(keys.shape)
        pulled = lambda *args: jax.vjp(fn, *args)[1](probe)
        return *jax.jvp(fn, (keys, unit), (jnp.sin(keys), jnp.cos(unit))), *jax.jvp(pulled, (keys, unit), (probe, unit))

    found = jax.jit(lambda: derivatives(lambda keys, unit: lacks_of(mode, keys, counted, unit).sums))()
    exact = jax.jit(lambda: derivatives(lambda keys, unit: dense_lacks(keys, counted, unit, mode)))()
    close(found, exact, 1e-11)
    rises = jax.jit(lambda: lacks_of(mode, keys, counted, unit).rises)()
    close(rises, np.diff(exact[0], append=exact[0][:, -1:], axis=-1), 1e-12)


def test_sums_of_distances_of_many_keys_in_single_precision():
    keys = np.sort(np.random.default_rng(0).normal(size=4096)).astype("float32")

    @jax.jit
    def derived(keys, unit):
        sums_of = lambda keys: lacks_of("smooth", keys, jnp.ones_like(keys), unit)
        sums, pull, rises = jax.vjp(sums_of, keys, has_aux=True)
        return sums, pull(jnp.cos(keys))[0], rises

    def run(dtype):
        sums, pulled, rises = derived(keys.astype(dtype), jnp.full(1, np.float32(0.1), dtype))
        return [np.asarray(x, float) for x in (sums, pulled, np.cumsum(np.asarray(rises, float)))]

    sums, pulled, logits = run("float32")
    with jax.enable_x64(True):
        exact_sums, exact, exact_logits = run("float64")
    np.testing.assert_allclose(sums, exact_sums, rtol=1e-6)
    np.testing.assert_allclose(pulled, exact, rtol=0, atol=1e-5 * abs(exact).max())
    np.testing.assert_allclose(logits, exact_logits, rtol=0, atol=2e-4)


# The operators


def everything(op, mode, x, softness, where):
    """The value, and the gradients in the data and in a softness per row."""
    probe = jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)

    def total(x, softness):
        y = OPERATORS[op](x, softness=softness, mode=mode, where=where, descending=op == "rank")
        return jnp.where(jnp.isfinite(y), y * probe, 0).sum(), y

    return jax.jit(jax.grad(total, (0, 1), has_aux=True))(x, softness)


CI = [("sort", "c1"), ("rank", "smooth")]


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(
    ("op", "mode"),
    [pytest.param(op, m, marks=slow if (op, m) in CI else exhaustive) for op in OPERATORS for m in MODES],
)
def test_the_band_is_the_matrix(op, mode, monkeypatch, banded):
    x, softness = jnp.asarray(rows(70)), jnp.array([0.103, 0.0327, 0.1, 0.00271])[:, None]
    where = np.random.default_rng(2).random(x.shape) < 0.8
    run = lambda: everything(op, mode, x, softness, where)
    close(run(), by_matrix(run, monkeypatch), 1e-9)


@slow
def test_columns_that_single_precision_would_lose(monkeypatch):
    """Soft distances lean over more than the last row: the outermost columns weigh `exp(-96)` and less."""
    x = np.random.default_rng(0).normal(size=2048)

    def ranks(dtype):
        return np.asarray(jax.jit(lambda x: OPERATORS["rank"](x))(jnp.asarray(x, dtype)))

    with jax.enable_x64(True):
        exact = ranks(jnp.float64)
    close(ranks(jnp.float32), exact, 1e-6)
    meeting = band.meeting
    monkeypatch.setattr(band, "meeting", lambda wide, faint: meeting(wide, jnp.zeros_like(faint)))
    assert np.abs(ranks(jnp.float32) - exact).max() > 0.5  # where none is looked for


@slow
@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(("op", "mode"), CI)
@pytest.mark.parametrize(
    "entries", [pytest.param(2**26, marks=exhaustive, id="all at once"), pytest.param(1024, id="two chunks at once")]
)
def test_side_by_side_is_in_turn(op, mode, entries, monkeypatch, banded):
    """In turn on a CPU, side by side elsewhere."""
    x, softness = jnp.asarray(rows(70)), jnp.array([0.103, 0.0327, 0.1, 0.00271])[:, None]
    in_turn = everything(op, mode, x, softness, None)
    monkeypatch.setattr(platform, "in_turn", lambda: False)
    monkeypatch.setattr(platform, "ENTRIES", entries)
    close(everything(op, mode, x, softness, None), in_turn, 1e-12)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("mode", [pytest.param(mode, marks=exhaustive) for mode in ("smooth", "c2")])
def test_second_derivatives(mode, monkeypatch, banded):
    x = jnp.asarray(rows(40)[1])

    def run():
        total = lambda x, s: sum(jnp.sin(fn(x, softness=s, mode=mode)).sum() for fn in FUNCTIONS)
        change = lambda *args: jax.jvp(jax.grad(total, (0, 1)), args, (jnp.cos(x), jnp.ones(())))[1]
        return jax.jit(change)(x, jnp.asarray(0.0937))

    close(run(), by_matrix(run, monkeypatch), 1e-8)


@pytest.mark.parametrize("mode", [pytest.param("smooth", marks=slow), pytest.param("c1", marks=exhaustive)])
@pytest.mark.parametrize("op", [pytest.param("sort"), pytest.param("rank", marks=exhaustive)])
def test_single_precision_is_accurate(op, mode, monkeypatch):
    """Against the matrix in double precision, for softness from a thousandth of the spread to ten times it."""
    x = np.random.default_rng(3).normal(size=(2, 300)).astype("float32")
    x[1] = x[1].round(1)
    probe = np.cos(np.arange(300) + np.arange(2)[:, None])

    @jax.jit
    def run(x, softness):
        value, pull = jax.vjp(lambda x: OPERATORS[op](x, softness=softness, mode=mode), x)
        return value, pull(probe.astype(x.dtype))

    for softness in (1e-3, 0.03, 0.2, 10.0):
        value, gradient = run(jnp.asarray(x), jnp.float32(softness))
        with jax.enable_x64(True):
            exact = by_matrix(lambda s=softness: run(jnp.asarray(x, "float64"), jnp.asarray(s)), monkeypatch)
        close(value, exact[0], 1e-5)
        # of the least softness the keys, which are rounded, are known to a thousandth of a gap
        close(gradient, exact[1], 1e-4 if softness > 1e-3 else 3e-3)


@pytest.mark.parametrize("mode", ["c0", pytest.param("c2", marks=exhaustive)])
def test_single_precision_of_all_entries(mode):
    """Of thousands of entries each: sums over windows that lose a digit now and then show in few of them, and only
    where XLA optimises, as it does in CI on the newest jax."""
    x = np.random.default_rng(0).normal(size=(24, 1024)).astype(np.float32)
    run = lambda dtype: np.asarray(jax.jit(partial(OPERATORS["sort"], mode=mode))(jnp.asarray(x, dtype)))
    with jax.enable_x64(True):
        exact = run(jnp.float64)
    assert np.abs(run(jnp.float32) - exact).max() < 1.5e-6 * np.abs(exact).max()


@pytest.mark.parametrize("n", [40, *(pytest.param(n, marks=exhaustive) for n in (1, 2, 3))])
def test_few_entries(n, monkeypatch, banded):
    x = jnp.asarray(np.random.default_rng(n).normal(size=n), "float32")
    run = lambda: jax.jit(jax.value_and_grad(lambda x: jnp.sin(OPERATORS["sort"](x)).sum()))(x)
    close(run(), by_matrix(run, monkeypatch), 1e-5)


def test_no_entries(banded):
    for fn in FUNCTIONS:
        assert fn(jnp.zeros((2, 0))).shape == (2, 0)


@pytest.mark.parametrize("mode", [pytest.param(mode, marks=exhaustive) for mode in ("smooth", "c1")])
def test_no_softness_and_the_smallest_have_finite_gradients(mode, banded):
    x = jnp.asarray(np.random.default_rng(5).normal(size=(3, 20)), "float32")
    total = lambda x, s: sum(fn(x, softness=s, mode=mode).sum() for fn in FUNCTIONS)
    for gradient in jax.jit(jax.grad(total, (0, 1)))(x, jnp.array([[0.0], [1e-38], [1e30]])):
        assert np.isfinite(gradient).all()


# Transformations


def total(x, fn=OPERATORS["sort"], softness=0.1):
    return jnp.sin(fn(x, softness=softness)).sum()


def two_rows():
    return jnp.asarray(np.random.default_rng(6).normal(size=(2, 20)), "float32")


@slow
def test_shard_map(monkeypatch, banded):
    x, spec = two_rows(), jax.sharding.PartitionSpec("d")
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    mapped = jax.shard_map(OPERATORS["sort"], mesh=mesh, in_specs=spec, out_specs=spec)
    ours = jax.jit(jax.grad(lambda x: jnp.sin(mapped(x)).sum()))(x)
    close(ours, by_matrix(lambda: jax.jit(jax.grad(total))(x), monkeypatch), 1e-5)


@slow
@pytest.mark.exhaustive
def test_an_explicit_mesh(monkeypatch, banded):
    x = two_rows()
    exact = by_matrix(lambda: jax.jit(jax.grad(total))(x), monkeypatch)
    with jax.set_mesh(jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Explicit,))):
        placed = jax.device_put(x, jax.sharding.PartitionSpec("d"))
        close(jax.jit(jax.grad(lambda x: total(x)))(placed), exact, 1e-5)


@pytest.mark.parametrize("op", [pytest.param(op, marks=exhaustive) for op in OPERATORS])
def test_transforms(op, banded):
    """vmap over softness and forward mode are the plain gradient."""
    x = two_rows()
    fn = partial(total, fn=OPERATORS[op])
    exact = jax.jit(jax.grad(fn))(x)
    each = lambda row, s: jax.grad(partial(fn, softness=s))(row)
    close(jax.jit(jax.vmap(each))(x, jnp.full(2, 0.1)), exact, 1e-5)
    close(jax.jit(jax.jacfwd(fn))(x), exact, 1e-5)


@slow
@pytest.mark.exhaustive
def test_a_long_row():
    """2^16 entries, whose matrix would take 16 GB."""
    x = jnp.asarray(np.random.default_rng(4).permutation(2**16), "float32")
    both = lambda x: jax.value_and_grad(lambda x: OPERATORS["sort"](x, softness=0.01)[::1000].sum())(x)
    run = jax.jit(both).lower(x).compile()
    analysis = run.memory_analysis()
    assert analysis
    assert analysis.temp_size_in_bytes < 100 * 2**20
    value, gradient = run(x)
    np.testing.assert_allclose(value, np.arange(0, 2**16, 1000.0).sum(), rtol=1e-2)
    assert np.isfinite(gradient).all()
