"""Errors of single precision against double, from hard to soft, with and without ties.

    python benchmarks/precision.py [--operators sort ...] [--algorithms softsort ...] [--modes smooth ...]
                                   [--softness 0.001 ...] [--n 1024]

Of the value, the largest error of an entry over the largest entry, or over the deviation of the row if that is larger,
since a median may be close to 0; and of the gradient against a direction, over its largest entry. Where the gradient is
off by more than 1e-4 brackets hold the number of such entries, and how far the gradient itself moves, in double
precision, when the data are moved within their rounding. A row with ties is one rounded to tenths, and its ties move
together.
"""

import argparse
import platform
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from contestants import Problem, ours, versions, with_gradient

OPERATORS = ("sort", "rank", "max", "median", "top_k")
ALGORITHMS = ("softsort", "neuralsort", "fast_soft_sort", "ot", "sorting_network")
SOFTNESSES = (1e-3, 1e-2, 0.1, 1.0, 10.0)
LIMIT = 1e-4  # beyond which entries of the gradient are counted


def moved(x: np.ndarray) -> np.ndarray:
    """In double precision, each distinct number moved by up to half of its last digit."""
    numbers, which = np.unique(x, return_inverse=True)
    shares = np.random.default_rng(1).uniform(-0.5, 0.5, numbers.size)
    return (numbers + shares * np.spacing(numbers).astype("float64"))[which].reshape(x.shape)


class Errors(NamedTuple):
    """Of all entries of the float32 value and gradient, relative to their scales; and what the data's rounding does."""

    value: np.ndarray
    gradient: np.ndarray
    moved: np.ndarray  # the gradient in double precision, by the data's rounding


def errors(problem: Problem) -> Errors:
    fn, direction = with_gradient(ours(problem), problem.x)
    program = jax.jit(fn)
    run = lambda x: jax.tree.map(np.asarray, program(x, jnp.asarray(direction, x.dtype)))
    single = np.asarray(problem.x, "float32")
    value, gradient = run(single)
    with jax.enable_x64(True):
        exact_value, exact = run(single.astype("float64"))
        elsewhere = run(moved(single))[1]
    over = lambda scale, error: abs(error) / max(abs(scale).max(), 1e-300)
    scale = np.append(exact_value, single.std(-1))
    return Errors(over(scale, value - exact_value), over(exact, gradient - exact), over(exact, elsewhere - exact))


def cell(problem: Problem) -> str:
    value, gradient, moved = errors(problem)
    beyond = int((gradient > LIMIT).sum())
    return f"{value.max():.0e} {gradient.max():.0e}" + (f" ({beyond}, {moved.max():.0e})" if beyond else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operators", nargs="+", choices=OPERATORS, default=OPERATORS)
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=ALGORITHMS)
    parser.add_argument("--modes", nargs="+", default=["smooth", "c0"])
    parser.add_argument("--softness", nargs="+", type=float, default=SOFTNESSES)
    parser.add_argument("--n", type=int, default=1024, help="entries of the row")
    options = parser.parse_args()

    print(f"Python {platform.python_version()}, {versions()}; {options.n} entries")
    print(f"{'operator, algorithm, mode':<35}" + "".join(f"{f'softness {s:g}':>26}" for s in options.softness))
    x = np.random.default_rng(0).normal(size=options.n).astype("float32")
    rows = {"": x, "ties": np.round(x, 1)}
    for algorithm in options.algorithms:
        for mode in options.modes:
            for operator in options.operators:
                if (algorithm, operator) == ("fast_soft_sort", "top_k"):
                    continue
                for what, row in rows.items():
                    cells = (cell(Problem(operator, algorithm, mode, row, s)) for s in options.softness)
                    print(
                        f"{operator:<7}{algorithm:<16}{mode:<7}{what:<5}" + "".join(f"{c:>26}" for c in cells),
                        flush=True,
                    )


if __name__ == "__main__":
    main()
