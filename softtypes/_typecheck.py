"""Runtime checks of annotations, put on at a function's first call so that importing stays quick."""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def typechecked(fn: Callable[P, R]) -> Callable[P, R]:
    """Check `fn`'s arguments and result against its annotations with jaxtyping and beartype."""
    checked = None

    @wraps(fn)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal checked
        if checked is None:
            from beartype import beartype
            from jaxtyping import jaxtyped

            checked = jaxtyped(fn, typechecker=beartype)
        try:
            return checked(*args, **kwargs)
        except TypeError as error:
            if not str(error).startswith(("too many positional", "missing a required", "got an unexpected")):
                raise
            raise TypeError(f"{fn.__name__}: {error}; it takes {signature(fn)}") from None

    return wrapper
