"""Time, compile time and memory of soft sorting and ranking beside the hard operator and softjax.

    python benchmarks/ordering.py [--quick] [--algorithms softsort ...] [--modes smooth ...] [--csv FILE]

Every figure is of a compiled value with its gradient, in float32, all contestants in turns in one run, the median of
the repeats. softjax takes part where it is installed. A contestant whose matrix would not fit is left out and shown as
"-". The error is that of our gradient against our own in float64, relative to its largest entry.
"""

import argparse
import csv
import importlib.util
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import softtypes as sft

SHAPES = ((64,), (1024,), (4096,), (16384,), (131072,), (1048576,), (64, 256), (256, 1024))
QUICK = ((1024,), (4096,), (16384,), (256, 1024))
MATRIX_LIMIT = 2**28  # entries of a matrix of weights that a contestant may make
LINEAR = {("softsort", "smooth"), *(("fast_soft_sort", mode) for mode in ("smooth", "c0", "c1", "c2"))}


class Result(NamedTuple):
    """Milliseconds of a run, seconds of the compilation, megabytes of temporary memory."""

    run: float
    compile: float
    memory: float


def ours(operator: str, algorithm: str, mode: str) -> Callable:
    fn = getattr(sft, operator)
    return lambda x: fn(x, axis=-1, algorithm=algorithm, mode=mode)


def peer(operator: str, algorithm: str, mode: str) -> Callable:
    import softjax

    fn = getattr(softjax, operator)
    return lambda x: fn(x, axis=-1, method=algorithm, mode=mode)


def exact(x):
    return jnp.sort(x, -1)


def with_gradient(fn: Callable) -> Callable:
    """The value, and its gradient against a fixed direction."""

    def run(x):
        value, pull = jax.vjp(fn, x)
        return value, pull(jnp.cos(jnp.arange(value.size, dtype=value.dtype)).reshape(value.shape))[0]

    return run


def prepared(fn: Callable, x) -> tuple[Callable, float, float]:
    start = time.perf_counter()
    compiled = jax.jit(with_gradient(fn)).lower(x).compile()
    seconds = time.perf_counter() - start
    analysis = compiled.memory_analysis()
    jax.block_until_ready(compiled(x))
    return compiled, seconds, analysis.temp_size_in_bytes / 2**20 if analysis else float("nan")


def measured(contestants: dict[str, Callable], x, budget: float) -> dict[str, Result]:
    """All in turns until the time is spent, at least three times each."""
    ready = {name: prepared(fn, x) for name, fn in contestants.items()}
    times = {name: [] for name in ready}
    start = time.perf_counter()
    while len(times["jnp.sort"]) < 3 or (time.perf_counter() - start < budget and len(times["jnp.sort"]) < 30):
        for name, (compiled, *_) in ready.items():
            begin = time.perf_counter()
            jax.block_until_ready(compiled(x))
            times[name].append(time.perf_counter() - begin)
    return {name: Result(1e3 * statistics.median(times[name]), *ready[name][1:]) for name in ready}


def error(fn: Callable, x) -> float:
    """Of the float32 gradient."""
    single = np.asarray(jax.jit(with_gradient(fn))(x)[1])
    with jax.enable_x64(True):
        double = np.asarray(jax.jit(with_gradient(fn))(jnp.asarray(np.asarray(x), "float64"))[1])
    return float(np.abs(single - double).max() / np.abs(double).max())


def fits(algorithm: str, mode: str, shape: tuple[int, ...], whose: str) -> bool:
    linear = (algorithm, mode) in LINEAR if whose == "ours" else algorithm == "fast_soft_sort"
    return linear or int(np.prod(shape)) * shape[-1] <= MATRIX_LIMIT


def row(operator: str, algorithm: str, mode: str, shape: tuple[int, ...], budget: float) -> dict:
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), "float32")
    contestants = {"jnp.sort": exact}
    if fits(algorithm, mode, shape, "ours"):
        contestants["ours"] = ours(operator, algorithm, mode)
    if importlib.util.find_spec("softjax") and fits(algorithm, mode, shape, "softjax"):
        contestants["softjax"] = peer(operator, algorithm, mode)
    results = measured(contestants, x, budget)
    out = {"operator": operator, "algorithm": algorithm, "mode": mode, "shape": "x".join(map(str, shape))}
    for name in ("jnp.sort", "ours", "softjax"):
        for what, figure in zip(Result._fields, results.get(name, Result(*[float("nan")] * 3)), strict=True):
            out[f"{name} {what}"] = figure
    out["error"] = error(contestants["ours"], x) if "ours" in results and np.prod(shape) <= 2**18 else float("nan")
    return out


def shown(figure: float, form: str) -> str:
    return "-" if np.isnan(figure) else format(figure, form)


def printed(out: dict) -> str:
    quotient = lambda a, b: out[f"{a} run"] / out[f"{b} run"]
    cells = [f"{out['operator']:<6}{out['algorithm']:<16}{out['mode']:<8}{out['shape']:>9}"]
    cells += [f"{shown(out[f'{name} run'], '.2f'):>11}" for name in ("jnp.sort", "ours", "softjax")]
    cells += [f"{shown(quotient('ours', 'jnp.sort'), '.2f'):>10}", f"{shown(quotient('softjax', 'ours'), '.1f'):>10}"]
    cells += [f"{shown(out[f'{name} compile'], '.1f'):>8}" for name in ("ours", "softjax")]
    cells += [f"{shown(out[f'{name} memory'], '.1f'):>9}" for name in ("ours", "softjax")]
    return "".join([*cells, f"{shown(out['error'], '.0e'):>8}"])


HEADER = "\n".join(
    (
        f"{'':<39}{'ms':>11}{'ms':>11}{'ms':>11}{'ours /':>10}{'softjax':>10}{'compile s':>16}{'memory MB':>18}",
        f"{'operator, algorithm, mode, shape':<39}{'jnp.sort':>11}{'ours':>11}{'softjax':>11}{'jnp.sort':>10}"
        f"{'/ ours':>10}{'ours':>8}{'softjax':>8}{'ours':>9}{'softjax':>9}{'error':>8}",
    )
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="four shapes, under 5 minutes")
    parser.add_argument("--algorithms", nargs="+", default=["softsort", "neuralsort", "fast_soft_sort"])
    parser.add_argument("--modes", nargs="+", default=["smooth", "c0"])
    parser.add_argument("--csv")
    options = parser.parse_args()
    peers = f"softjax {version('softjax')}" if importlib.util.find_spec("softjax") else "softjax not installed"
    print(f"Python {platform.python_version()}, jax {version('jax')}, {peers}")
    print(f"{os.cpu_count()} cores, {platform.machine()}, float32, value and gradient")
    print(HEADER)
    rows = []
    for algorithm in options.algorithms:
        for mode in options.modes:
            for operator in ("sort", "rank"):
                for shape in QUICK if options.quick else SHAPES:
                    rows.append(row(operator, algorithm, mode, shape, 1.0 if options.quick else 5.0))
                    print(printed(rows[-1]), flush=True)
    if options.csv:
        with open(options.csv, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
