"""`x.at[i].set(y)`: updated copies of both views."""

from collections.abc import Callable

from softtypes.types.base import SoftValue, check_static_key

UPDATES = ("set", "add", "subtract", "multiply", "divide", "power")
# not wrapped: min and max (write x.at[i].set(sft.maximum(x[i], y))), apply (write x.at[i].set(f(x[i])))


class At:
    """The `.at` property: indexing it gives the updates."""

    def __init__(self, value: SoftValue, update: Callable, names: tuple[str, ...] = UPDATES):
        self._value, self._update, self._names = value, update, names

    def __getitem__(self, key) -> "_Reference":
        check_static_key(type(self._value).__name__, key)
        return _Reference(self._value, self._update, key, self._names)


class _Reference:
    def __init__(self, value: SoftValue, update: Callable, key, names: tuple[str, ...]):
        self._value, self._update, self._key, self._names = value, update, key, names

    def get(self):
        """The elements themselves."""
        return self._value[self._key]

    def __getattr__(self, name: str):
        if name not in self._names:
            listed = ", ".join(("get", *self._names))
            raise AttributeError(f"{type(self._value).__name__}.at[...] has {listed}; got {name!r}")
        return lambda value: self._update(self._key, name, value)
