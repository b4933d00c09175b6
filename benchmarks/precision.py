"""Errors of single precision against double, from hard to soft, with and without ties.

    python benchmarks/precision.py [--operators sort ...] [--algorithms softsort ...] [--modes smooth ...]
                                   [--softness 0.001 ...] [--n 1024]

Of the value, and of the gradient against a direction: the largest error of an entry over the largest entry. Where the
gradient is off by more than 1e-4 so, the number of such entries stands in brackets: where a weight has a kink, or two
keys are as good as tied, rounding puts single entries on the other side of a jump. A row with ties is one rounded to
tenths.
"""

import argparse
import platform

import jax
import jax.numpy as jnp
import numpy as np
from contestants import Problem, ours, versions, with_gradient

OPERATORS = ("sort", "rank", "max", "median", "top_k")
ALGORITHMS = ("softsort", "neuralsort", "fast_soft_sort", "ot", "sorting_network")
SOFTNESSES = (1e-3, 1e-2, 0.1, 1.0, 10.0)
LIMIT = 1e-4  # beyond which entries of the gradient are counted


def errors(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Of all entries of the float32 value and gradient, over the largest one."""

    def run(x):
        fn, direction = with_gradient(ours(problem), x)
        return jax.tree.map(np.asarray, jax.jit(fn)(x, direction))

    single = run(jnp.asarray(problem.x, "float32"))
    with jax.enable_x64(True):
        double = run(jnp.asarray(np.asarray(problem.x, "float32"), "float64"))
    value, gradient = (abs(a - b) / max(abs(b).max(), 1e-300) for a, b in zip(single, double, strict=True))
    return value, gradient


def cell(problem: Problem) -> str:
    value, gradient = errors(problem)
    beyond = int((gradient > LIMIT).sum())
    return f"{value.max():.0e} {gradient.max():.0e}" + (f" ({beyond})" if beyond else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operators", nargs="+", choices=OPERATORS, default=OPERATORS)
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=ALGORITHMS)
    parser.add_argument("--modes", nargs="+", default=["smooth", "c0"])
    parser.add_argument("--softness", nargs="+", type=float, default=SOFTNESSES)
    parser.add_argument("--n", type=int, default=1024, help="entries of the row")
    options = parser.parse_args()

    print(f"Python {platform.python_version()}, {versions()}; {options.n} entries")
    print(f"{'operator, algorithm, mode':<33}" + "".join(f"{f'softness {s:g}':>20}" for s in options.softness))
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
                        f"{operator:<7}{algorithm:<16}{mode:<7}{what:<5}" + "".join(f"{c:>20}" for c in cells),
                        flush=True,
                    )


if __name__ == "__main__":
    main()
