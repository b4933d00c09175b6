"""`x[...]` with one or several SoftIndex among integers, slices, None and `...`, laid out as numpy would."""

import operator
from typing import Any

import jax.numpy as jnp
import numpy as np

from softtypes._lift import Views
from softtypes.rules.selection import joint
from softtypes.types.base import ARRAYS, KINDS, SoftValue, check_static_key


def select(x: Views, parts: tuple) -> Views:
    """Both views of `x[parts]`: the expected value, and numpy's advanced indexing by the hard indices."""
    parts = _expanded(parts, x.soft.ndim)
    hard = x.hard[tuple(part.hard() if isinstance(part, SoftValue) else part for part in parts)]
    return Views(_expected(x.soft, parts), hard)


def _expanded(parts: tuple, ndim: int) -> tuple:
    """The key with `...` written out, so that every axis has its entry."""
    for part in parts:
        if not isinstance(part, KINDS["SoftIndex"]):
            check_static_key("SoftArray", part)
    used = sum(part is not None and part is not Ellipsis for part in parts)
    if used > ndim:
        raise IndexError(f"too many indices: SoftArray is {ndim}-dimensional, but {used} were indexed")
    dots = [i for i, part in enumerate(parts) if part is Ellipsis]
    if len(dots) > 1:
        raise IndexError("an index can only have a single ellipsis (...)")
    at = dots[0] if dots else len(parts)
    return (*parts[:at], *[slice(None)] * (ndim - used), *parts[at + len(dots) :])


def _expected(x, parts: tuple):
    """Basic indexing first, then the joint selection along the axes that are left for the distributions."""
    advanced = [i for i, part in enumerate(parts) if not (part is None or isinstance(part, slice))]
    adjacent = advanced[-1] - advanced[0] == len(advanced) - 1
    basic, axes, probs, kept = [], [], [], 0
    front = None
    source = 0
    for i, part in enumerate(parts):
        if i == advanced[0] and adjacent:
            front = kept
        if part is None:
            basic.append(None)
            kept += 1
            continue
        if isinstance(part, slice):
            basic.append(part)
            kept += 1
        elif isinstance(part, (int, np.integer)) and not isinstance(part, bool):
            basic.append(_in_range(operator.index(part), x.shape[source], source))
        else:
            basic.append(slice(None))
            axes.append(kept + len(axes))
            probs.append(_probs(part, x.shape[source], source))
        source += 1
    return joint(x[tuple(basic)], axes, probs, front or 0)


def _in_range(index: int, size: int, axis: int) -> int:
    if not -size <= index < size:
        raise IndexError(f"index {index} is out of bounds for axis {axis} with size {size}")
    return index


def _probs(part: Any, size: int, axis: int):
    if isinstance(part, ARRAYS):  # exact positions among soft ones
        part = jnp.asarray(part)
        if not jnp.issubdtype(part.dtype, jnp.integer):
            raise TypeError(f"beside a SoftIndex an array index must be of integers; got {part.dtype}")
        return KINDS["SoftIndex"].from_hard(jnp.where(part < 0, part + size, part), size).probs
    if not isinstance(part, KINDS["SoftIndex"]):
        raise TypeError(f"beside a SoftIndex an index is an int, a slice, None or ...; got {type(part).__name__}")
    if part.num_classes != size:
        raise ValueError(
            f"a SoftIndex over {part.num_classes} indices cannot select along axis {axis}, which has size {size}"
        )
    return part.probs
