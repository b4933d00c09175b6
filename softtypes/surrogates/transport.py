"""Regularised optimal transport from the inputs to fixed anchors on a line.

With `n` inputs `z_i` of mass `1/n` and `m` anchors `a_j` of mass `nu_j`, the transport plan minimises

    <P, C> + s R(P)    over    P >= 0,  P 1 = 1/n,  P' 1 = nu,    C_ij = (z_i - a_j)^2,

where R is the negative entropy, or `sum P^p / p` with `p = 1 + 1/power`. The potentials f, g of its dual give
`P_ij = link((f_i + g_j - C_ij) / s)` with `link(u) = exp(u)` or `max(u, 0)^power`; u is called the slack here. For a
given g each `f_i` is the threshold of a projection onto the simplex, so what is left, the semi-dual, is a concave
function of the m potentials of the anchors, whose gradient is the error of their marginal. Everything is computed
for `n P`, whose rows sum to 1; for the p-norms that divides the softness by `n^(1/power)`.

Source: Cuturi (2013) for the entropy; Blondel, Seguy, Rolet (2018) for the semi-dual and the other regularisers;
Cuturi, Teboul, Vert (2019) for order statistics by transport to anchors.
"""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from softtypes.surrogates import along

_FEW = 8  # anchors, up to which XLA's CPU takes several times as long for a reduction of their short rows


class Regulariser(NamedTuple):
    """The power of the link between slack and plan, or None for the exponential."""

    power: int | None

    def link(self, slack: Array) -> Array:
        """`exp(u)` or `max(u, 0)^power`, whose derivative is the slope."""
        if self.power is None:
            return jnp.exp(slack)
        return jnp.where(slack > 0, slack, 0) ** self.power

    def slope(self, slack: Array) -> Array:
        """The derivative of the link; 0 where the slack is not positive."""
        if self.power is None:
            return jnp.exp(slack)
        positive = (slack > 0).astype(slack.dtype)
        return positive if self.power == 1 else self.power * positive * slack ** (self.power - 1)

    def inverse(self, mass: Array) -> Array:
        """The slack of a positive mass."""
        if self.power is None:
            return jnp.log(jnp.maximum(mass, jnp.finfo(mass.dtype).tiny))
        return mass ** (1 / self.power)

    def project(self, scores: Array) -> Array:
        """`scores_j - t`, the slack with `sum_j link(scores_j - t) = 1`."""
        centred = scores - _across(jnp.maximum, scores)
        if self.power is None:
            return centred - jnp.log(_across(jnp.add, jnp.exp(centred)))
        return centred - _threshold(centred, self.power)[..., None]


REGULARISERS = {"smooth": Regulariser(None), "c0": Regulariser(1), "c1": Regulariser(2), "c2": Regulariser(3)}


@partial(jax.jit, static_argnames="mode")
def transport_weights(
    z: Array, anchors: Array, masses: Array, softness: float | Array, mode: str, mask: Array | None = None
) -> Array:
    """The share of each input in the mass of each anchor, `P_ij / nu_j` transposed to `(..., m, n)`.

    Takes inputs `(..., n)`, anchors and masses `(m,)` or `(..., m)` in any order, a softness in units of the cost
    that broadcasts to the batch, and a mask `(..., n)` of the inputs that count. The row of an anchor sums to 1, or
    to 0 where the anchor has mass 0; a masked input has weight 0, and inputs all masked are uniform.

    With `N` inputs that count, the marginals hold to about `1e-6` in float32 and `1e-12` in float64 of the total
    mass. Derivatives of any order, in both modes, come from the implicit function theorem.
    """
    dtype = z.dtype if jnp.finfo(z.dtype).bits >= 32 else jnp.float32  # half precision can't hold the marginals
    counts = jnp.ones(z.shape[-1], dtype) if mask is None else mask.astype(dtype)
    operands = [jnp.asarray(x, dtype) for x in (z, anchors, masses, softness)] + [counts]
    cores = (1, 1, 1, 0, 1)
    depth = max(x.ndim - core for x, core in zip(operands, cores, strict=True))
    operands = [jnp.expand_dims(x, range(depth + core - x.ndim)) for x, core in zip(operands, cores, strict=True)]
    solve = jnp.vectorize(partial(_weights, REGULARISERS[mode]), signature="(n),(m),(m),(),(n)->(m,n)")
    return solve(*operands).astype(z.dtype)


def _weights(regulariser: Regulariser, z: Array, anchors: Array, masses: Array, softness: Array, counts: Array):
    total = counts.sum()
    z = jnp.where(counts > 0, z, 0)
    softness = _resolvable_softness(regulariser, z, anchors, softness, total)
    plan = regulariser.link(_slack(regulariser, z, anchors, masses, softness, counts)) * counts[:, None]
    sums = lax.stop_gradient(_down(plan))
    weights = jnp.where(masses[:, None] > 0, plan.T / _positive(sums)[:, None], 0)
    return jnp.where(total > 0, weights, 1 / len(z))


def _resolvable_softness(regulariser: Regulariser, z: Array, anchors: Array, softness: Array, total: Array) -> Array:
    """The softness for rows of sum 1, at least what the dtype tells from 0.

    Below `eps^2` of the cost the plan is that of the hard limit to the last digit, and only overflows are left to gain.
    """
    if regulariser.power is not None:
        softness = softness * jnp.maximum(total, 1) ** (-1 / regulariser.power)
    info = jnp.finfo(z.dtype)
    cost = jnp.abs(z).max() * (anchors.max() - anchors.min())
    return jnp.maximum(softness, lax.stop_gradient(jnp.maximum(float(info.eps) ** 2 * cost, 64 * info.tiny)))


# --- reductions


def _across(fn: Any, x: Array) -> Array:
    """The sum, `jnp.add`, or maximum, `jnp.maximum`, over the anchors, `(n, 1)`: of few of them term by term."""
    if x.shape[-1] > _FEW:
        return fn.reduce(x, axis=-1, keepdims=True)
    return reduce(fn, (x[..., j : j + 1] for j in range(x.shape[-1])))


def _down(x: Array) -> Array:
    """The sum over the inputs, `(m,)`: for few anchors column by column. A product would lose digits."""
    if x.shape[-1] > _FEW:
        return x.sum(0)
    return jnp.stack([along.held(x[:, j]).sum() for j in range(x.shape[-1])])


# --- the projection of one input's row


def _threshold(v: Array, power: int) -> Array:
    """The root of `norm(max(v - t, 0)) = 1`, in the norm of order `power`, for rows with maximum 0.

    The norm is convex in t and nearly linear, so Newton's method climbs to the root from below in few steps.
    """

    def climb(state):
        t, _, count = state
        gap = jnp.maximum(v - t[..., None], 0)
        norm = (gap**power).sum(-1) ** (1 / power)
        slope = jnp.where(gap > 0, (gap / norm[..., None]) ** (power - 1), 0).sum(-1)
        step = jnp.maximum(norm - 1, 0) / slope
        return t + step, (step > 2 * jnp.finfo(v.dtype).eps).any(), count + 1

    below = v.max(-1) - 1  # the largest entry alone has weight <= 1
    state = (below, (below < 0).any(), 0)
    return lax.while_loop(lambda state: state[1] & (state[2] < 64), climb, state)[0]


# --- the scores of the anchors without a regulariser


def _scores(z: Array, anchors: Array, masses: Array, softness: Array, counts: Array) -> Array:
    """`-C_ij / s` up to potentials, `(n, m)`: those without a regulariser, so that rows have maximum 0.

    From an anchor to the next the score rises by `2 (a_{j+1} - a_j) (z_i - h_j) / s`, with `h_j` the place on the
    line that separates their inputs. Summing the falls to both sides of the best anchor loses no digits however small
    s is, where a difference of squares would lose them all.
    """
    order = jnp.argsort(anchors)
    a = anchors[order]
    slopes = 2 * (a[1:] - a[:-1]) / softness
    rise = slopes[None] * (z[:, None] - _separators(z, masses[order], counts)[None])
    zero = jnp.zeros_like(z)[:, None]
    fall_right = jnp.concatenate([zero, jnp.cumsum(jnp.minimum(rise, 0), -1)], -1)
    fall_left = jnp.concatenate([lax.cumsum(jnp.maximum(rise, 0), 1, reverse=True), zero], -1)
    return (fall_right - fall_left)[:, jnp.argsort(order)]


def _separators(z: Array, masses: Array, counts: Array) -> Array:
    """Where the inputs of one anchor end and those of the next begin, `(m - 1,)`: an input or a midpoint of two."""
    total = counts.sum()
    ordered = along.ascending(jnp.where(counts > 0, z, jnp.inf))
    ends = jnp.cumsum(masses)[:-1] * total
    whole = jnp.abs(ends - jnp.round(ends)) < 1e-3  # no input is split, but for rounding
    right = jnp.where(whole, jnp.round(ends), jnp.floor(ends))
    places = jnp.clip(jnp.stack([right - whole.astype(z.dtype), right]), 0, jnp.maximum(total - 1, 0)).astype(int)
    left, right = jnp.where(jnp.isfinite(ordered[places]), ordered[places], 0)
    return left / 2 + right / 2


# --- the maximum of the semi-dual


class _Iterate(NamedTuple):
    potentials: Array
    slack: Array
    error: Array
    count: Array | int
    done: Array


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _slack(regulariser: Regulariser, z: Array, anchors: Array, masses: Array, softness: Array, counts: Array) -> Array:
    """`(f_i + g_j - C_ij) / s` of the optimal potentials, `(n, m)`."""
    scores = jnp.where(masses[None] > 0, _scores(z, anchors, masses, softness, counts), -1e6)
    targets = masses * counts.sum()
    evaluate = partial(_evaluate, regulariser, scores, counts, targets)
    # exact where the softness is large, and too small to matter where it is small
    start = jnp.where(masses > 0, regulariser.inverse(masses), 0) + 0 * scores[0]
    slack, error = evaluate(start)
    state = _Iterate(start, slack, error, 0, _relative(error, targets) <= _tolerance(z.dtype))
    newton = partial(_newton, regulariser, evaluate, counts, targets)
    slack = lax.while_loop(lambda state: ~state.done & (state.count < 60), newton, state).slack
    return slack if regulariser.power is None else _without_rounding(slack, z, anchors, targets, counts)


def _without_rounding(slack: Array, z: Array, anchors: Array, targets: Array, counts: Array) -> Array:
    """The slack, at most 0 where it is positive by rounding alone, so that its sign is the support of the plan.

    By rounding are a slack that is nothing beside the largest of its input, and one across a cut that no mass crosses.
    """
    eps = float(jnp.finfo(slack.dtype).eps)
    linked = (slack > 16 * eps * _across(jnp.maximum, slack)) & (counts[:, None] > 0)
    inputs, points = _parts(linked, jnp.where(counts > 0, z, jnp.inf), anchors, targets, min(8 * eps * len(z), 0.1))
    return jnp.where(linked & (inputs[:, None] == points[None]), slack, jnp.minimum(slack, 0))


def _parts(linked: Array, z: Array, anchors: Array, targets: Array, rounding: float) -> tuple[Array, Array]:
    """The parts, numbered from the left, that inputs `(n,)` and anchors `(m,)` fall into where no mass crosses a cut.

    A cut has on its left the anchors up to one, and as many of the first inputs as these anchors hold, where that is a
    whole number. Then as much mass crosses it one way as the other. So if nothing goes one way nothing crosses, and
    links the other way are of rounding: what the potentials on its two sides differ by is arbitrary. Whatever parts a
    plan on a line has are divided by such cuts.
    """
    n, m = linked.shape
    anchor_order, order = jnp.argsort(anchors), jnp.argsort(z)
    anchor_place, place = along.inverse(anchor_order), along.inverse(order)
    rightmost = lax.cummax(jnp.where(linked, anchor_place, -1).max(-1)[order])  # of the inputs up to one
    leftmost = lax.cummin(jnp.where(linked, anchor_place, m).min(-1)[order], reverse=True)  # of those from one on
    cuts = jnp.arange(m - 1, dtype=anchor_place.dtype)  # between the anchor at that place and the next
    held = jnp.cumsum(targets[anchor_order])[:-1]
    whole = jnp.clip(jnp.round(held), 0, n)
    left = whole.astype(place.dtype)  # inputs on the left
    up = jnp.append(-1, rightmost)[left] > cuts
    down = jnp.append(leftmost, m)[left] <= cuts
    divides = ((jnp.abs(held - whole) <= rounding) & ~(up & down)).astype(place.dtype)
    inputs = jnp.cumsum(jnp.zeros(n + 1, place.dtype).at[left].add(divides))[place]
    return inputs, jnp.append(0, jnp.cumsum(divides))[anchor_place]


def _evaluate(regulariser: Regulariser, scores: Array, counts: Array, targets: Array, potentials: Array):
    """The slack, and the gradient of the semi-dual: what the anchors' marginal lacks."""
    slack = regulariser.project(scores + potentials[None])
    plan = regulariser.link(slack)
    error = targets - _down(plan / _across(jnp.add, plan) * counts[:, None])
    # the errors sum to 0; the heaviest anchor, whose own sum is rounded most, has what the others leave
    return slack, jnp.where(_heaviest(targets), error - error.sum(), error)


def _heaviest(targets: Array) -> Array:
    return jnp.arange(len(targets)) == jnp.argmax(targets)


def _relative(error: Array, targets: Array) -> Array:
    return (jnp.abs(error) / (1 + targets)).max()


def _tolerance(dtype) -> float:
    return max(8 * float(jnp.finfo(dtype).eps), 1e-12)


def _newton(regulariser: Regulariser, evaluate: Callable, counts: Array, targets: Array, state: _Iterate) -> _Iterate:
    """One damped Newton step; the method ends where rounding stops it, near the tolerance."""
    slope = regulariser.slope(state.slack) * counts[:, None]
    pinned = _heaviest(targets)
    product = _hessian_product(slope, jnp.argmax(state.slack, -1), pinned)
    ridge = _ridge(slope)  # moves a set of anchors that no input shares with the rest, until one does
    direction = _solve(lambda x: product(x) + ridge * x, slope, pinned, 1e-2, jnp.where(pinned, 0, state.error))
    # an anchor that no input feels: raise it until the nearest input alone could fill it
    cold = (_down(slope) <= 0) & (state.error > 0)
    nearest = jnp.where(counts[:, None] > 0, state.slack, -jnp.inf).max(0)
    direction = jnp.where(cold, regulariser.inverse(targets) - nearest, direction)
    potentials, slack, error = _line_search(evaluate, state, direction)
    before, after = _relative(state.error, targets), _relative(error, targets)
    tolerance = _tolerance(slack.dtype)
    done = (after <= tolerance) | ((after <= 8 * tolerance) & (2 * after > before))
    return _Iterate(potentials, slack, error, state.count + 1, done)


def _line_search(evaluate: Callable, state: _Iterate, direction: Array) -> tuple[Array, Array, Array]:
    """Shortens the step while the semi-dual falls steeply at its end, by the secant of its derivative.

    The derivative along the line is used rather than the value, whose differences drown in rounding.
    """
    ascent = state.error @ direction

    def trial(step):
        return step, *evaluate(state.potentials + step * direction)

    def shorten(search):
        (step, _, error), count = search
        return trial(step * jnp.clip(ascent / (ascent - error @ direction), 0.1, 0.5)), count + 1

    def overshot(search):
        (_, _, error), count = search
        return (error @ direction < -0.5 * ascent) & (count < 40)

    (step, slack, error), _ = lax.while_loop(overshot, shorten, (trial(jnp.ones_like(ascent)), 0))
    return state.potentials + step * direction, slack, error


# --- linear systems in its Hessian


def _centre(slope: Array, best: Array, v: Array) -> Array:
    """`v` minus its mean in each row with weights K; exactly 0 where one anchor has all the weight."""
    v = v - along.at(v, best[:, None])
    # a sum of products, term by term, would be rounded unevenly: what cancels would not, and solutions run away
    return v - (slope * v).sum(-1, keepdims=True) / _positive(_across(jnp.add, slope))


def _hessian_product(slope: Array, best: Array, pinned: Array) -> Callable[[Array], Array]:
    """Minus the Hessian of the semi-dual, with K the slope of the plan in the slack: `sum_i K_ij (x_j - mean_i x)`.

    It is the Laplacian of the graph in which inputs link anchors. The constants are in its null space, so one anchor
    is pinned.
    """

    def product(x):
        shifts = jnp.broadcast_to(jnp.where(pinned, 0, x)[None], slope.shape)
        return jnp.where(pinned, x, _down(slope * _centre(slope, best, shifts)))

    return product


def _solve(product: Callable, slope: Array, pinned: Array, tolerance: float, rhs: Array) -> Array:
    """Conjugate gradients with the diagonal of the Hessian where that will do, else with its Cholesky factor."""

    def factored(rhs):
        return _conjugate_gradients(product, *_cholesky(slope, pinned), tolerance, rhs)[0]

    if len(rhs) <= 16:
        return factored(rhs)
    share = slope / _positive(_across(jnp.add, slope))
    degrees = _down(slope * (1 - share))
    free = ~pinned & (_down(slope) > 0)
    inverse = jnp.where(free, 1 / _positive(degrees + _ridge(slope)), 0)
    x, converged = _conjugate_gradients(product, lambda r: inverse * r, degrees, tolerance, rhs)
    return lax.cond(converged, lambda _: x, factored, rhs)


def _ridge(slope: Array) -> Array:
    """What is added to the diagonal of the Hessian: above its rounding, below its links but for the weakest."""
    eps = float(jnp.finfo(slope.dtype).eps)
    return max(eps**0.75, slope.shape[1] * eps) * _down(slope)


def _cholesky(slope: Array, pinned: Array) -> tuple[Callable[[Array], Array], Array]:
    """The inverse of the Hessian plus ridge, as a function, and the diagonal without ridge.

    The diagonal is summed from the links, since `sum_i K_ij - K_ij^2 / K_i` cancels.
    """
    share = slope / _positive(_across(jnp.add, slope))
    links = jnp.matmul(slope.T, share, precision=lax.Precision.HIGHEST)
    links = jnp.where(jnp.eye(len(pinned), dtype=bool), 0, links)
    degrees = links.sum(0)
    free = ~pinned & (_down(slope) > 0)
    scale = jnp.where(free, lax.rsqrt(_positive(degrees + _ridge(slope))), 0)
    factor = jnp.linalg.cholesky(jnp.eye(len(scale), dtype=scale.dtype) - scale[:, None] * links * scale[None])
    return lambda r: scale * jax.scipy.linalg.cho_solve((factor, True), scale * r), degrees


def _positive(x: Array) -> Array:
    return jnp.where(x > 0, x, 1)


def _conjugate_gradients(product: Callable, precondition: Callable, degrees: Array, tolerance: float, rhs: Array):
    """The solution of `product(x) = rhs`, but for directions that the product can't be told from 0 in; and success.

    They shift a set of anchors that no input shares with the rest: the plan does not depend on them, and what the
    right side has there is rounding.
    """
    eps = float(jnp.finfo(rhs.dtype).eps)

    def descend(state):
        x, residual, direction, energy, count, _ = state
        image = product(direction)
        curvature = direction @ image
        seen = curvature > eps * (degrees * direction**2).sum()
        step = jnp.where(seen, energy / _positive(curvature), 0)
        x, residual = x + step * direction, residual - step * image
        preconditioned = precondition(residual)
        energy, before = residual @ preconditioned, energy
        direction = preconditioned + energy / _positive(before) * direction
        return x, residual, direction, energy, count + 1, seen & (energy > small)

    start = precondition(rhs)
    energy = rhs @ start
    small = tolerance**2 * energy
    state = (0 * rhs, rhs, start, energy, 0, energy > 0)
    x, *_, unfinished = lax.while_loop(lambda state: state[5] & (state[4] < 40), descend, state)
    return x, ~unfinished


# --- its derivative


@_slack.defjvp
def _slack_jvp(regulariser: Regulariser, primals, tangents):
    """The tangent with which both marginals stay as they are: `sum_j K_ij du_ij = 0 = sum_i K_ij du_ij - n dnu_j`.

    K is the slope of the plan in the slack. Rules of second and higher order come from differentiating this one.
    """
    z, anchors, masses, softness, counts = primals
    dz, danchors, dmasses, dsoftness, _ = tangents
    slack = _slack(regulariser, *primals)
    slope = regulariser.slope(slack) * counts[:, None]
    best = jnp.argmax(slack, -1)
    tolerance = 4 * float(jnp.finfo(slack.dtype).eps)
    centre = partial(_centre, slope, best)
    pinned = _heaviest(masses)
    felt = jnp.where(slope > 0, slack, 0)  # what no input feels may be too large to multiply
    offsets = anchors[None] - anchors[best][:, None]
    dscores = 2 * (dz[:, None] * offsets + z[:, None] * danchors[None]) - felt * dsoftness
    dscores = dscores / softness
    lack = dmasses * counts.sum() - (slope * centre(dscores)).sum(0)
    product = _hessian_product(slope, best, pinned)
    solve = partial(_solve, slope=lax.stop_gradient(slope), pinned=pinned, tolerance=tolerance)
    lack = jnp.where(pinned, 0, lack)
    dpotentials = lax.custom_linear_solve(product, lack, lambda product, rhs: solve(product, rhs=rhs), symmetric=True)
    return slack, centre(dscores + dpotentials[None])
