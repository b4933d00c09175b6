"""A wrong program gives the right sentence: expected, got, way out."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft

pytestmark = pytest.mark.core

x = sft.soft(jnp.array([-1.0, 0.5, 2.0]))
index = x.argmax()
batch = sft.SoftIndex(jnp.full((2, 3), 1 / 3))

# a newer jax asks the value, jax 0.8 speaks of its type
CONVERSION = (
    "has two views and does not turn into an array by itself: take .soft() (the relaxation)",
    "convert it with .soft(), .hard() or .st()",
)


def leniently(fn):
    """jax 0.8 promotes the dtypes of both views before it sees that this is no array."""

    def run(value):
        with jax.numpy_dtype_promotion("standard"):
            return fn(value)

    return run


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
    "or": (lambda: (x > 0.0) or (x < 1.0), TypeError, "choose values with cond.where(x, y) or sft.where"),
    "not": (lambda: not (x > 0.0), TypeError, "`|` and `~`"),
    "in": (lambda: 0.5 in x, TypeError, "the truth value of a SoftArray is not defined"),
    "if index": (lambda: 1 if index else 2, TypeError, "the truth value of a SoftIndex is not defined"),
    "chained": (lambda: 0.0 < x < 1.0, TypeError, "chained comparisons"),
    "float()": (lambda: float(sft.soft(1.0)), TypeError, "use .hard() outside jit"),
    "int()": (lambda: int(sft.soft(1.0)), TypeError, "a SoftArray is no Python number: use .hard() outside jit"),
    "range": (lambda: range(index), TypeError, "a SoftIndex is no Python number"),
    "list index": (lambda: [1, 2, 3][index], TypeError, "x[index] with a SoftIndex on a SoftArray"),
    "index axis indexed": (lambda: index[0], IndexError, "axis 0 of a SoftIndex of shape () does not exist"),
    "index axis reshaped": (
        lambda: sft.SoftIndex(jnp.full((2, 3), 1 / 3)).reshape(6),
        TypeError,
        "the axis over its 3 indices is no axis of it",
    ),
    "index axis sliced": (
        lambda: batch[:, 0],
        IndexError,
        "axis 1 of a SoftIndex of shape (2,) does not exist: the axis over the 3 indices is no axis of it, and can't "
        "be indexed, reduced or reshaped; use .probs for the array, .take(x) or x[index] to select",
    ),
    "index axis squeezed": (lambda: batch.squeeze(1), ValueError, "the axis over its 3 indices is no axis of it"),
    "index axis transposed": (lambda: batch.transpose(1, 0), ValueError, "use .probs for the array"),
    "index axis swapped": (lambda: batch.swapaxes(0, 1), IndexError, "use .probs for the array"),
    "index of an index": (
        lambda: batch[index],
        TypeError,
        "only a SoftArray can be indexed by one; use sft.soft(x)[index]",
    ),
    "index of a plain array": (lambda: np.ones(3)[index], TypeError, "SoftIndex has two views"),
    "wrong trailing axis": (lambda: jnp.ones((3, 2)) @ x.argmax(), TypeError, "SoftIndex"),
    "trailing axis of x[index]": (
        lambda: sft.soft(jnp.ones((3, 4)))[:, index],
        ValueError,
        "a SoftIndex over 3 indices cannot select along axis 1, which has size 4",
    ),
    "trailing axis of where": (
        lambda: sft.SoftBool(0.5).where(index, sft.SoftIndex(jnp.array([0.5, 0.5]))),
        ValueError,
        "must range over as many indices; got 3 and 2",
    ),
    "trailing axis of choose": (
        lambda: sft.choose(index, [1.0, 2.0]),
        ValueError,
        "choose: a SoftIndex over 3 indices cannot select along the choices, which has size 2",
    ),
    "trailing axis of a slice": (
        lambda: sft.dynamic_slice_in_dim(jnp.ones(4), index, 2),
        ValueError,
        "dynamic_slice_in_dim: a SoftIndex over 3 indices cannot select along axis 0, which has size 4",
    ),
    "slice too long": (
        lambda: sft.dynamic_slice_in_dim(jnp.ones(3), index, 4),
        ValueError,
        "slice_size must lie in 0 .. 3, the size of axis 0; got 4",
    ),
    "many starts": (
        lambda: sft.dynamic_index_in_dim(jnp.ones((2, 3)), batch),
        ValueError,
        "expected a SoftIndex of shape (); got (2,); use sft.take for many",
    ),
    "axes of take_along_axis": (
        lambda: sft.take_along_axis(jnp.ones((2, 3)), batch, 1),
        ValueError,
        "expected a SoftIndex of as many axes as arr, 2; got shape (2,)",
    ),
    "too many indices": (lambda: x[index, 0], IndexError, "SoftArray is 1-dimensional, but 2 were indexed"),
    "two ellipses": (lambda: x[..., index, ...], IndexError, "single ellipsis"),
    "static index out of range": (
        lambda: sft.soft(jnp.ones((2, 3)))[2, index],
        IndexError,
        "index 2 is out of bounds for axis 0 with size 2",
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
    "mode mismatch of functions": (
        lambda: sft.maximum(x, sft.soft(1.0, mode="c1")),
        ValueError,
        "of different mode cannot be combined: 'smooth' and 'c1'; bring one over with sft.soft(value, relaxation)",
    ),
    "algorithm mismatch": (
        lambda: x > sft.soft(1.0, algorithm="softsort"),
        ValueError,
        "of different algorithm cannot be combined: None and 'softsort'",
    ),
    "standardize mismatch": (
        lambda: x.where(True, sft.soft(jnp.ones(3), standardize=False)),
        ValueError,
        "of different standardize cannot be combined: True and False",
    ),
    "logic mismatch of functions": (
        lambda: sft.logical_or(sft.SoftBool(0.5, logic="godel"), sft.SoftBool(0.5)),
        ValueError,
        "two SoftBools of different logic cannot be combined: 'godel' and 'product'; say which one you mean",
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
    "keyword of a method": (lambda: x.relu(temperature=1.0), TypeError, "unknown relaxation keyword 'temperature'"),
    "flag": (lambda: sft.relu(1.0, gated="yes"), ValueError, "gated must be one of True, False; got 'yes'"),
    "relaxation": (lambda: sft.relu(1.0, relaxation=0.1), TypeError, "relaxation must be a Relaxation; got 0.1"),
    "softness None": (
        lambda: sft.relu(1.0, softness=None),
        TypeError,
        "softness must be a real number or a real array",
    ),
    "softness complex": (lambda: sft.relu(1.0, softness=1j), TypeError, "got 1j of type complex"),
    "softness array nan": (lambda: sft.soft(1.0, jnp.array(jnp.nan)), ValueError, "finite and at least 0"),
    "softness bool array": (lambda: sft.soft(1.0, jnp.array(True)), TypeError, "softness must be a real number"),
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
    "jnp.exp": (lambda: jnp.exp(x > 0.0), TypeError, "convert it with .soft(), .hard() or .st()"),
    "jnp.where": (lambda: jnp.where(x > 0.0, 1.0, 2.0), TypeError, "convert it with .soft(), .hard() or .st()"),
    "jnp.stack": (lambda: jnp.stack([x, x]), TypeError, "convert it with .soft(), .hard() or .st()"),
    "jnp.array of a list": (lambda: jnp.array([x, x]), TypeError, CONVERSION),
    "jnp.asarray of a SoftArray": (lambda: jnp.asarray(x), TypeError, CONVERSION),
    "np.exp": (lambda: np.exp(x), TypeError, "operand 'SoftArray' does not support ufuncs"),
    "np.array of a list": (lambda: np.array([x, x]), TypeError, "take .soft() (the relaxation)"),
    "np.sum": (lambda: np.sum(x), TypeError, "numpy.sum: SoftArray has two views and does not turn into an array"),
    "np.linalg.norm": (lambda: np.linalg.norm(x), TypeError, "numpy.linalg.norm: SoftArray has two views"),
    "np.asarray": (
        lambda: np.asarray(x),
        TypeError,
        "take .soft() (the relaxation), .hard() (the exact value) or .st()",
    ),
    "jnp.asarray of a SoftBool": (lambda: leniently(jnp.asarray)(x > 0.0), TypeError, CONVERSION),
    "jnp.asarray of a SoftIndex": (lambda: leniently(jnp.asarray)(index), TypeError, CONVERSION),
    "soft mask": (lambda: x[x > 0.0], TypeError, "a soft mask has no definite size"),
    "float index": (lambda: x[x], TypeError, "an index is a SoftIndex"),
    "array times bool": (lambda: x * (x > 0.0), TypeError, "a SoftBool selects with cond.where(x, y)"),
    "bool plus bool": (lambda: (x > 0.0) + (x > 1.0), TypeError, "unsupported operand"),
    "index plus int": (lambda: index + 1, TypeError, "unsupported operand"),
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
    "axis of a function": (lambda: sft.norm(jnp.ones(3), axis=1), ValueError, "axis 1 is out of bounds"),
    "axis of all": (lambda: (x > 0.0).all(-2), ValueError, "axis -2 is out of bounds for an array of dimension 1"),
    "axis of sum": (lambda: x.sum(3), ValueError, "axis 3 is out of bounds for an array of dimension 1"),
    "axis of take": (lambda: sft.take(jnp.ones(3), index, axis=1), ValueError, "take: axis 1 is out of bounds"),
    "axis of a slice": (
        lambda: sft.dynamic_slice_in_dim(jnp.ones(3), index, 1, 2),
        ValueError,
        "axis 2 is out of bounds",
    ),
    "empty argmax": (
        lambda: sft.argmax(jnp.zeros(0)),
        ValueError,
        "argmax: expected at least one entry along the axis",
    ),
    "empty min": (lambda: sft.soft(jnp.zeros((2, 0))).min(1), ValueError, "min: expected at least one entry"),
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
    sentences = (sentence,) if isinstance(sentence, str) else sentence
    with pytest.raises(kind, match="|".join(map(re.escape, sentences))):
        program()


def test_an_invalid_softness_is_refused_by_checkify_when_traced():
    from jax.experimental import checkify

    checked = checkify.checkify(lambda s: sft.soft(jnp.ones(2), s).validate().soft())
    error, _ = jax.jit(checked)(jnp.array(-1.0))
    with pytest.raises(checkify.JaxRuntimeError, match="a softness of at least 0"):
        error.throw()


# Functions of numpy

REDUCTIONS = ("sum", "mean", "prod", "var", "std", "max", "min", "median", "argmax", "argmin", "cumsum", "cumprod")
SHAPES = ("transpose", "ravel", "squeeze", "reshape", "repeat")
METHODS = {
    "SoftArray": (*REDUCTIONS, *SHAPES, "sort", "argsort", "clip", "round"),
    "SoftBool": ("all", "any", "sum", "mean", *SHAPES),
    "SoftIndex": SHAPES,
}
OTHERS = ("nonzero", "unique", "sinc", "array_equal", "allclose", "trace", "count_nonzero", "argwhere")


@pytest.mark.parametrize("value", [x, x > 0.0, index], ids=METHODS)
def test_a_function_of_numpy_is_refused_by_name_with_the_way_out(value):
    kind = type(value).__name__
    rest = {"clip": (0, 1), "reshape": (3,), "repeat": (2,), "array_equal": (value,), "allclose": (value,)}
    views = "take .soft() (the relaxation), .hard() (the exact value) or .st() (the exact value with the gradient of "
    for name in (*METHODS[kind], *OTHERS):
        with pytest.raises(TypeError) as refusal:
            getattr(np, name)(value, *rest.get(name, ()))
        assert str(refusal.value).startswith(f"numpy.{name}: {kind} has two views and does not turn into an array")
        assert views in str(refusal.value)
        assert (f"or use its own method .{name}(...)" in str(refusal.value)) == (name in METHODS[kind])
    for several in (np.stack, np.concatenate):
        with pytest.raises(TypeError, match=rf"numpy\.{several.__name__}: {kind} has two views"):
            several([value, value])
    assert np.shape(value) == value.shape
    assert np.ndim(value) == value.ndim
    assert np.size(value) == value.size


# Every public function

FUNCTIONS = {name: fn for name, fn in vars(sft).items() if inspect.isfunction(fn) and name[0] != "_"}
RELAXED = [name for name, fn in FUNCTIONS.items() if "relaxation" in inspect.signature(fn).parameters]


def required(name):
    parameters = inspect.signature(FUNCTIONS[name]).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]


def test_the_tables_are_not_empty():
    assert len(FUNCTIONS) > 50
    assert len(RELAXED) > 30


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_list_is_refused_by_the_name_of_its_argument(name):
    first, *rest = required(name)
    with pytest.raises(TypeError, match=rf"(?s){name}.*parameter '{first}'"):
        FUNCTIONS[name]([1.0, 2.0], *(1 for _ in rest))


@pytest.mark.parametrize("name", RELAXED)
def test_an_unknown_keyword_is_named_and_the_known_ones_listed(name):
    args = {"q": 0.5, "k": 1, "values": jnp.ones(3)}
    values = [args.get(arg, jnp.ones(3)) for arg in required(name)]
    listed = "softness, mode, algorithm, logic, standardize, gated, gated_grad, relaxation"
    with pytest.raises(TypeError, match=f"unknown relaxation keyword 'sofness'; the keywords are {listed}"):
        FUNCTIONS[name](*values, sofness=1.0)
    with pytest.raises(ValueError, match="mode must be one of 'hard', 'smooth', 'c0', 'c1', 'c2'; got 'c9'"):
        FUNCTIONS[name](*values, mode="c9")
    with pytest.raises(ValueError, match="softness must be finite and at least 0"):
        FUNCTIONS[name](*values, softness=-1.0)
