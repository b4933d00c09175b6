"""The modes: how smooth a relaxation is, as a step function and a projection onto the simplex.

Adding a mode is adding an entry here.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from jax import Array

from softtypes.surrogates import simplex, steps
from softtypes.surrogates.ratio import Softness


class Mode(NamedTuple):
    """A degree of smoothness."""

    name: str
    step: steps.Step
    project: Callable[[Array, Softness], Array]
    log_project: Callable[[Array, Softness], Array] | None  # where a weight can underflow but never vanish


HARD = "hard"
MODES = {
    "smooth": Mode("smooth", steps.SMOOTH, simplex.softmax, simplex.log_softmax),
    "c0": Mode("c0", steps.C0, partial(simplex.sparse, power=1), None),
    "c1": Mode("c1", steps.C1, partial(simplex.sparse, power=2), None),
    "c2": Mode("c2", steps.C2, partial(simplex.sparse, power=3), None),
}
