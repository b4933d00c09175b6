"""Shape annotations bind axes together with jaxtyping's; every public function is annotated and checked."""

import inspect
import os
import subprocess
import sys

import jax.numpy as jnp
import pytest
from beartype import beartype
from jaxtyping import Array, Float, TypeCheckError, jaxtyped

import softtypes as sft
from softtypes import SoftArray, SoftBool, SoftIndex

pytestmark = pytest.mark.core


@jaxtyped(typechecker=beartype)
def route(x: SoftArray["batch d"], keep: SoftBool["batch"], expert: SoftIndex["batch [d]"], w: Float[Array, " d"]):
    return x.shape


X, KEEP = sft.soft(jnp.ones((2, 3))), sft.soft(jnp.ones(2)) > 0.0
EXPERT, W = SoftIndex(jnp.full((2, 3), 1 / 3)), jnp.ones(3)


def test_shapes_that_agree_pass():
    assert route(X, KEEP, EXPERT, W) == (2, 3)


@pytest.mark.parametrize(
    "args",
    [
        (X, sft.soft(jnp.ones(4)) > 0.0, EXPERT, W),  # another batch
        (X, KEEP, SoftIndex(jnp.full((2, 4), 1 / 4)), W),  # another number of indices
        (X, KEEP, EXPERT, jnp.ones(4)),  # another d beside a jaxtyping annotation
        (X.ravel(), KEEP, EXPERT, W),  # another rank
        (jnp.ones((2, 3)), KEEP, EXPERT, W),  # a plain array
        (X, sft.soft(jnp.ones(2)), EXPERT, W),  # another type
    ],
)
def test_shapes_that_disagree_are_refused(args):
    with pytest.raises(TypeCheckError):
        route(*args)


def test_variadic_and_fixed_axes():
    @jaxtyped(typechecker=beartype)
    def f(x: SoftArray["*batch 3"], i: SoftIndex["*batch [n]"]):
        return True

    assert f(X, EXPERT)
    with pytest.raises(TypeCheckError):
        f(X, SoftIndex(jnp.full((5, 3), 1 / 3)))


@pytest.mark.parametrize(
    ("kind", "dims", "error", "sentence"),
    [
        (SoftIndex, "batch n", ValueError, "the index axis must come last, in brackets"),
        (SoftIndex, "[n] batch", ValueError, "must come last"),
        (SoftBool, "batch [n]", ValueError, "only a SoftIndex has an index axis"),
        (SoftArray, 3, TypeError, "takes a string of axis names"),
    ],
)
def test_a_bad_annotation_says_so(kind, dims, error, sentence):
    with pytest.raises(error, match=sentence):
        kind[dims]


def functions():
    public = {name: getattr(sft, name) for name in dir(sft) if not name.startswith("_")}
    return {name: fn for name, fn in public.items() if inspect.isfunction(fn)}


@pytest.mark.parametrize("name", functions())
def test_every_public_function_is_annotated_and_checked(name):
    fn = functions()[name]
    parameters = inspect.signature(fn).parameters.values()
    assert all(p.annotation is not inspect.Parameter.empty for p in parameters)
    assert inspect.signature(fn).return_annotation is not inspect.Signature.empty
    required = [p for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    with pytest.raises(TypeError):
        fn(*(object() for _ in required))


def test_jaxtyping_disable_switches_the_checks_off():
    program = "\n".join(
        [
            "import softtypes as sft",
            "try:",
            "    sft.relu([1.0])",
            "except TypeError as e:",
            "    print('parameter' in str(e))",
        ]
    )
    for disable, checked in (("0", "True"), ("1", "False")):
        env = os.environ | {"JAXTYPING_DISABLE": disable, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == checked
