"""Shape annotations: `SoftBool["batch"]`, `SoftIndex["batch k [n]"]`, for jaxtyping and beartype.

An annotation is a class whose `isinstance` asks jaxtyping about the soft view, so that axis names bind together
with those of `Float[Array, "batch d"]` in the same signature.
"""

import re
from functools import cache
from typing import Any

INDEX_AXIS = re.compile(r"^(?P<batch>[^\[\]]*)\[(?P<n>[A-Za-z0-9_]+)\]\s*$")


class _Annotation(type):
    """`isinstance(value, annotation)`: the type, and then the shape with the axes bound so far."""

    kind: type
    shape: Any

    def __instancecheck__(cls, value) -> bool:
        return isinstance(value, cls.kind) and isinstance(value.soft(), cls.shape)

    def __repr__(cls) -> str:
        return f"<class '{cls.__name__}'>"


@cache
def shape_annotation(kind: type, dims: str) -> type:
    """The annotation `kind[dims]`.

    Raises:
        TypeError: if `dims` is no string.
        ValueError: if a SoftIndex names no index axis in brackets last, or another type names one.
    """
    from jaxtyping import Float

    if not isinstance(dims, str):
        raise TypeError(f'{kind.__name__}[...] takes a string of axis names such as "batch d"; got {dims!r}')
    name = f'{kind.__name__}["{dims}"]'
    return _Annotation(name, (), {"kind": kind, "shape": Float[Any, _soft_dims(kind.__name__, dims)]})


def _soft_dims(name: str, dims: str) -> str:
    match = INDEX_AXIS.match(dims)
    if name == "SoftIndex":
        if match is None:
            raise ValueError(f'SoftIndex["{dims}"]: the index axis must come last, in brackets, as in "batch [n]"')
        return f" {match['batch']} {match['n']}"
    if "[" in dims or "]" in dims:
        raise ValueError(f'{name}["{dims}"]: only a SoftIndex has an index axis in brackets')
    return f" {dims}"
