"""What each ordering algorithm promises in which mode, and what it does not; docs/contracts.md shows this table.

Every cell is proved: where a property holds, its defect on the data vanishes; where it does not, the data hold a
counterexample. A defect is measured with the data as they are (`standardize=False`), but for the scale.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softtypes as sft
from softtypes.surrogates.algorithms import ALGORITHMS

MEANING = {
    "hull": "values lie between the smallest and the largest entry, ranks between 1 and n",
    "monotone": "sorted values ascend, and ranks are in the order of the data",
    "sum of values": "sorted values have the sum of the data",
    "sum of ranks": "ranks have the sum n (n + 1) / 2",
    "doubly stochastic": "the columns of the weights sum to 1, as the rows do",
    "expected values": "sorted values are the weights times the data",
    "shift": "adding a number to the data adds it to the values and leaves the ranks",
    "scale": "multiplying the data multiplies the values and leaves the ranks, with `standardize=True`",
    "permutation": "reordering the data leaves the values and reorders the ranks",
    "ties": "equal entries share a rank",
    "mirror": "the negated data have the negated values, and ranks from the other end",
    "consistent": "`max`, the last of `sort` and the first of `top_k` are the same number",
    "continuous": "values and ranks are continuous, at ties too",
    "smoothness": "values and ranks are as often differentiable as the mode says, at ties too",
    "exact": "values and ranks are exact below some softness, away from ties",
    "exponential": "they converge to the exact ones faster than any power of the softness, away from ties",
}
OF_WEIGHTS = {"doubly stochastic", "expected values"}


def contract(algorithm, **exceptions):
    """The modes in which each property holds: all, but for the exceptions, and sparse ones for what is exact."""
    modes = modes_of(algorithm)
    names = MEANING.keys() - (set() if ALGORITHMS[algorithm].has_weights else OF_WEIGHTS)
    exceptions = {name.replace("_", " "): holds for name, holds in exceptions.items()}
    assert exceptions.keys() <= names
    holds = dict.fromkeys(names, modes) | {"exact": tuple(mode for mode in modes if mode != "smooth")} | exceptions
    return {name: holds[name] for name in MEANING if name in names}


def modes_of(algorithm):
    return tuple(mode for mode in MODES if mode in ALGORITHMS[algorithm].modes)


MODES = ("smooth", "c0", "c1", "c2")
SPARSE, NONE = MODES[1:], ()
NO_SUMS = {"sum_of_values": NONE, "sum_of_ranks": NONE, "doubly_stochastic": NONE}
CONTRACTS = {
    "softsort": contract("softsort", **NO_SUMS, smoothness=("c0",)),
    "neuralsort": contract("neuralsort", **NO_SUMS),
    "ot": contract("ot", consistent=NONE),
    "sorting_network": contract("sorting_network", monotone=NONE, permutation=NONE, ties=NONE, mirror=NONE),
    "fast_soft_sort": contract(
        "fast_soft_sort",
        sum_of_values=SPARSE,
        sum_of_ranks=SPARSE,
        shift=("smooth", "c0"),
        mirror=("c0",),
        smoothness=("c0",),
        exact=MODES,
    ),
    "smooth_sort": contract("smooth_sort", hull=NONE, scale=NONE, continuous=NONE, smoothness=NONE),
}

PERMUTATION = np.array([3, 0, 4, 1, 2])
VARIANTS = {
    "": lambda x: x,
    "shifted": lambda x: x + 7,
    "scaled": lambda x: 8 * x,
    "negated": lambda x: -x,
    "permuted": lambda x: x[:, PERMUTATION],
}
SOFTNESS = np.array([0.05, 0.3, 1.0])
TIED = np.array([[1.0, 1, 1, 1, 1], [0.3, 0.7, 0.3, 2, 0.7], [1, 2, 2, 0, 2]])
GENERIC = np.random.default_rng(0).normal(size=(9, 5)) * np.array([0.3, 1, 3]).repeat(3)[:, None]
DATA = np.concatenate([TIED, GENERIC])


@functools.cache
def measured(algorithm, mode, standardize=False):
    """Of every variant of the data at every softness: `(softness, rows, ...)` of what the properties look at."""
    options = {"algorithm": algorithm, "mode": mode, "standardize": standardize}

    @jax.jit
    def views(x, softness):
        knobs = options | {"softness": softness}
        out = {"sort": sft.sort(x, **knobs), "rank": sft.rank(x, axis=-1, **knobs)}
        if standardize:  # what is looked at for the scale
            return out
        out |= {
            "max": sft.max(x, axis=-1, **knobs),
            "top": sft.top_k(x, 1, **knobs)[0][..., 0],
        }
        return out | ({"weights": sft.argsort(x, **knobs).probs} if ALGORITHMS[algorithm].has_weights else {})

    with jax.enable_x64(True):
        rows = np.stack([change(DATA) for change in VARIANTS.values()])
        x, softness = np.broadcast_arrays(rows, SOFTNESS[:, None, None, None])
        out = views(jnp.asarray(x), jnp.asarray(softness[..., :1]))
        out = {name: np.asarray(a) for name, a in out.items()}
    return {name: {key: a[:, i] for key, a in out.items()} for i, name in enumerate(VARIANTS)}


def largest(*gaps):
    return max(np.abs(gap).max() for gap in gaps)


def hull(seen, _):
    values, ranks = seen[""]["sort"], seen[""]["rank"]
    low, high = DATA.min(-1, keepdims=True), DATA.max(-1, keepdims=True)
    return max((values - high).max(), (low - values).max(), (ranks - 5).max(), (1 - ranks).max(), 0)


def monotone(seen, _):
    ordered = np.take_along_axis(seen[""]["rank"], np.broadcast_to(DATA.argsort(-1), seen[""]["rank"].shape), -1)
    return max(-np.diff(seen[""]["sort"]).min(), -np.diff(ordered).min(), 0)


def transformed(seen, name, value, rank):
    there, here = seen[name], seen[""]
    return largest(value(there["sort"]) - here["sort"], rank(there["rank"]) - here["rank"])


same = lambda a: a
DEFECTS = {
    "hull": hull,
    "monotone": monotone,
    "sum of values": lambda seen, _: largest(seen[""]["sort"].sum(-1) - DATA.sum(-1)),
    "sum of ranks": lambda seen, _: largest(seen[""]["rank"].sum(-1) - 15),
    "doubly stochastic": lambda seen, _: largest(seen[""]["weights"].sum(-2) - 1, seen[""]["weights"].sum(-1) - 1),
    "expected values": lambda seen, _: largest(
        np.einsum("...kn,...n->...k", seen[""]["weights"], DATA) - seen[""]["sort"]
    ),
    "shift": lambda seen, _: transformed(seen, "shifted", lambda a: a - 7, same),
    "scale": lambda _, seen: transformed(seen, "scaled", lambda a: a / 8, same),
    "permutation": lambda seen, _: transformed(seen, "permuted", same, lambda a: a[..., np.argsort(PERMUTATION)]),
    "ties": lambda seen, _: largest(
        *(np.ptp(seen[""]["rank"][:, i, x == level], axis=-1) for i, x in enumerate(TIED) for level in set(x))
    ),
    "mirror": lambda seen, _: transformed(seen, "negated", lambda a: -a[..., ::-1], lambda a: 6 - a),
    "consistent": lambda seen, _: largest(
        seen[""]["max"] - seen[""]["sort"][..., -1], seen[""]["top"] - seen[""]["sort"][..., -1]
    ),
}
# what is added to the variance beside 1e-4 of it is not quite of the scale of the data
TOLERANCE = {"scale": 1e-3}


EVERYDAY = [("neuralsort", "smooth"), ("fast_soft_sort", "c0")]


def marks_of(algorithm, mode):
    """Transport, which takes longest to compile, is seen in two modes, in the others for a release only."""
    if (algorithm, mode) in EVERYDAY:
        return ()
    return (
        [pytest.mark.slow, pytest.mark.exhaustive] if algorithm == "ot" and mode in ("c1", "c2") else pytest.mark.slow
    )


each_algorithm_and_mode = pytest.mark.parametrize(
    ("algorithm", "mode"),
    [
        pytest.param(algorithm, mode, marks=marks_of(algorithm, mode))
        for algorithm in ALGORITHMS
        for mode in modes_of(algorithm)
    ],
)


def check(algorithm, mode, name, defect, holds_below, fails_above):
    if mode in CONTRACTS[algorithm][name]:
        assert defect <= holds_below, f"{name}: {MEANING[name]}"
    else:
        assert defect >= fails_above, f"{name}: no counterexample"


@each_algorithm_and_mode
def test_the_table_says_what_holds(algorithm, mode):
    seen, standardized = measured(algorithm, mode), measured(algorithm, mode, True)
    for name, defect in DEFECTS.items():
        if name in CONTRACTS[algorithm]:
            tolerance = TOLERANCE.get(name, 1e-9)
            check(algorithm, mode, name, defect(seen, standardized), tolerance, 1e-2)


# Along a line that crosses ties

BASE, DIRECTION = np.array([0.13, 0.62, 0.31, 0.97]), np.array([0.7, -0.2, 0.31, -0.45])
ORDER = {"smooth": 2, "c0": 0, "c1": 1, "c2": 2}  # of a mode with all derivatives, two are looked at


def derivatives(fn, order):
    """`fn` of a number and its derivatives up to the order."""
    out = [fn]
    for _ in range(order):
        out.append(lambda t, last=out[-1]: jax.jvp(last, (t,), (jnp.ones_like(t),))[1])
    return lambda t: jnp.stack([f(t) for f in out])


@each_algorithm_and_mode
def test_derivatives_are_continuous_as_the_table_says(algorithm, mode):
    """The largest change between neighbours on a grid shrinks with its step, or there is a jump."""
    options = {"algorithm": algorithm, "mode": mode, "standardize": False}

    def fn(t):
        x = jnp.asarray(BASE) + t * DIRECTION
        return jnp.stack([sft.sort(x, **options), sft.rank(x, **options)])

    with jax.enable_x64(True):
        run = jax.jit(lambda t: jax.lax.map(derivatives(fn, ORDER[mode]), t, batch_size=400))
        grids = [jnp.linspace(-1, 1, count) + 1e-4 * np.pi for count in (400, 1600)]
        coarse, fine = (np.abs(np.diff(np.asarray(run(t)), axis=0)).max((0, 2, 3)) for t in grids)
    ratios = fine / coarse  # 1/4 where continuous, 1 at a jump
    check(algorithm, mode, "continuous", ratios[0], 0.4, 0.8)
    check(algorithm, mode, "smoothness", ratios.max(), 0.4, 0.8)


@each_algorithm_and_mode
def test_the_limit_is_reached_as_the_table_says(algorithm, mode):
    """The smallest gap is 0.18; halving the softness squares an error that is exponentially small."""
    options = {"algorithm": algorithm, "mode": mode, "standardize": False}
    exact = np.stack([np.sort(BASE), np.argsort(np.argsort(BASE)) + 1.0])

    @jax.jit
    def run(softness):
        x = jnp.broadcast_to(jnp.asarray(BASE), (len(softness), 4))
        knobs = options | {"softness": softness[:, None]}
        return jnp.stack([sft.sort(x, **knobs), sft.rank(x, axis=-1, **knobs)], 1)

    with jax.enable_x64(True):
        softness = np.array([0.02, 0.01, 0.001])
        errors = np.abs(np.asarray(run(jnp.asarray(softness))) - exact).max((1, 2))
    assert np.all(errors[1:] <= errors[:-1] + 1e-12)
    if mode in CONTRACTS[algorithm]["exact"]:
        assert errors[2] <= 1e-12
    else:
        assert errors[1] > 1e-12
    if mode in CONTRACTS[algorithm]["exponential"]:
        assert errors[1] <= max(10 * errors[0] ** 1.8, 1e-12)


# The page

PAGE = Path(__file__).parents[1] / "docs" / "contracts.md"


def cell(algorithm, name):
    modes = CONTRACTS[algorithm].get(name)
    if modes is None:
        return "no weights"
    if len(modes) == len(modes_of(algorithm)):
        return "yes"
    return ", ".join(modes) or "no"


def table():
    header = ["", *(f"`{algorithm}`" for algorithm in CONTRACTS)]
    rows = [[MEANING[name], *(cell(algorithm, name) for algorithm in CONTRACTS)] for name in MEANING]
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def test_every_algorithm_has_its_column_and_the_page_shows_the_table():
    assert tuple(CONTRACTS) == tuple(ALGORITHMS)
    assert table() in PAGE.read_text()
