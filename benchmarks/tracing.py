"""Tracing time of a typed expression of 100 operators beside the untyped relaxation and the hard program.

    python benchmarks/tracing.py [--repeats 30]

Prints the median time to trace each (`jax.make_jaxpr`, no compilation), interleaved in one run, and the ratios.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import jax
import jax.numpy as jnp

import softtypes as sft
from softtypes._lift import relax
from softtypes._relaxation import Relaxation
from softtypes.rules import comparison

OPERATORS = 100
SOFT = Relaxation()


def typed(x, y):
    """A chain of arithmetic, comparisons and logic: 20 rounds of 5 operators."""
    x, y = sft.soft(x), sft.soft(y)
    truth = sft.SoftBool.from_hard(jnp.zeros(x.shape, bool))
    for _ in range(OPERATORS // 5):
        x = x * 0.5 + y
        truth = truth | ((x > y) & ~truth)
    return truth.st()


def untyped(x, y):
    """The same relaxation on plain arrays, the soft view only."""
    truth = jnp.zeros(x.shape)
    for _ in range(OPERATORS // 5):
        x = x * 0.5 + y
        both = relax(comparison.GREATER, SOFT, x, y) * (1 - truth)
        truth = 1 - (1 - truth) * (1 - both)
    return truth


def by_hand(x, y):
    """The relaxation as a person would write it, without care for ties, NaN, infinities or dtypes."""
    truth = jnp.zeros(x.shape)
    for _ in range(OPERATORS // 5):
        x = x * 0.5 + y
        both = jax.nn.sigmoid((x - y) / 0.1) * (1 - truth)
        truth = truth + both - truth * both
    return truth


def hard(x, y):
    """The exact program in plain jnp."""
    truth = jnp.zeros(x.shape, bool)
    for _ in range(OPERATORS // 5):
        x = x * 0.5 + y
        truth = truth | ((x > y) & ~truth)
    return truth


def traced(fn: Callable, x, y) -> float:
    start = time.perf_counter()
    jax.make_jaxpr(lambda a, b: fn(a, b))(x, y)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    repeats = parser.parse_args().repeats
    x, y = jnp.linspace(-1.0, 1.0, 8), jnp.linspace(1.0, -1.0, 8)
    programs = {"typed": typed, "untyped": untyped, "by hand": by_hand, "hard": hard}
    times = {name: [] for name in programs}
    for _ in range(repeats + 2):
        for name, fn in programs.items():
            times[name].append(traced(fn, x, y))
    median = {name: statistics.median(seconds[2:]) for name, seconds in times.items()}
    print(f"Python {platform.python_version()}, jax {version('jax')}, {platform.machine()}, {OPERATORS} operators")
    print(f"{'program':<10}{'ms':>8}{'typed is':>10}")
    for name, seconds in median.items():
        print(f"{name:<10}{1e3 * seconds:>8.1f}{median['typed'] / seconds:>9.2f}x")


if __name__ == "__main__":
    main()
