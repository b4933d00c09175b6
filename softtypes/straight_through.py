"""Decorators: straight-through estimation of whole functions, and smooth functions on both views."""

import inspect
from collections.abc import Callable
from functools import reduce, wraps
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from softtypes._relaxation import merge
from softtypes._typecheck import typechecked
from softtypes.surrogates.straight_through import straight_through
from softtypes.types.base import SoftValue
from softtypes.types.soft_array import SoftArray

Fn = TypeVar("Fn", bound=Callable)


def _replace(hard: Any, soft: Any) -> Any:
    """Leaf by leaf, the hard value with the derivative of the soft one; leaves that have none stay as they are."""

    def leaf(h, s):
        if h is None or s is None:
            return h
        h, s = jnp.asarray(h), jnp.asarray(s)
        if not jnp.issubdtype(s.dtype, jnp.floating):
            return h
        return straight_through(jnp.broadcast_to(h, s.shape).astype(s.dtype), s)

    return jax.tree.map(leaf, hard, soft, is_leaf=lambda x: x is None)


@typechecked
def st(fn: Callable) -> Callable:
    """Straight-through: `fn` in mode "hard" forward, the derivative of `fn` in the mode asked for backward.

    Put it on a function of the whole expression, not on its factors: the gradient of a product of straight-through
    factors is that of neither view. On soft values `.st()` does the same without a decorator.

    Args:
        fn: a function with a `mode` keyword, "smooth" where it has no default, that returns arrays.

    Returns:
        A function of the same signature.

    Raises:
        TypeError: if fn takes no `mode` keyword.

    Source: Bengio, Leonard, Courville (2013).

    Examples:
        >>> import jax, softtypes as sft
        >>> hinge = sft.st(lambda x, mode="smooth": sft.relu(x, mode=mode) ** 2)
        >>> float(hinge(-0.1)), float(jax.grad(hinge)(-0.1)) > 0
        (0.0, True)
    """
    default = _keyword_default(fn, "mode", "st")
    default = "smooth" if default is inspect.Parameter.empty else default
    names = list(inspect.signature(fn).parameters)
    place = names.index("mode") if "mode" in names else len(names)

    @wraps(fn)
    def wrapper(*args, **kwargs):
        if len(args) > place:  # the mode was given by position
            args, kwargs = args[:place], kwargs | dict(zip(names[place:], args[place:], strict=False))
        mode = kwargs.pop("mode", default)
        hard = fn(*args, **kwargs, mode="hard")
        return hard if mode == "hard" else _replace(hard, fn(*args, **kwargs, mode=mode))

    return wrapper


@typechecked
def grad_replace(fn: Callable) -> Callable:
    """The value of `fn(..., forward=True)` with the derivative of `fn(..., forward=False)`.

    Args:
        fn: a function with a `forward` keyword, that returns arrays.

    Returns:
        The function without that keyword.

    Raises:
        TypeError: if fn takes no `forward` keyword.

    Examples:
        >>> import jax, jax.numpy as jnp, softtypes as sft
        >>> step = sft.grad_replace(lambda x, forward: jnp.sign(x) if forward else jnp.tanh(x))
        >>> float(step(0.5)), float(jax.grad(step)(0.0))
        (1.0, 1.0)
    """
    _keyword_default(fn, "forward", "grad_replace")

    @wraps(fn)
    def wrapper(*args, **kwargs):
        return _replace(fn(*args, forward=True, **kwargs), fn(*args, forward=False, **kwargs))

    return wrapper


def _keyword_default(fn: Callable, name: str, decorator: str):
    """The default of a keyword that fn must take."""
    parameters = inspect.signature(fn).parameters
    if name in parameters and parameters[name].kind is not inspect.Parameter.POSITIONAL_ONLY:
        return parameters[name].default
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return inspect.Parameter.empty
    shown = getattr(fn, "__name__", repr(fn))
    raise TypeError(f"{decorator}: expected a function that takes the keyword {name!r}; {shown} does not")


@typechecked
def lift(fn: Callable) -> Callable:
    """Apply a smooth array function to both views of its soft arguments.

    Args:
        fn: a function of arrays, or of pytrees of arrays, that is differentiable as it stands: `jnp.sin`, a layer.

    Returns:
        A function that takes soft values in the place of arrays (a SoftBool as its probability, a SoftIndex as its
        distribution, exact ones in the hard view) and returns SoftArrays in the place of arrays. Without a soft
        argument it is fn.

    Raises:
        ValueError: if the relaxations of two SoftArrays do not agree in their settings.

    Examples:
        >>> import jax.numpy as jnp, softtypes as sft
        >>> sft.lift(jnp.exp)(sft.soft(0.0) > 1.0).hard()
        Array(1., dtype=float32)
    """

    @wraps(fn)
    def wrapper(*args, **kwargs):
        leaves, tree = jax.tree.flatten((args, kwargs), is_leaf=_is_soft)
        soft_values = [leaf for leaf in leaves if _is_soft(leaf)]
        if not soft_values:
            return fn(*args, **kwargs)
        carried = reduce(merge, (v._relaxation for v in soft_values if isinstance(v, SoftArray)), None)
        carried = carried and carried._softest()  # fn may have moved elements anywhere

        def run(view: Callable):
            args, kwargs = jax.tree.unflatten(tree, [view(leaf) if _is_soft(leaf) else leaf for leaf in leaves])
            return fn(*args, **kwargs)

        soft, hard = run(lambda v: v.soft()), run(_hard_like)
        return jax.tree.map(lambda s, h: SoftArray._rebuild(s, h, carried), soft, hard)

    return wrapper


def _is_soft(x: Any) -> bool:
    return isinstance(x, SoftValue)


def _hard_like(value: SoftValue):
    """The hard view in the shape of the soft one; Booleans and indices in its dtype."""
    if isinstance(value, SoftArray):
        return value.hard()
    return value._hard_as_soft().astype(value.soft().dtype)
