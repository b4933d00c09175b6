"""Values and gradients of the peer, softjax 0.1.1, in float64 (data/softjax_float64.json).

All cases are compared, some of them in tests marked exhaustive. What this library corrects is left out by rule, in
`corrected`.
"""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft

CASES = json.loads((Path(__file__).parent / "data" / "softjax_float64.json").read_text())["cases"]
LOGIC = ("all", "any", "logical_and", "logical_or", "logical_xor", "logical_not")
UNIVERSAL = ("sqrt", "log", "arcsin", "arccos", "div", "norm")
ELEMENTWISE = ("sigmoidal", "heaviside", "sign", "abs", "round", "softrelu", "relu", "clip")
COMPARISONS = ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")
EXTREMES = ("argmax", "argmin", "max", "min")
SORTING = ("sort", "argsort", "rank", "top_k", "quantile", "argquantile", "median", "argmedian")
ALGORITHMS = ("softsort", "neuralsort", "ot", "sorting_network", "fast_soft_sort", "smooth_sort")
MODES = ("smooth", "c0", "c1", "c2")
# compiled once and run once: what XLA would gain by optimising, it would not earn back
QUICK = {"xla_backend_optimization_level": 0}
TOLERANCE = {"ot": 1e-3, "smooth_sort": 1e-3}


def algorithm_of(case) -> str | None:
    if case["op"] not in EXTREMES + SORTING:
        return None
    return case["kwargs"].get("method", "softsort" if case["op"] in EXTREMES else "neuralsort")


def corrected(case) -> bool:
    """Where the peer is wrong."""
    kwargs, shape = case["kwargs"], np.shape(case["args"][0])
    axis = kwargs.get("axis")
    n = np.prod(shape) if axis is None else shape[axis]
    if algorithm_of(case) == "sorting_network":
        return n & (n - 1) != 0  # it pads, then drops columns: not doubly stochastic
    if case["op"] == "rank" and algorithm_of(case) == "neuralsort":
        return bool((np.asarray(case["value"]) == 0).any())  # an empty column of the weights gives rank 0
    return False


def ours(case):
    """Our function of the case's first argument, as a plain array."""
    op, kwargs = case["op"], dict(case["kwargs"])
    rest = case["args"][1:]
    if op in LOGIC:
        logic = "geometric" if kwargs.pop("use_geometric_mean", False) else "product"
        probs = lambda x: sft.SoftBool(jnp.asarray(x), logic=logic)
        if op in ("all", "any"):
            return lambda x: getattr(sft, op)(probs(x), **kwargs).probs
        return lambda x: getattr(sft, op)(probs(x), *map(probs, rest)).probs
    if algorithm_of(case):
        kwargs["algorithm"] = algorithm_of(case)
        kwargs.pop("method", None)
    if "quantile_method" in kwargs:
        kwargs["method"] = kwargs.pop("quantile_method")
    if op == "rank":
        kwargs.setdefault("descending", True)
    if op in ("sort", "argsort"):
        kwargs.setdefault("axis", None)
    rest = [jnp.asarray(a) for a in rest] + [kwargs.pop(name) for name in ("q", "k") if name in kwargs]
    out = lambda x: getattr(sft, op)(x, *rest, **kwargs)
    if op == "top_k":
        return lambda x: out(x)[0]
    return lambda x: plain(out(x))


def plain(out):
    return out if isinstance(out, jax.Array) else out.probs


def agree(cases, ours=ours):
    """Value of each case, and the gradient of a mixture of all cases of an input: one program, one way back."""
    cases = [case for case in cases if not corrected(case)]
    shares = 0.5 + np.random.default_rng(0).random(len(cases))
    inputs = {name_of_input(case): jnp.asarray(case["args"][0]) for case in cases}

    @functools.partial(jax.jit, compiler_options=QUICK)
    def found(inputs):
        values, pull = jax.vjp(lambda inputs: [ours(case)(inputs[name_of_input(case)]) for case in cases], inputs)
        return values, pull([share * cotangent(value) for share, value in zip(shares, values, strict=True)])[0]

    values, gradients = found(inputs)
    tolerance = max(TOLERANCE.get(algorithm_of(case), 1e-6) for case in cases)
    for case, value in zip(cases, values, strict=True):
        expected = case["value"][0] if case["op"] == "top_k" and len(case["value"]) == 2 else case["value"]
        expected = case["value"] if np.shape(expected) != value.shape else expected
        np.testing.assert_allclose(value, expected, atol=tolerance, err_msg=named(case))
    for name, gradient in gradients.items():
        its = [(share, case) for share, case in zip(shares, cases, strict=True) if name_of_input(case) == name]
        mixture = sum(share * np.array(case["grad"]) for share, case in its)
        np.testing.assert_allclose(gradient, mixture, atol=tolerance, err_msg="; ".join(named(case) for _, case in its))


def named(case) -> str:
    return str((case["op"], case["kwargs"]))


def name_of_input(case) -> str:
    return json.dumps(case["args"][0])


def cotangent(value):
    """The reference's."""
    return jnp.cos(jnp.arange(value.size, dtype=value.dtype)).reshape(value.shape)


@pytest.mark.parametrize("op", LOGIC + UNIVERSAL + ELEMENTWISE + COMPARISONS)
def test_value_and_gradient_are_the_peers(op, x64):
    cases = [case for case in CASES if case["op"] == op]
    assert cases
    agree(cases)


def some_of(algorithm, mode):
    return [case for case in CASES if algorithm_of(case) == algorithm and case["kwargs"].get("mode") == mode]


EVERYDAY = [("neuralsort", "smooth"), ("fast_soft_sort", "c0")]
PAIRS = [(algorithm, mode) for algorithm in ALGORITHMS for mode in MODES if some_of(algorithm, mode)]


@pytest.mark.parametrize(("algorithm", "mode"), [pair for pair in PAIRS if pair in EVERYDAY])
def test_an_ordering_case_of_each_operator_is_the_peers(algorithm, mode, x64):
    agree({case["op"]: case for case in reversed(some_of(algorithm, mode))}.values())


def kind_of(case):
    """Cases of one kind share a program."""
    return case["kwargs"].get("standardize", True), np.shape(case["args"][0])


def is_looked_at(algorithm, mode, standardize, shape):
    """Mode "smooth" on rows, on a longer one and as the data are; others, which differ in the projection, on rows."""
    if algorithm == "ot":
        return mode in ("smooth", "c1") and shape == (4,)
    if mode == "smooth":
        return (standardize, shape) in ((True, (3, 4)), (True, (7,)), (False, (4,)))
    modes = ("c0", "c2") if algorithm in ("softsort", "fast_soft_sort") else ("c0",)
    return mode in modes and (standardize, shape) == (True, (3, 4))


GROUPS = [
    pytest.param(
        *pair,
        *kind,
        id="-".join(map(str, (*pair, *kind))),
        marks=() if is_looked_at(*pair, *kind) else pytest.mark.exhaustive,
    )
    for pair in PAIRS
    for kind in dict.fromkeys(map(kind_of, some_of(*pair)))
]


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "mode", "standardize", "shape"), GROUPS)
def test_every_ordering_case_is_the_peers(algorithm, mode, standardize, shape, x64):
    agree([case for case in some_of(algorithm, mode) if kind_of(case) == (standardize, shape)])


def test_every_case_is_compared():
    named = {case["op"] for case in CASES if algorithm_of(case) is None}
    assert named == set(LOGIC + UNIVERSAL + ELEMENTWISE + COMPARISONS)
    assert sum(len(some_of(*pair)) for pair in PAIRS) == sum(algorithm_of(case) is not None for case in CASES)
    assert sum(map(corrected, CASES)) == 2
