"""Relaxation: every knob of a relaxation, its default and its validation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypedDict

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array

from softtypes._typecheck import held_array
from softtypes.surrogates.algorithms import ALGORITHMS
from softtypes.surrogates.logic import FAMILIES
from softtypes.surrogates.modes import HARD, MODES

CHOICES = {"mode": (HARD, *MODES), "algorithm": (None, *ALGORITHMS), "logic": tuple(FAMILIES)}
FLAGS = ("standardize", "gated", "gated_grad")


class Knobs(TypedDict, total=False):
    """The relaxation keywords that every function of softtypes takes."""

    softness: Any
    mode: str
    algorithm: str | None
    logic: str
    standardize: bool
    gated: bool
    gated_grad: bool
    relaxation: Any


@dataclass(frozen=True, eq=False)
class Relaxation:
    """How a hard operation is relaxed: one value that holds every knob.

    A frozen pytree. A Python-number softness is static: part of the tree's structure, so that `vmap` over its owner
    works. An array softness is a leaf: annealing or learning it does not recompile.

    Args:
        softness: how soft; a number, or an array that broadcasts against the operand of an elementwise operator.
            In the unit of the operand for elementwise and comparison operators, of the standardised (0 to 1) data
            for ordering operators. 0 is the hard limit. Beyond what the operand's dtype can resolve (2e-38 to 3e36
            in float32, 1e-4 to 6e2 in float16) it acts as the nearest end.
        mode: the smoothness: "smooth" (C-infinity), "c0", "c1", "c2" (sparse, so many times differentiable), "hard".
        algorithm: the ordering algorithm; None takes each operator's default.
        logic: the t-norm family of `&`, `|`, `all`, `any`: "product", "godel", "lukasiewicz", "geometric".
        standardize: whether ordering operators map a row to (0, 1) by its mean and deviation first.
        gated: whether relu and what is made of it is `x S(x)` rather than the integral of S.
        gated_grad: whether gradients also flow through the weights that ordering operators give their inputs.

    Raises:
        ValueError: for a choice that does not exist or a negative or infinite softness.
        TypeError: for a softness that is no real number or array.

    Examples:
        >>> import softtypes as sft
        >>> sft.Relaxation(softness=0.5, mode="c1")
        Relaxation(softness=0.5, mode='c1')
    """

    softness: float | Array = 0.1
    mode: str = "smooth"
    algorithm: str | None = None
    logic: str = "product"
    standardize: bool = True
    gated: bool = False
    gated_grad: bool = True
    _static: bool = field(default=True, init=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "softness", _checked_softness(self.softness))
        object.__setattr__(self, "_static", isinstance(self.softness, float))
        for name, choices in CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        for name in FLAGS:
            check_choice(name, getattr(self, name), (True, False))

    @property
    def is_static(self) -> bool:
        """Whether the softness is a Python number and part of the tree's structure."""
        return self._static  # remembered, since tree_map may put a number in the place of an array leaf

    @property
    def is_hard(self) -> bool:
        """Whether every operator is certain to act exactly."""
        return self.mode == HARD or (isinstance(self.softness, float) and self.softness == 0)

    def replace(self, **changes) -> "Relaxation":
        """A copy with some knobs changed."""
        return resolve(changes, self) if changes else self

    def _map_softness(self, fn: Callable[[Array], Array], shape: tuple[int, ...]) -> "Relaxation":
        """Carry a softness given per element of an array of this `shape` along with a change of its shape."""
        if self.is_static or jnp.ndim(self.softness) == 0:
            return self
        return _rebuilt(fn(jnp.broadcast_to(self.softness, shape)), *self._settings)

    def _softest(self) -> "Relaxation":
        """One softness for all, the largest: for an operation that mixes elements."""
        return self._map_softness(jnp.max, jnp.shape(self.softness))

    @property
    def _settings(self) -> tuple:
        return tuple(getattr(self, name) for name in SETTINGS)

    def __eq__(self, other):
        if not isinstance(other, Relaxation):
            return NotImplemented
        same = self.softness is other.softness or (
            self.is_static and other.is_static and self.softness == other.softness
        )
        return same and self._settings == other._settings

    def __hash__(self):
        return hash((self.softness if self.is_static else id(self.softness), self._settings))

    def __repr__(self):
        shown = [f"softness={_shown(self.softness)}", f"mode={self.mode!r}"]
        defaults = {knob.name: knob.default for knob in fields(self)}
        for name in SETTINGS[1:]:
            if getattr(self, name) != defaults[name]:
                shown.append(f"{name}={getattr(self, name)!r}")
        return f"Relaxation({', '.join(shown)})"


SETTINGS = tuple(knob.name for knob in fields(Relaxation) if knob.init)[1:]


def check_choice(name: str, value, choices: tuple) -> None:
    """Refuse a value that is not one of the choices, and list them."""
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {listed}; got {value!r}")


def show_array(x) -> str:
    """`f32[3,4]`, as jax writes it; the repr of what is no array."""
    if not hasattr(x, "shape"):
        return repr(x)
    name = jnp.dtype(x.dtype).name
    for long, short in (("bfloat", "bf"), ("float", "f"), ("uint", "u"), ("int", "i")):
        if name.startswith(long):
            name = name.replace(long, short)
            break
    return f"{name}[{','.join(map(str, x.shape))}]"


def _shown(softness) -> str:
    return f"{softness:g}" if isinstance(softness, float) else show_array(softness)


def _checked_softness(softness) -> float | Array:
    if type(softness) in (int, float):
        if not 0 <= softness < float("inf"):
            raise ValueError(f"softness must be finite and at least 0 (0 is the hard limit); got {softness!r}")
        return float(softness)
    softness = held_array(softness)
    real = isinstance(softness, jax.Array | np.ndarray | np.generic) and (
        jnp.issubdtype(softness.dtype, jnp.floating) or jnp.issubdtype(softness.dtype, jnp.integer)
    )
    if not real:
        raise TypeError(
            f"softness must be a real number or a real array; got {softness!r} of type {type(softness).__name__}"
        )
    if not isinstance(softness, jax.core.Tracer) and not np.all((np.asarray(softness) >= 0) & np.isfinite(softness)):
        raise ValueError(f"softness must be finite and at least 0 (0 is the hard limit) everywhere; got {softness}")
    softness = jnp.asarray(softness)
    return softness if jnp.issubdtype(softness.dtype, jnp.floating) else softness.astype(float)


def _rebuilt(softness, *settings, static: bool | None = None) -> Relaxation:
    """The unchecked door, for JAX and for values already checked."""
    out = object.__new__(Relaxation)
    object.__setattr__(out, "_static", isinstance(softness, float) if static is None else static)
    for name, value in zip(("softness", *SETTINGS), (softness, *settings), strict=True):
        object.__setattr__(out, name, value)
    return out


def _flatten(relaxation: Relaxation):
    if relaxation.is_static:
        return (), (relaxation.softness, *relaxation._settings)
    return ((jax.tree_util.GetAttrKey("softness"), relaxation.softness),), (None, *relaxation._settings)


def _unflatten(aux, children) -> Relaxation:
    softness, *settings = aux
    return _rebuilt(*(children or (softness,)), *settings, static=not children)


jax.tree_util.register_pytree_with_keys(Relaxation, _flatten, _unflatten)


DEFAULT = Relaxation()


def resolve(knobs: Mapping[str, Any], carried: Relaxation | None = None) -> Relaxation:
    """The relaxation that keywords ask for: they override `relaxation=`, which overrides the carried one."""
    if not knobs:
        return DEFAULT if carried is None else carried
    changes = dict(knobs)
    base = changes.pop("relaxation", None) or carried or DEFAULT
    if not isinstance(base, Relaxation):
        raise TypeError(f"relaxation must be a Relaxation; got {base!r} of type {type(base).__name__}")
    unknown = sorted(changes.keys() - {"softness", *SETTINGS})
    if unknown:
        valid = ", ".join(("softness", *SETTINGS, "relaxation"))
        raise TypeError(f"unknown relaxation keyword {unknown[0]!r}; the keywords are {valid}")
    current = {name: getattr(base, name) for name in ("softness", *SETTINGS)}
    return Relaxation(**(current | changes)) if changes else base


def merge(a: Relaxation | None, b: Relaxation | None) -> Relaxation | None:
    """The relaxation of an operation on two soft values: the softer of the two, in settings that must agree."""
    if a is b or b is None:
        return a
    if a is None or a == b:
        return b
    _check_settings(a, b)
    return _rebuilt(_softer(a.softness, b.softness), *a._settings)


def merge_at(a: Relaxation | None, b: Relaxation | None, shape: tuple[int, ...], key) -> Relaxation | None:
    """The relaxation of a value of this shape after an update at a key: where it has one per element, only there."""
    if a is None or b is None or not (jnp.ndim(a.softness) or jnp.ndim(b.softness)):
        return merge(a, b)
    _check_settings(a, b)
    softness = jnp.broadcast_to(a.softness, shape)
    return _rebuilt(softness.at[key].set(_softer(softness[key], b.softness)), *a._settings)


def _check_settings(a: Relaxation, b: Relaxation) -> None:
    for name in SETTINGS:
        if getattr(a, name) != getattr(b, name):
            raise ValueError(
                f"two soft values of different {name} cannot be combined: {getattr(a, name)!r} and "
                f"{getattr(b, name)!r}; bring one over with sft.soft(value, relaxation)"
            )


def _softer(a, b):
    return max(a, b) if isinstance(a, float) and isinstance(b, float) else jnp.maximum(a, b)
