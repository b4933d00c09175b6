"""Comparison rules: the step function of a difference.

At a tie the step is taken a hair (1e-10) to the side on which the exact comparison falls. Only there: a hair taken
everywhere would swallow the differences of data that are small themselves. A difference that is no number (a NaN,
or two infinities) compares exactly.
"""

import jax.numpy as jnp

from softtypes._lift import Rule
from softtypes.rules.elementwise import step_of
from softtypes.surrogates import steps
from softtypes.surrogates.straight_through import straight_through

TIE = 1e-10


def _step(gap, tie, undefined, s, relaxation):
    """`S(gap)`, at a tie `S(tie)`; where the gap is no number, 1 or 0 as `undefined` (a bool, or +-inf) says."""
    certain = undefined if isinstance(undefined, float) else jnp.where(undefined, jnp.inf, -jnp.inf)
    value = gap + jnp.where(gap == 0, tie, 0) if _is_seen(tie, s, gap.dtype) else gap
    return steps.step(_settled(gap, value, certain), s, step_of(relaxation))


def _settled(gap, value, certain):
    """The value, or where the gap is no number the certain one, where the step is flat. Its derivative is that of the
    gap: that of a selection would take as long again as that of the step."""
    return straight_through(jnp.where(jnp.isnan(gap), certain, value), gap)


def _is_seen(tie, s, dtype):
    """Whether S, of slope 1/4 at most, is other than 1/2 at a tie."""
    return not isinstance(s, float) or abs(tie) / s >= float(jnp.finfo(dtype).eps) / 2


def _greater(x, y, s, relaxation):
    return _step(x - y, -TIE, -jnp.inf, s, relaxation)


def _greater_equal(x, y, s, relaxation):
    return _step(x - y, TIE, x >= y, s, relaxation)


def _less(x, y, s, relaxation):
    return 1 - _step(x - y, TIE, jnp.inf, s, relaxation)


def _less_equal(x, y, s, relaxation):
    return 1 - _step(x - y, -TIE, ~(x <= y), s, relaxation)


def _within(x, y, tolerance, exact, s, relaxation):
    """`S(t - d) / S(t)` with d the soft distance and t the tolerance: 1 at distance 0 and falling.

    As the softness vanishes it is 1 for `d <= t` and 0 beyond.
    """
    gap = x - y
    distance = steps.absolute(_settled(gap, gap, 0.0), s, step_of(relaxation))
    distance = straight_through(jnp.where(jnp.isnan(gap), jnp.nan, distance), distance)
    near = _step(tolerance - distance, TIE, exact, s, relaxation)
    known = jnp.where(jnp.isnan(tolerance), 0, tolerance)
    return jnp.minimum(near / steps.step(known, s, step_of(relaxation)), 1)


def _equal(x, y, s, relaxation):
    """`2 S(-d)` with d the soft distance."""
    gap = x - y
    gap = _settled(gap, gap, jnp.where(x == y, 0, jnp.inf))
    return 2 * steps.step(-steps.absolute(gap, s, step_of(relaxation)), s, step_of(relaxation))


def _not_equal(x, y, s, relaxation):
    return 1 - _equal(x, y, s, relaxation)


def _isclose(x, y, s, relaxation, rtol, atol, equal_nan):
    tolerance = atol + rtol * jnp.abs(y)
    return _within(x, y, tolerance, jnp.isclose(x, y, rtol, atol, equal_nan), s, relaxation)


GREATER = Rule(_greater, jnp.greater)
GREATER_EQUAL = Rule(_greater_equal, jnp.greater_equal)
LESS = Rule(_less, jnp.less)
LESS_EQUAL = Rule(_less_equal, jnp.less_equal)
EQUAL = Rule(_equal, jnp.equal)
NOT_EQUAL = Rule(_not_equal, jnp.not_equal)
ISCLOSE = Rule(_isclose, lambda x, y, rtol, atol, equal_nan: jnp.isclose(x, y, rtol, atol, equal_nan))
