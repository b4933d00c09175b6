"""`soften`: a program of plain arrays, relaxed without being rewritten."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import jaxpr_as_fun

from softtypes._relaxation import DEFAULT, Relaxation, resolve
from softtypes._typecheck import typechecked
from softtypes.softening.interpret import evaluate
from softtypes.softening.sites import Plan, Recorder, Report, plan
from softtypes.softening.values import Smooth, Value, is_soft, soft
from softtypes.surrogates.straight_through import straight_through as with_gradient_of

Selectors = Any


def _planned(softness, mode, options: Mapping, only, skip, overrides, unroll) -> Plan:
    base = DEFAULT
    if isinstance(softness, Relaxation):
        base, softness = softness, None
    knobs = {name: x for name, x in (("softness", softness), ("mode", mode)) if x is not None}
    return plan(resolve(knobs | dict(options), base), only, skip, overrides, unroll)


class _Program:
    """A function traced on arguments: its equations, its inputs, and the structure of its results."""

    def __init__(self, fn: Callable, args, kwargs):
        leaves, tree = jax.tree.flatten((args, kwargs))
        traced = [i for i, leaf in enumerate(leaves) if _is_traced(leaf)]
        self.inputs = [leaves[i] for i in traced]

        def flat(*arrays):
            known = dict(zip(traced, arrays, strict=True))
            args, kwargs = jax.tree.unflatten(tree, [known.get(i, leaf) for i, leaf in enumerate(leaves)])
            return fn(*args, **kwargs)

        self.closed, shapes = jax.make_jaxpr(flat, return_shape=True)(*self.inputs)
        self.tree = jax.tree.structure(shapes)

    def relaxed(self, inputs, asked: Plan, record: Recorder) -> list[Value]:
        """The results with their soft views."""
        return evaluate(self.closed, list(map(_input, inputs)), asked, record)

    def exact(self) -> Sequence[Array]:
        """The results of the program itself."""
        return jaxpr_as_fun(self.closed)(*map(jax.lax.stop_gradient, self.inputs))


def _is_traced(leaf) -> bool:
    """Arrays and floats are inputs; Python's integers, Booleans and all else are static."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | float | complex) or hasattr(leaf, "__jax_array__")


def _input(x) -> Value:
    return Smooth(jnp.asarray(x)) if jnp.issubdtype(jnp.result_type(x), jnp.inexact) else x


def _checked(fn, name: str) -> None:
    if not callable(fn):
        raise TypeError(f"{name}: expected a function; got {type(fn).__name__}")


@typechecked
def soften(
    fn: Callable,
    softness: Any = None,
    mode: str | None = None,
    straight_through: bool = False,
    *,
    only: Selectors = (),
    skip: Selectors = (),
    overrides: Mapping | None = None,
    unroll: int | None = None,
    **options: Any,
) -> Callable:
    """A function of plain arrays in which each step that is not differentiable has been relaxed.

    It is to relaxation what `jax.grad` is to derivatives: `fn` is not rewritten. Comparisons become probabilities,
    `argmax` and `sort` distributions over indices, and what consumes them, mixtures and expected values, as the types
    of this library have it. Only what depends on a float that is an input, or traced, is relaxed. Operators of this
    library in it, and functions softened before, stay as they are.

    Args:
        fn: a function that JAX can trace.
        softness: how soft; 0.1 by default; or a `Relaxation` that says everything.
        mode: the smoothness; "smooth" by default.
        straight_through: whether the value is that of `fn`, exactly, and only the derivative is that of the relaxation.
        only: the sites to relax: a selector or several, all sites by default. A selector is a primitive (`"lt"`), a
            name scope (`"guard"`), a function (`"reward"`), a source line (`"file.py:12"`, `"file.py:12-20"`), or a
            function of a `Site` of the report.
        skip: the sites to leave hard, likewise.
        overrides: `{selector: softness}`, or `{selector: {knob: value}}`, for sites that relax otherwise.
        unroll: how many steps at most a `while_loop` with a soft condition takes.
        **options: the other knobs of `Relaxation`.

    Returns:
        A function of the signature of `fn`. Its results have the structure of those of `fn`; those that depend on a
        relaxed step are floats: of a Boolean its probability, of an integer its mean. With `straight_through` they
        are those of `fn`.

    Raises:
        TypeError: if fn is no function, or a selector or knob is unknown.
        ValueError: if a knob has no such choice; when called, for a `while_loop` with a soft condition and no `unroll`.

    Examples:
        >>> import jax, jax.numpy as jnp, softtypes as sft
        >>> step = lambda x: jnp.where(x > 1.0, 1.0, 0.0)
        >>> float(sft.soften(step)(1.0))
        0.5
        >>> exact = sft.soften(step, straight_through=True)
        >>> float(exact(1.1)), bool(jax.grad(exact)(1.1) > 0)
        (1.0, True)
    """
    _checked(fn, "soften")
    asked = _planned(softness, mode, options, only, skip, overrides, unroll)

    @wraps(fn, updated=())
    def softened(*args, **kwargs):
        program = _Program(fn, args, kwargs)
        out = program.relaxed(program.inputs, asked, Recorder())
        if straight_through:
            out = [_exact_forward(x, y) for x, y in zip(out, program.exact(), strict=True)]
        else:
            out = [jnp.asarray(soft(x)) for x in out]
        return jax.tree.unflatten(program.tree, out)

    return softened


def _exact_forward(x: Value, exact: Array) -> Array:
    if not (is_soft(x) and jnp.issubdtype(exact.dtype, jnp.inexact)):
        return exact
    return with_gradient_of(exact, soft(x).astype(exact.dtype))


@typechecked
def report(
    fn: Callable,
    softness: Any = None,
    mode: str | None = None,
    straight_through: bool = False,
    *,
    only: Selectors = (),
    skip: Selectors = (),
    overrides: Mapping | None = None,
    unroll: int | None = None,
    **options: Any,
) -> Callable[..., Report]:
    """What `soften` with the same arguments makes of each site of `fn`: a function of the arguments of `fn`.

    Nothing is computed. The report is a list of `Site`s, and prints as a table.
    """
    _checked(fn, "soften.report")
    asked = _planned(softness, mode, options, only, skip, overrides, unroll)

    @wraps(fn, updated=())
    def reported(*args, **kwargs):
        program, record = _Program(fn, args, kwargs), Recorder()

        def run(*inputs):
            program.relaxed(inputs, asked, record)

        jax.eval_shape(run, *program.inputs)
        return record.report()

    return reported


setattr(soften, "report", report)  # noqa: B010  # `sft.soften.report(f)(*args)`
