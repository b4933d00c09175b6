"""Values and gradients of the peer, softjax 0.1.1, in float64 (data/softjax_float64.json)."""

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
    if op in EXTREMES:
        kwargs.pop("method", None)
    rest = [jnp.asarray(a) for a in rest]
    out = lambda x: getattr(sft, op)(x, *rest, **kwargs)
    return out if op in UNIVERSAL + ELEMENTWISE + ("max", "min") else lambda x: out(x).probs


def built(case):
    op = case["op"]
    known = op in LOGIC + UNIVERSAL + ELEMENTWISE + COMPARISONS
    return known or (op in EXTREMES and case["kwargs"].get("method", "softsort") == "softsort")


@pytest.mark.parametrize("op", LOGIC + UNIVERSAL + ELEMENTWISE + COMPARISONS + EXTREMES)
def test_value_and_gradient_are_the_peers(op, x64):
    cases = [case for case in CASES if case["op"] == op and built(case)]
    assert cases
    for case in cases:
        value, pull = jax.vjp(ours(case), jnp.asarray(case["args"][0]))
        cotangent = jnp.cos(jnp.arange(value.size, dtype=value.dtype)).reshape(value.shape)
        np.testing.assert_allclose(value, case["value"], atol=1e-6, err_msg=str(case["kwargs"]))
        np.testing.assert_allclose(pull(cotangent)[0], case["grad"], atol=1e-6, err_msg=str(case["kwargs"]))
