"""What the law tests share: drawn inputs, in few shapes so that few programs are compiled, and comparisons."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import softtypes as sft

MODES = ("smooth", "c0", "c1", "c2")
FAMILIES = ("product", "godel", "lukasiewicz", "geometric")
T_NORMS = FAMILIES[:3]
SHAPES = ((), (3,), (2, 3))

# The singular points: ends and middle of the unit interval, ties and signed zeros.
TRUTHS = np.array([0.0, 1.0, 0.5, 0.25, 1 - 2**-24])
REALS = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 2.5])


@pytest.fixture(autouse=True)
def double_precision():
    """Laws hold up to rounding, and in double precision no wide tolerance is needed. Importing this switches it on."""
    with jax.enable_x64(True):
        yield


def drawn(sample, special, count: int, shapes=SHAPES):
    """Lists of `count` arrays of one shape, every other entry a singular point. Only a seed is drawn: it is quick."""

    def arrays(shape, seed):
        rng = np.random.default_rng(seed)
        draw = lambda: np.where(rng.random(shape) < 0.5, sample(rng, shape), rng.choice(special, shape))
        return [draw() for _ in range(count)]

    return st.builds(arrays, st.sampled_from(shapes), st.integers(0, 2**32 - 1))


def truths(count: int, shapes=SHAPES):
    """Lists of `count` arrays of probabilities of one shape."""
    return drawn(lambda rng, shape: rng.random(shape), TRUTHS, count, shapes)


def reals(count: int, shapes=SHAPES):
    """Lists of `count` arrays of numbers of one shape, ties and signed zeros among them."""
    return drawn(lambda rng, shape: rng.normal(0, 3, shape), REALS, count, shapes)


def truth(p, logic: str = "product") -> sft.SoftBool:
    return sft.SoftBool(jnp.asarray(p), logic=logic)


def close(a, b, tolerance: float = 1e-9):
    """Arrays equal in shape, and in value up to rounding."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def alike(a, b, tolerance: float = 1e-9):
    """Soft values of one type: the soft views are equal up to rounding, the hard views exactly."""
    assert type(a) is type(b)
    close(a.soft(), b.soft(), tolerance)
    np.testing.assert_array_equal(a.hard(), b.hard())


def finite(tree) -> bool:
    """Whether every number in the tree is finite."""
    return all(np.isfinite(np.asarray(leaf, np.float64)).all() for leaf in jax.tree.leaves(tree))
