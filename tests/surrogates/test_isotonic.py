"""The two forms of pooling adjacent violators: one row block by block, many rows in lanes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softtypes.surrogates import platform
from softtypes.surrogates.blocks import Sorted
from softtypes.surrogates.isotonic import pool
from softtypes.surrogates.regularisers import REGULARISERS

N = 150
every_mode = pytest.mark.parametrize("mode", REGULARISERS)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def rows():
    """Ascending positions and vertices: few violations, many, ties, all pooled, one element that pools the others."""
    rng = np.random.default_rng(0)
    plain, other = np.sort(rng.normal(size=(2, N)), axis=-1)
    tied, far = np.round(plain, 1), np.concatenate([np.full(N - 1, 0.3), [40.0]])
    yield from ((plain, other), (3 * plain, other), (plain / 50, other), (tied, other), (plain, tied), (plain, far))
    yield tied - plain[-1] - 1, tied - tied[-1] - 1  # vertices of one sign
    yield np.linspace(0, 1, N), np.arange(N) / 10.0


def problem(z, w, count):
    number = lambda x, dtype=float: np.full((*z.shape[:-1], 1), x, dtype)
    return Sorted(jnp.asarray(z), jnp.asarray(w), number(count, np.int32), number(0.5), number(2.0))


@every_mode
def test_both_forms_find_the_same_blocks(mode, monkeypatch):
    of_row = jax.jit(lambda p: pool(p, REGULARISERS[mode]))
    in_lanes = jax.jit(lambda p: pool(p, REGULARISERS[mode]))
    sizes = set()
    for z, w in rows():
        for count in (N, N - 41, 1, 0):
            given = problem(z, w, count)
            monkeypatch.setattr(platform, "in_turn", lambda: True)
            t, ends = of_row(given)
            monkeypatch.setattr(platform, "in_turn", lambda: False)
            expected, expected_ends = in_lanes(given)
            np.testing.assert_array_equal(ends[:count], expected_ends[:count])
            np.testing.assert_allclose(t, expected, rtol=1e-11, atol=1e-11)
            sizes |= set(np.diff(np.unique(ends[:count]), prepend=-1).tolist())
    assert {1, 2, 3} <= sizes
    assert max(sizes) == N


def test_rows_under_vmap_are_a_batch():
    """Of which all lanes take a step together: block by block would be as many steps as the longest walk has."""
    z, w = (np.stack(x) for x in zip(*rows(), strict=True))
    given = problem(z, w, N)
    solve = partial(pool, regulariser=REGULARISERS["smooth"])
    shared, repeated = (given._replace(w=w) for w in (given.w[0], jnp.tile(given.w[0], (len(z), 1))))
    for fn, args, batch in (
        (jax.vmap(solve), given, given),
        (jax.vmap(jax.vmap(solve)), *[jax.tree.map(lambda x: x.reshape(2, -1, x.shape[-1]), given)] * 2),
        (jax.vmap(solve, in_axes=(Sorted(0, None, 0, 0, 0),)), shared, repeated),
    ):
        assert "dynamic_update_slice" not in str(jax.make_jaxpr(fn)(args))
        for got, expected in zip(jax.jit(fn)(args), jax.jit(solve)(batch), strict=True):
            np.testing.assert_array_equal(got, expected)
    assert "dynamic_update_slice" in str(jax.make_jaxpr(solve)(jax.tree.map(lambda x: x[0], given)))


def test_one_element_that_pools_all_others_takes_a_step_each(monkeypatch):
    """The walk has no more steps than elements and blocks."""
    z, w = np.zeros(N), np.sort(np.random.default_rng(0).normal(size=N))
    steps, real = [], jax.lax.while_loop

    def counted(cond, body, init):
        def step(state):
            jax.debug.callback(lambda: steps.append(1))
            return body(state)

        return real(cond, step, init)

    monkeypatch.setattr(jax.lax, "while_loop", counted)
    ends = jax.jit(lambda p: pool(p, REGULARISERS["c0"]))(problem(z, w, N))[1]
    jax.effects_barrier()
    assert (ends == N - 1).all()
    assert len(steps) == N
