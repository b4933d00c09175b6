"""A wrong program gives the right sentence: expected, got, way out."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft

pytestmark = pytest.mark.core

x = sft.soft(jnp.array([-1.0, 0.5, 2.0]))
index = x.argmax()

WRONG = {
    "float in &": (
        lambda: (x > 0.0) & jnp.ones(3),
        TypeError,
        "&: expected a SoftBool or a bool array, got float32; wrap",
    ),
    "float on the left of &": (lambda: np.ones(3, np.float32) & (x > 0.0), TypeError, "wrap it in sft.SoftBool"),
    "int in |": (lambda: (x > 0.0) | 1, TypeError, "|: expected a SoftBool or a bool array, got int"),
    "float in logical_and": (lambda: sft.logical_and(x > 0.0, 0.5), TypeError, "logical_and: expected a SoftBool"),
    "float condition": (lambda: sft.where(0.5, x, x), TypeError, "where: condition: expected a SoftBool"),
    "if": (lambda: 1 if x > 0.0 else 2, TypeError, "the truth value of a SoftBool is not defined"),
    "and": (lambda: (x > 0.0) and (x < 1.0), TypeError, "Write (a < x) & (x < b)"),
    "not": (lambda: not (x > 0.0), TypeError, "`|` and `~`"),
    "chained": (lambda: 0.0 < x < 1.0, TypeError, "chained comparisons"),
    "float()": (lambda: float(sft.soft(1.0)), TypeError, "use .hard() outside jit"),
    "list index": (lambda: [1, 2, 3][index], TypeError, "x[index] with a SoftIndex on a SoftArray"),
    "index axis indexed": (lambda: index[0], IndexError, "axis 0 of a SoftIndex of shape () does not exist"),
    "index axis reshaped": (
        lambda: sft.SoftIndex(jnp.full((2, 3), 1 / 3)).reshape(6),
        TypeError,
        "the axis over its 3 indices is no axis of it",
    ),
    "other size": (lambda: index.take(jnp.ones(4)), ValueError, "over 3 indices cannot select along axis 0"),
    "no last axis": (lambda: sft.SoftIndex(jnp.array(0.5)), ValueError, "probs need a last axis"),
    "mode mismatch": (
        lambda: x + sft.soft(1.0, mode="c1"),
        ValueError,
        "of different mode cannot be combined: 'smooth' and 'c1'",
    ),
    "logic mismatch": (
        lambda: (x > 0.0) & sft.SoftBool(jnp.ones(3), logic="godel"),
        ValueError,
        "of different logic cannot be combined: 'product' and 'godel'",
    ),
    "mode": (
        lambda: sft.relu(1.0, mode="c3"),
        ValueError,
        "mode must be one of 'hard', 'smooth', 'c0', 'c1', 'c2'; got 'c3'",
    ),
    "algorithm": (
        lambda: sft.sort(x, algorithm="bogo"),
        ValueError,
        "algorithm must be one of None, 'softsort', 'neuralsort'",
    ),
    "logic": (lambda: sft.SoftBool(0.5, logic="fuzzy"), ValueError, "logic must be one of 'product', 'godel'"),
    "keyword": (
        lambda: sft.relu(1.0, sofness=1.0),
        TypeError,
        "unknown relaxation keyword 'sofness'; the keywords are softness",
    ),
    "positional knob": (lambda: sft.relu(1.0, 0.1), TypeError, "relu: too many positional arguments"),
    "softness < 0": (lambda: sft.soft(1.0, -1.0), ValueError, "softness must be finite and at least 0"),
    "softness array < 0": (
        lambda: sft.soft(1.0, jnp.array(-1.0)),
        ValueError,
        "at least 0 (0 is the hard limit) everywhere",
    ),
    "softness nan": (lambda: sft.soft(1.0, float("nan")), ValueError, "softness must be finite"),
    "softness inf": (lambda: sft.soft(1.0, float("inf")), ValueError, "softness must be finite"),
    "softness str": (lambda: sft.soft(1.0, "smooth"), TypeError, "softness must be a real number"),
    "softness bool": (lambda: sft.soft(1.0, True), TypeError, "softness must be a real number"),
    "softness shape": (
        lambda: sft.soft(jnp.ones(3), jnp.ones(2)),
        ValueError,
        "softness of shape (2,) does not broadcast",
    ),
    "jnp.sum": (lambda: jnp.sum(x), TypeError, "convert it with .soft(), .hard() or .st()"),
    "jnp.sum under jit": (lambda: jax.jit(jnp.sum)(x), TypeError, "convert it with .soft(), .hard() or .st()"),
    "np.asarray": (
        lambda: np.asarray(x),
        TypeError,
        "take .soft() (the relaxation), .hard() (the exact value) or .st()",
    ),
    "jnp.asarray": (lambda: jnp.asarray(x), TypeError, ".soft()"),
    "soft mask": (lambda: x[x > 0.0], TypeError, "a soft mask has no definite size"),
    "float index": (lambda: x[x], TypeError, "an index is a SoftIndex"),
    "array times bool": (lambda: x * (x > 0.0), TypeError, "a SoftBool selects with cond.where(x, y)"),
    "bool arithmetic": (lambda: sft.soft(True) + sft.soft(True), TypeError, "use SoftBool and & | ^"),
    "int probs": (lambda: sft.SoftBool(1), TypeError, "for exact bits use SoftBool.from_hard(bits)"),
    "int index probs": (lambda: sft.SoftIndex(jnp.array([0, 1])), TypeError, "use SoftIndex.from_hard(indices, n)"),
    "hard shape": (
        lambda: sft.SoftArray(jnp.ones(3), jnp.ones(2)),
        ValueError,
        "hard_view must have shape (3,); got (2,)",
    ),
    "hard dtype": (lambda: sft.SoftBool(jnp.ones(3), jnp.ones(3)), TypeError, "hard_view must be Boolean; got float32"),
    "from_hard range": (lambda: sft.SoftIndex.from_hard(3, 3), ValueError, "indices must lie in 0 .. 2; got 3"),
    "complex": (lambda: sft.soft(1j), TypeError, "values must be an array or a number; got complex"),
    "complex array": (lambda: sft.relu(jnp.ones(2, complex)), TypeError, "relu: x must be real; got complex64"),
    "list input": (lambda: sft.relu([1.0, 2.0]), TypeError, "parameter 'x'"),
    "string operand": (lambda: x + "a", TypeError, "unsupported operand"),
    "hash": (lambda: hash(x), TypeError, "unhashable"),
    "iterate 0-d": (lambda: list(sft.soft(1.0)), TypeError, "iteration over a 0-dimensional SoftArray"),
    "len 0-d": (lambda: len(sft.soft(1.0)), TypeError, "len() of a 0-dimensional SoftArray"),
    "axis": (lambda: x.max(axis=1), ValueError, "axis 1 is out of bounds for an array of dimension 1"),
    "axis twice": (lambda: x.max(axis=(0, -1)), ValueError, "names an axis twice"),
    "empty": (lambda: sft.max(jnp.zeros(0)), ValueError, "max: expected at least one entry along the axis"),
    "top_k": (lambda: x.top_k(4), ValueError, "top_k: k must lie in 0 .. 3"),
    "q": (lambda: x.quantile(1.5), ValueError, "q must lie in [0, 1]; got 1.5"),
    "quantile method": (lambda: x.quantile(0.5, method="best"), ValueError, "method must be one of 'linear', 'lower'"),
    "no weights": (
        lambda: x.argsort(algorithm="fast_soft_sort"),
        ValueError,
        "'fast_soft_sort' has no weights over the entries, which an index is made of; those that do are 'softsort'",
    ),
    "no such mode": (lambda: x.sort(algorithm="smooth_sort", mode="c1"), ValueError, "'smooth_sort' has no mode 'c1'"),
    "index to float": (lambda: index == 1.0, TypeError, "a SoftIndex compares to integers or another SoftIndex"),
    "take floats": (lambda: sft.take(x, jnp.ones(3)), TypeError, "take: expected a SoftIndex or integers; got float32"),
    "at": (lambda: x.at[0].max(1.0), AttributeError, "has get, set, add"),
    "st without mode": (lambda: sft.st(jnp.sin), TypeError, "takes the keyword 'mode'"),
    "grad_replace": (lambda: sft.grad_replace(lambda x: x), TypeError, "takes the keyword 'forward'"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_the_error_says_the_way_out(mistake):
    program, kind, sentence = WRONG[mistake]
    with pytest.raises(kind, match=re.escape(sentence)):
        program()


def test_an_invalid_softness_is_refused_by_checkify_when_traced():
    from jax.experimental import checkify

    checked = checkify.checkify(lambda s: sft.soft(jnp.ones(2), s).validate().soft())
    error, _ = jax.jit(checked)(jnp.array(-1.0))
    with pytest.raises(checkify.JaxRuntimeError, match="a softness of at least 0"):
        error.throw()
