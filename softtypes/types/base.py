"""What the three types share: two views, conversions, shape operations, and refusals that say the way out."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn, Self

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental import checkify

from softtypes._lift import Views
from softtypes._relaxation import show_array as show_array
from softtypes._typecheck import held_array
from softtypes.surrogates.straight_through import straight_through
from softtypes.types.annotations import shape_annotation

ARRAYS = (jax.Array, np.ndarray, np.generic)
NUMBERS = (bool, int, float)

CONVERT = (
    "{name} has two views and does not turn into an array by itself: take .soft() (the relaxation), "
    ".hard() (the exact value) or .st() (the exact value with the gradient of the relaxation)"
)
NO_TRUTH = (
    "the truth value of a {name} is not defined, so `if`, `while`, `and`, `or`, `not`, `in` and chained comparisons "
    "(a < x < b) do not apply. Write (a < x) & (x < b), `|` and `~`; choose values with cond.where(x, y) or "
    "sft.where; take the exact bits with .hard()"
)
NO_INDEX = (
    "a {name} is no Python number: use .hard() outside jit for the exact value, or, to select by it, "
    "x[index] with a SoftIndex on a SoftArray"
)

# Siblings meet here, not in each other's files: SoftArray compares to SoftBool, which selects a SoftArray.
KINDS: dict[str, Any] = {}


class _Kind(type):
    """The metaclass gives foreign error messages ("got <class ...>") the way out."""

    def __repr__(cls) -> str:
        return f"<class 'softtypes.{cls.__name__}' (convert it with .soft(), .hard() or .st())>"


class SoftValue(metaclass=_Kind):
    """A quantity with a differentiable soft view and the exact hard view.

    The constructor checks what a person passes; JAX rebuilds values through `_rebuild`, which checks nothing, since
    leaves may then be None, a `ShapeDtypeStruct`, or the gradient of a probability.
    """

    _leaves: ClassVar[tuple[str, ...]]
    __array_ufunc__ = None  # numpy arrays and scalars on the left leave the operator to us
    __hash__ = None  # type: ignore[assignment]  # == compares elementwise

    hard_view: Any

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        KINDS[cls.__name__] = cls
        jax.tree_util.register_pytree_with_keys(cls, cls._flatten_with_keys, cls._unflatten, cls._flatten)

    def __class_getitem__(cls, dims: str):
        return shape_annotation(cls, dims)

    # Pytree

    def _flatten(self):
        return tuple(getattr(self, name) for name in self._leaves), self._static()

    def _flatten_with_keys(self):
        leaves, static = self._flatten()
        return tuple(zip(map(jax.tree_util.GetAttrKey, self._leaves), leaves, strict=True)), static

    @classmethod
    def _unflatten(cls, static, leaves) -> Self:
        return cls._rebuild(*leaves, *static)

    def _static(self) -> tuple:
        return ()

    @classmethod
    def _rebuild(cls, *parts) -> Self:
        raise NotImplementedError

    def __reduce__(self):
        leaves, static = self._flatten()
        return type(self)._unflatten, (static, leaves)

    # Views

    @property
    def _views(self) -> Views:
        """The soft and the hard array."""
        raise NotImplementedError

    def soft(self) -> Array:
        """The relaxed view as a plain array."""
        return self._views.soft

    def hard(self) -> Array:
        """The exact view as a plain array."""
        return self.hard_view

    def st(self) -> Array:
        """Straight-through: the hard view forward, bit for bit, and the gradient of the soft view backward."""
        soft = self.soft()
        return straight_through(self._hard_as_soft().astype(soft.dtype), soft)

    def _hard_as_soft(self) -> Array:
        return self.hard_view

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the quantity."""
        return self.hard_view.shape

    @property
    def ndim(self) -> int:
        """The number of axes of the quantity."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements of the quantity."""
        return math.prod(self.shape)

    @property
    def dtype(self):
        """The dtype of the quantity."""
        return self.hard_view.dtype

    # Shape changes, the same for both views

    def _structural(self, fn: Callable[[Array], Array]) -> Self:
        raise NotImplementedError

    def reshape(self, *shape) -> Self:
        """The same elements in another shape."""
        target = shape[0] if len(shape) == 1 else shape
        return self._structural(lambda a: jnp.reshape(a, target))

    def ravel(self) -> Self:
        """All elements along one axis."""
        return self._structural(jnp.ravel)

    flatten = ravel

    def squeeze(self, axis=None) -> Self:
        """Without the axes of size 1."""
        return self._structural(lambda a: jnp.squeeze(a, axis))

    def transpose(self, *axes) -> Self:
        """The axes in another order, reversed by default."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else (axes or None)
        return self._structural(lambda a: jnp.transpose(a, order))

    @property
    def T(self) -> Self:
        """The axes reversed."""
        return self.transpose()

    def swapaxes(self, axis1: int, axis2: int) -> Self:
        """Two axes exchanged."""
        return self._structural(lambda a: jnp.swapaxes(a, axis1, axis2))

    def repeat(self, repeats, axis: int | None = None) -> Self:
        """Each element repeated."""
        return self._structural(lambda a: jnp.repeat(a, repeats, axis))

    def __getitem__(self, key) -> Self:
        return self._structural(lambda a: a[check_static_key(type(self).__name__, key)])

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"len() of a 0-dimensional {type(self).__name__}")
        return self.shape[0]

    def __iter__(self):
        if not self.shape:
            raise TypeError(f"iteration over a 0-dimensional {type(self).__name__}")
        return (self[i] for i in range(len(self)))

    # Checks of values

    def _conditions(self) -> list[tuple[Array, str]]:
        """Boolean arrays that must be true everywhere, each with what it expects."""
        raise NotImplementedError

    def validate(self) -> Self:
        """Check the values: at once, or under `jax.experimental.checkify` when traced. Returns the value itself.

        Raises:
            ValueError: saying what was expected and how many entries break it.
        """
        for holds, expected in self._conditions():
            message = f"{type(self).__name__}: expected {expected}"
            if isinstance(holds, jax.core.Tracer):
                checkify.check(jnp.all(holds), message)
            elif not jnp.all(holds):
                raise ValueError(f"{message}; {int(jnp.sum(~holds))} of {holds.size} do not comply")
        return self

    # Refusals

    def _refuse(self, text: str) -> NoReturn:
        raise TypeError(text.format(name=type(self).__name__))

    def __bool__(self):
        self._refuse(NO_TRUTH)

    def __contains__(self, item):
        self._refuse(NO_TRUTH)

    def __index__(self):
        self._refuse(NO_INDEX)

    __int__ = __float__ = __complex__ = __index__

    @property
    def __array_struct__(self):  # what numpy asks first; an `__array__` would invite conversion
        self._refuse(CONVERT)

    def __array_function__(self, fn, types, args, kwargs):
        # numpy asks here first, else it would call our methods with arguments that only its arrays take (`out`)
        if fn in (np.shape, np.ndim, np.size):
            return fn.__wrapped__(*args, **kwargs)
        own = f", or use its own method .{fn.__name__}(...)" if hasattr(self, fn.__name__) else ""
        self._refuse(f"{fn.__module__}.{fn.__name__}: {CONVERT}{own}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._described())})"

    def _described(self) -> list[str]:
        raise NotImplementedError


def check_static_key(name: str, key):
    """Refuse a key that picks elements by a soft Boolean or by soft values."""
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, SoftValue):
            hint = {
                "SoftBool": "a soft mask has no definite size; use sft.where(mask, x, y) or reduce with where=",
                "SoftArray": "an index is a SoftIndex, made by argmax, argmin or SoftIndex(probs)",
                "SoftIndex": "only a SoftArray can be indexed by one; use sft.soft(x)[index]",
            }[type(part).__name__]
            raise TypeError(f"{name} cannot be indexed by a {type(part).__name__}: {hint}")
    return key


def check_same_shape(name: str, hard_view, shape: tuple[int, ...]) -> None:
    if hard_view.shape != shape:
        raise ValueError(f"{name}: hard_view must have shape {shape}; got {hard_view.shape}")


def real_array(name: str, what: str, x) -> Array:
    """A person's real number or array as a jax array, or a TypeError."""
    x = held_array(x)
    if isinstance(x, SoftValue):
        raise TypeError(f"{name}: {what} must be a plain array; got a {type(x).__name__}")
    if not isinstance(x, (*ARRAYS, *NUMBERS)):
        raise TypeError(f"{name}: {what} must be an array or a number; got {type(x).__name__}")
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating) or jnp.issubdtype(x.dtype, jax.dtypes.extended):
        raise TypeError(f"{name}: {what} must be real; got {x.dtype}")
    return x
