"""Shape annotations bind axes together with jaxtyping's; every public function is annotated and checked."""

import inspect
import os
import subprocess
import sys

import jax
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


# Together with jaxtyping


def test_axes_are_shared_with_the_result():
    @jaxtyped(typechecker=beartype)
    def f(x: SoftArray["batch d"], wrong: bool) -> Float[Array, " batch"]:
        return x.soft()[0] if wrong else x.soft()[:, 0]

    assert f(X, False).shape == (2,)
    with pytest.raises(TypeCheckError, match="return value"):
        f(X, True)


def test_axes_bound_by_jaxtyping_first_hold_for_soft_values():
    @jaxtyped(typechecker=beartype)
    def f(w: Float[Array, "batch d"], x: SoftArray["d"], b: SoftBool["batch"], i: SoftIndex["batch [d]"]):
        return True

    w, x, b, i = jnp.ones((2, 3)), sft.soft(jnp.ones(3)), KEEP, EXPERT
    assert f(w, x, b, i)
    for wrong in (
        (w, sft.soft(jnp.ones(2)), b, i),
        (w, x, sft.SoftBool(jnp.ones(3)), i),
        (w, x, b, SoftIndex(jnp.full((3, 3), 1 / 3))),
        (w, x, b, SoftIndex(jnp.full((2, 2), 1 / 2))),
        (w, x, b, SoftIndex(jnp.full((2, 3, 3), 1 / 3))),
    ):
        with pytest.raises(TypeCheckError):
            f(*wrong)


@pytest.mark.parametrize(
    ("annotation", "accepted", "refused"),
    [
        (SoftArray[""], sft.soft(1.0), X),
        (SoftArray["2 3"], X, sft.soft(jnp.ones((3, 2)))),
        (SoftArray["... 3"], X, sft.soft(jnp.ones((3, 2)))),
        (SoftArray["n n"], sft.soft(jnp.ones((2, 2))), X),
        (SoftArray["n n+1"], X, sft.soft(jnp.ones((2, 2)))),
        (SoftArray["_ 3"], X, sft.soft(jnp.ones((2, 2)))),
        (SoftArray["#n 3"], X, KEEP),
        (SoftBool["2"], KEEP, sft.soft(jnp.ones(2))),
        (SoftIndex["[3]"], EXPERT[0], EXPERT),
        (SoftIndex["2 [n]"], EXPERT, EXPERT[0]),
        (SoftIndex["*batch [3]"], EXPERT, SoftIndex(jnp.full((2, 4), 1 / 4))),
        (SoftArray["n"] | Float[Array, " n"], jnp.ones(2), KEEP),
        (SoftArray["n"] | None, None, KEEP),
    ],
    ids=str,
)
def test_the_language_of_shapes_is_jaxtypings(annotation, accepted, refused):
    @jaxtyped(typechecker=beartype)
    def f(x: annotation):
        return True

    assert f(accepted)
    with pytest.raises(TypeCheckError):
        f(refused)


def test_dtypes_of_the_quantity_do_not_matter_and_shapes_do():
    @jaxtyped(typechecker=beartype)
    def f(x: SoftArray["n"]):
        return True

    for x in (jnp.arange(3), jnp.ones(3, jnp.bfloat16), jnp.array([True, False])):
        assert f(sft.soft(x))


def test_annotations_are_checked_while_tracing():
    assert jax.jit(route)(X, KEEP, EXPERT, W) == (2, 3)
    with pytest.raises(TypeCheckError):
        jax.jit(route)(X, KEEP, EXPERT, jnp.ones(4))
    rows = jax.vmap(lambda x: (check_row(x), x.sum().soft())[1])(X)
    assert rows.shape == (2,)


@jaxtyped(typechecker=beartype)
def check_row(x: SoftArray["3"]):
    return None


def test_the_same_annotation_is_the_same_class_and_shows_itself():
    assert SoftArray["batch d"] is SoftArray["batch d"]
    assert 'SoftIndex["batch [n]"]' in repr(SoftIndex["batch [n]"])


def test_the_functions_name_themselves_where_the_checks_are_off():
    program = f"""
import inspect, softtypes as sft
for name in {sorted(set(functions()) - {"st", "grad_replace", "lift", "soft"})}:
    fn = getattr(sft, name)
    parameters = inspect.signature(fn).parameters.values()
    required = [p for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    try:
        fn(*([1.0, 2.0] for _ in required))
    except ValueError if name == "dynamic_slice" else TypeError as error:  # lists of another length than the axes
        if not str(error).startswith(name + ": "):
            print(name, error)
    else:
        print(name, "accepts a list")
"""
    env = os.environ | {"JAXTYPING_DISABLE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == ""
