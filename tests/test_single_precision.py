"""Single precision beside double, from hard to soft, with and without ties: no digit is lost that the data have."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft

SOFTNESSES = np.array([1e-3, 1e-2, 0.1, 1.0, 10.0])
OPERATORS = {
    "sort": sft.sort,
    "rank": partial(sft.rank, axis=-1),
    "median": partial(sft.median, axis=-1),
}
slow = pytest.mark.slow
CASES = [
    ("ot", "c0", "sort", 64),
    ("ot", "c0", "rank", 64),
    ("ot", "smooth", "sort", 64),
    pytest.param("ot", "c1", "sort", 64, marks=slow),
    ("neuralsort", "c0", "sort", 64),
    pytest.param("neuralsort", "c0", "rank", 64, marks=slow),
    pytest.param("neuralsort", "smooth", "sort", 64, marks=slow),
    ("neuralsort", "smooth", "rank", 64),
    ("neuralsort", "smooth", "median", 64),
    ("neuralsort", "smooth", "sort", 500),
    ("neuralsort", "smooth", "median", 500),
    pytest.param("neuralsort", "c0", "sort", 200, marks=slow),
    ("softsort", "c0", "median", 64),
]


def rows(n: int) -> np.ndarray:
    """Numbers, and what they are when rounded to tenths."""
    x = np.random.default_rng(0).normal(size=n).astype("float32")
    return np.stack([x, np.round(x, 1)])


def values_and_gradients(fn, x, softness):
    """For each softness and row, the gradient against a direction."""

    def run(x, softness):
        value, pull = jax.vjp(lambda x: fn(x, softness=softness), x)
        return value, pull(jnp.cos(jnp.arange(value.size, dtype=x.dtype)).reshape(value.shape))[0]

    both = jax.vmap(jax.vmap(run, (0, None)), (None, 0))
    return jax.tree.map(lambda a: np.asarray(a, float), jax.jit(both)(x, softness.astype(x.dtype)))


@pytest.mark.parametrize(("algorithm", "mode", "operator", "n"), CASES)
def test_single_precision_is_double_precision(algorithm, mode, operator, n):
    fn = partial(OPERATORS[operator], algorithm=algorithm, mode=mode)
    x = rows(n)
    value, gradient = values_and_gradients(fn, jnp.asarray(x), SOFTNESSES)
    with jax.enable_x64(True):
        softness = SOFTNESSES.astype("float32").astype("float64")
        exact_value, exact = values_and_gradients(fn, jnp.asarray(x, "float64"), softness)
    for i, s in enumerate(SOFTNESSES):
        for j, what in enumerate(("plain", "ties")):
            name, scale = f"softness {s}, {what}", abs(exact[i, j]).max()
            np.testing.assert_allclose(value[i, j], exact_value[i, j], rtol=1e-5, atol=1e-5, err_msg=name)
            np.testing.assert_allclose(gradient[i, j], exact[i, j], rtol=0, atol=1e-4 * scale, err_msg=name)


@pytest.mark.parametrize("algorithm", ["ot", "softsort"])
def test_data_that_span_the_range_of_the_dtype_have_finite_order_statistics(algorithm):
    x = jnp.array([3e38, -3e38, 1.0, 2e38], "float32")
    value, gradient = jax.value_and_grad(lambda x: sft.max(x, algorithm=algorithm, mode="c0", standardize=False))(x)
    assert value == 3e38
    assert jnp.isfinite(gradient).all()
