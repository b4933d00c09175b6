"""Time, compile time, memory and error of the ordering operators beside jax.numpy and every peer that is installed.

Also of some elementwise operators, as one more algorithm.

    python benchmarks/ordering.py [--quick] [--operators sort ...] [--algorithms softsort ...] [--modes smooth ...]
                                  [--shapes 1024 256x1024 ...] [--dtypes float32 ...] [--peers softjax ...]
                                  [--seconds 4] [--patience 20] [--csv FILE] [--pictures FOLDER]

All contestants of a line take turns in one run. In each turn the first call does not count: it finds the caches as the
contestant before has left them. What takes microseconds is then called as often as fills a millisecond or two, one call
after the other has ended, and its turn is the mean of these: a single one shows how soon a thread woke up. A figure is
the median of the turns: forward, and with the gradient. "x" is the time of a peer over ours, with the gradient: above 1
we are faster. "-" is what a contestant can't do, what would need a matrix that does not fit, and a peer that lost the
patience with a shape before. The errors are those of our float32 value and gradient against our own in float64,
relative to their largest entry; the slope is that of log time over log n, from n = 4,096.
"""

import argparse
import csv
import math
import os
import platform
import statistics
import time
from pathlib import Path

import jax
import numpy as np
from contestants import ELEMENTWISE, Prepared, Problem, present, versions
from precision import errors

SHAPES = ("64", "1024", "4096", "16384", "131072", "1048576", "64x256", "256x1024")
QUICK = ("1024", "4096", "256x1024")
ALGORITHMS = ("softsort", "neuralsort", "fast_soft_sort", "ot", "sorting_network", "elementwise")
OPERATORS = {name: ("sort", "rank", "max", "argmax", "median", "top_k") for name in ALGORITHMS}
OPERATORS |= {"fast_soft_sort": ("sort", "rank", "max", "median"), "elementwise": tuple(ELEMENTWISE)}
ERROR_LIMIT = 2**18  # entries up to which the error is looked at
TURN = 1e-3  # seconds that a contestant's turn takes, or a single call, if that takes longer


def attempted(name: str, prepare, problem: Problem, gradient: bool):
    """Prepared, and the seconds of a first run; a peer that fails is left out, and said to."""
    try:
        prepared = prepare(problem, gradient)
        return prepared and (prepared, seconds(prepared))
    except Exception as error:
        if name in ("jnp", "ours"):
            raise
        print(f"# {name}: {type(error).__name__}: {str(error).strip().splitlines()[0][:150]}")
        return None


def seconds(prepared: Prepared, calls: int = 1) -> float:
    """Of one call, as the mean of so many."""
    begin = time.perf_counter()
    for _ in range(calls):
        prepared.run()
    return (time.perf_counter() - begin) / calls


def measured(problem: Problem, contestants: dict, gradient: bool, budget: float) -> dict[str, tuple]:
    """Milliseconds, seconds of compilation and megabytes of each: the median of turns taken until the time is spent.

    Whoever takes longer than that for a run has only the first one.
    """
    tried = {name: attempted(name, prepare, problem, gradient) for name, prepare in contestants.items()}
    ready = {name: found[0] for name, found in tried.items() if found}
    quick = [name for name in ready if tried[name][1] < budget]
    times = {name: [] if name in quick else [tried[name][1]] for name in ready}
    start = time.perf_counter()
    for turn in range(30):
        if turn >= 3 and time.perf_counter() - start > budget:
            break
        for name in quick:
            warm = seconds(ready[name])  # not counted: it finds the caches as the contestant before has left them
            times[name].append(seconds(ready[name], math.ceil(TURN / warm)))
    return {name: (1e3 * statistics.median(times[name]), p.compile, p.memory) for name, p in ready.items()}


def line(problem: Problem, contestants: dict, budget: float) -> dict:
    """One row of the table."""
    out = {"operator": problem.operator, "algorithm": problem.algorithm, "mode": problem.mode}
    out |= {"shape": "x".join(map(str, problem.x.shape)), "dtype": str(problem.x.dtype)}
    forward = measured(problem, contestants, False, budget / 2)
    both = measured(problem, contestants, True, budget)
    for name in contestants:
        out[f"{name} forward"] = forward.get(name, (math.nan,))[0]
        out[f"{name} run"], out[f"{name} compile"], out[f"{name} memory"] = both.get(name, (math.nan,) * 3)
    small = problem.x.size <= ERROR_LIMIT and problem.x.dtype == np.float32
    out["value error"], out["gradient error"] = (
        (e.max() for e in errors(problem)[:2]) if small else (math.nan, math.nan)
    )
    return out


# The table


def shown(figure: float, form: str) -> str:
    return "-" if math.isnan(figure) else format(figure, form)


def header(names: list[str]) -> str:
    peers = [name for name in names if name != "ours"]
    cells = [f"{'operator, algorithm, mode, shape, dtype':<53}{'ours fwd':>10}{'ours':>10}"]
    cells += [f"{f'{name} x':>17}" for name in peers]
    cells += [f"{'compile s':>10}{'softjax':>8}{'MB':>8}{'softjax':>9}{'value':>8}{'grad':>8}"]
    return "".join(cells)


def printed(out: dict, names: list[str]) -> str:
    get = lambda key: out.get(key, math.nan)
    what = (out[key] for key in ("operator", "algorithm", "mode", "shape", "dtype"))
    cells = ["{:<8}{:<16}{:<8}{:>10} {:<10}".format(*what)]
    cells += [f"{shown(out['ours forward'], '.2f'):>10}{shown(out['ours run'], '.2f'):>10}"]
    peers = [name for name in names if name != "ours"]
    cells += [f"{shown(get(f'{name} run') / out['ours run'], '.2f'):>17}" for name in peers]
    cells += [f"{shown(out['ours compile'], '.1f'):>10}{shown(get('softjax compile'), '.1f'):>8}"]
    cells += [f"{shown(out['ours memory'], '.1f'):>8}{shown(get('softjax memory'), '.1f'):>9}"]
    return "".join([*cells, *(f"{shown(out[f'{what} error'], '.0e'):>8}" for what in ("value", "gradient"))])


def slopes(lines: list[dict]) -> list[str]:
    """Of log time over log n, for each operator on single rows of 4,096 entries and more."""
    kinds = {}
    for out in lines:
        if out["shape"].isdigit() and int(out["shape"]) >= 4096 and not math.isnan(out["ours run"]):
            key = f"{out['operator']:<8}{out['algorithm']:<16}{out['mode']:<8}{out['dtype']}"
            kinds.setdefault(key, []).append((math.log(int(out["shape"])), math.log(out["ours run"])))
    return [f"{key:<45}{np.polyfit(*np.transpose(at), 1)[0]:.2f}" for key, at in kinds.items() if len(at) > 1]


def draw(lines: list[dict], names: list[str], folder: Path) -> None:
    """Time over n of all contestants, one picture for each operator, algorithm and mode."""
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    kinds = {}
    for out in lines:
        if out["shape"].isdigit() and out["dtype"] == "float32":
            kinds.setdefault((out["operator"], out["algorithm"], out["mode"]), []).append(out)
    for kind, rows in kinds.items():
        figure, axes = plt.subplots(figsize=(5, 4))
        for name in names:
            times = [out.get(f"{name} run", math.nan) for out in rows]
            axes.loglog([int(out["shape"]) for out in rows], times, "o-", label=name)
        axes.set(title=" ".join(kind), xlabel="n", ylabel="ms, value and gradient")
        axes.legend()
        figure.savefig(folder / ("-".join(kind) + ".svg"), bbox_inches="tight")
        plt.close(figure)


def write(lines: list[dict], path: str) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, max(lines, key=len).keys(), restval="nan")
        writer.writeheader()
        writer.writerows(lines)


# The command


def asked():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="sort and rank, mode smooth, three shapes: under 5 minutes"
    )
    parser.add_argument("--operators", nargs="+", choices=sorted({o for own in OPERATORS.values() for o in own}))
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS)
    parser.add_argument("--modes", nargs="+", help="smooth and c0 by default")
    parser.add_argument("--shapes", nargs="+", help="such as 1024 or 256x1024")
    parser.add_argument("--dtypes", nargs="+", default=["float32"])
    parser.add_argument("--peers", nargs="+", help="contestants to take, of those installed")
    parser.add_argument("--seconds", type=float, help="to spend on the turns of a line: 4, and 0.5 if quick")
    parser.add_argument("--patience", type=float, default=20.0, help="seconds of a run, after which a peer is left out")
    parser.add_argument("--csv")
    parser.add_argument("--pictures", type=Path)
    return parser.parse_args()


def problems(options):
    shapes = options.shapes or (QUICK if options.quick else SHAPES)
    algorithms = options.algorithms or (ALGORITHMS[:3] if options.quick else ALGORITHMS)
    for algorithm in algorithms:
        for mode in options.modes or (["smooth"] if options.quick else ["smooth", "c0"]):
            operators = OPERATORS[algorithm]
            for operator in operators[:2] if options.quick and not options.operators else operators:
                if options.operators and operator not in options.operators:
                    continue
                for dtype in options.dtypes:
                    for shape in shapes:
                        size = tuple(map(int, shape.split("x")))
                        x = np.random.default_rng(0).normal(size=size).astype(dtype)
                        yield Problem(operator, algorithm, mode, x)


def main():
    options = asked()
    contestants = {
        n: p for n, p in present().items() if n in ("jnp", "ours") or not options.peers or n in options.peers
    }
    names = list(contestants)
    print(f"Python {platform.python_version()}, {versions()}")
    device = jax.devices()[0].device_kind
    print(f"{os.cpu_count()} cores, {platform.machine()}, {device}; ms of a forward run and of one with its gradient")
    print(header(names))
    budget = options.seconds or (0.5 if options.quick else 4.0)
    lines, slow = [], {}
    for problem in problems(options):
        left_out = slow.setdefault(problem[:3], set())
        with jax.enable_x64(problem.x.dtype == np.float64):
            lines.append(line(problem, {n: p for n, p in contestants.items() if n not in left_out}, budget))
        left_out |= {
            n for n in names if lines[-1].get(f"{n} run", 0) > 1e3 * options.patience and n not in ("jnp", "ours")
        }
        print(printed(lines[-1], names), flush=True)
    print("slope of log time over log n", *slopes(lines), sep="\n")
    if options.csv:
        write(lines, options.csv)
    if options.pictures:
        draw(lines, names, options.pictures)


if __name__ == "__main__":
    main()
