"""Runtime checks of annotations, put on at a function's first call so that importing stays quick."""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")


def held_array(x: Any) -> Any:
    """The array that a parameter of a neural network library holds; anything else as it is."""
    return x.__jax_array__() if hasattr(x, "__jax_array__") and not isinstance(x, jax.Array) else x


def typechecked(fn: Callable[P, R]) -> Callable[P, R]:
    """Check `fn`'s arguments and result against its annotations with jaxtyping and beartype.

    A parameter of a neural network library reaches `fn` as the array that it holds.
    """
    checked: Callable[..., R] | None = None

    @wraps(fn)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal checked
        if checked is None:
            from beartype import beartype
            from jaxtyping import jaxtyped

            checked = jaxtyped(fn, typechecker=beartype)
        try:
            return checked(*map(held_array, args), **{name: held_array(x) for name, x in kwargs.items()})
        except TypeError as error:
            if not str(error).startswith(("too many positional", "missing a required", "got an unexpected")):
                raise
            raise TypeError(f"{fn.__name__}: {error}; it takes {signature(fn)}") from None

    return wrapper
