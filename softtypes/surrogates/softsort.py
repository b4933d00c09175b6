"""SoftSort (Prillo, Eisenschlos, 2020): project negative distances to the order statistics."""

from jax import Array

from softtypes.surrogates.modes import Mode
from softtypes.surrogates.ratio import Softness


class SoftSort:
    """The weights of the extreme are the projection of the keys themselves."""

    def extreme_weights(self, keys: Array, softness: Softness, mode: Mode) -> Array:
        """Weights of the largest key, `(..., n) -> (..., n)`."""
        return mode.project(keys, softness)

    def log_extreme_weights(self, keys: Array, softness: Softness, mode: Mode) -> Array | None:
        """Their logarithms where the mode has them exactly."""
        return None if mode.log_project is None else mode.log_project(keys, softness)
