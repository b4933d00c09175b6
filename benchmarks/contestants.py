"""Who takes part in the benchmark of the ordering operators: this library, jax.numpy and its peers, where installed.

A contestant prepares a run: a function without arguments that computes the operator on the data, forward or with the
gradient against a fixed direction, and waits for the result. What it can't do it answers with None.
"""

import importlib.util
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import softtypes as sft

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # or else torch's threads spin while others take their turn

SOFTNESS = 0.1
TOP = 5
MATRIX_LIMIT = 2**28  # entries of a matrix of weights that a contestant may make
ROWS_ONLY = ("sort", "rank")
WITH_MATRIX = ("ot", "sorting_network")  # of ours


class Problem(NamedTuple):
    """An operator on rows, `x` a float array `(..., n)`."""

    operator: str
    algorithm: str
    mode: str
    x: np.ndarray
    softness: float = SOFTNESS

    @property
    def matrix(self) -> int:
        """Entries of a matrix of weights for each row, as many rows of it as the operator asks for."""
        rows = {"max": 1, "argmax": 1, "median": 2, "top_k": TOP}.get(self.operator, self.x.shape[-1])
        return self.x.size * rows


class Prepared(NamedTuple):
    """A run, how many seconds it took to compile, and the megabytes of its temporary memory."""

    run: Callable[[], object]
    compile: float = float("nan")
    memory: float = float("nan")


# Contestants on jax: an operator is a function of the data


def with_gradient(fn: Callable, x) -> tuple[Callable, jax.Array]:
    """The value and its gradient against a direction, and that direction."""

    def run(x, direction):
        value, pull = jax.vjp(fn, x)
        return value, pull(direction)[0]

    out = jax.eval_shape(fn, x)
    return run, jnp.asarray(np.cos(np.arange(out.size)).reshape(out.shape), out.dtype)


def compiled(fn: Callable, x: np.ndarray, gradient: bool) -> Prepared:
    arguments = (jnp.asarray(x),)
    if gradient:
        fn, direction = with_gradient(fn, *arguments)
        arguments = (*arguments, direction)
    start = time.perf_counter()
    program = jax.jit(fn).lower(*arguments).compile()
    seconds = time.perf_counter() - start
    analysis = program.memory_analysis()
    memory = analysis.temp_size_in_bytes / 2**20 if analysis else float("nan")
    return Prepared(lambda: jax.block_until_ready(program(*arguments)), seconds, memory)


EXACT = {
    "sort": lambda x: jnp.sort(x, -1),
    "rank": lambda x: jnp.sort(x, -1),  # the ranks have no gradient; sorting is what they cost
    "max": lambda x: jnp.max(x, -1),
    "argmax": lambda x: jnp.max(x, -1),  # an index has no gradient
    "median": lambda x: jnp.median(x, -1),
    "top_k": lambda x: jax.lax.top_k(x, TOP)[0],
}


ELEMENTWISE = {  # of one array, the second operand turned round
    "abs": lambda library, **knobs: lambda x: library.abs(x, **knobs),
    "relu": lambda library, **knobs: lambda x: library.relu(x, **knobs),
    "sign": lambda library, **knobs: lambda x: library.sign(x, **knobs),
    "round": lambda library, **knobs: lambda x: library.round(x, **knobs),
    "clip": lambda library, **knobs: lambda x: library.clip(x, -1.0, 1.0, **knobs),
    "greater": lambda library, **knobs: lambda x: library.greater(x, x[..., ::-1], **knobs),
    "equal": lambda library, **knobs: lambda x: library.equal(x, x[..., ::-1], **knobs),
}


def exact(problem: Problem) -> Callable | None:
    return EXACT.get(problem.operator)


def ours(problem: Problem) -> Callable | None:
    operator, algorithm, mode, _, softness = problem
    if algorithm == "elementwise":
        fn = ELEMENTWISE[operator](sft, mode=mode, softness=softness)
        plain = lambda out: getattr(out, "probs", out)
        return lambda x: plain(fn(x))
    if algorithm in WITH_MATRIX and problem.matrix > MATRIX_LIMIT:
        return None
    knobs = {"axis": -1, "algorithm": algorithm, "mode": mode, "softness": softness}
    if operator == "top_k":
        return lambda x: sft.top_k(x, TOP, **knobs)[0]
    if operator == "argmax":
        return lambda x: sft.argmax(x, **knobs).probs
    return lambda x: getattr(sft, operator)(x, **knobs)


def softjax(problem: Problem) -> Callable | None:
    import softjax

    operator, algorithm, mode, _, softness = problem
    if algorithm == "elementwise":
        return ELEMENTWISE[operator](softjax, mode=mode, softness=softness)
    if algorithm != "fast_soft_sort" and problem.matrix > MATRIX_LIMIT:
        return None
    knobs = {"axis": -1, "method": algorithm, "mode": mode, "softness": softness}
    if operator == "top_k":
        return lambda x: softjax.top_k(x, TOP, **knobs)[0]
    return lambda x: getattr(softjax, operator)(x, **knobs)


def ott(problem: Problem) -> Callable | None:
    """Sinkhorn's algorithm to its own tolerance, at the same strength of the entropy."""
    from ott.initializers.linear.initializers import DefaultInitializer
    from ott.tools import soft_sort

    if (problem.algorithm, problem.mode) != ("ot", "smooth") or problem.matrix > MATRIX_LIMIT:
        return None
    operators = {"sort": soft_sort.sort, "rank": soft_sort.ranks}
    fn = operators.get(problem.operator)
    initializer = DefaultInitializer()  # its own choice has no gradient in newer jax
    knobs = {"epsilon": problem.softness, "initializer": initializer}
    return fn and (lambda x: fn(x, axis=-1, **knobs))


# Contestants on numpy and torch

REGULARIZATION = {"c0": "l2", "smooth": "kl"}


def fast_soft_sort(problem: Problem, gradient: bool) -> Prepared | None:
    from fast_soft_sort import numpy_ops

    if problem.algorithm != "fast_soft_sort" or problem.mode not in REGULARIZATION or problem.operator not in ROWS_ONLY:
        return None
    solver = {"sort": numpy_ops.SoftSort, "rank": numpy_ops.SoftRank}[problem.operator]
    knobs = {"regularization_strength": problem.softness, "regularization": REGULARIZATION[problem.mode]}
    rows = problem.x.reshape(-1, problem.x.shape[-1]).astype(np.float64)
    direction = np.cos(np.arange(rows.size)).reshape(rows.shape)

    def run():
        for row, along in zip(rows, direction, strict=True):
            solved = solver(row, **knobs)
            solved.compute()
            if gradient:
                solved.vjp(along)

    return Prepared(run)


def of_torch(find: Callable) -> Callable:
    """A contestant whose operator `find(problem)` acts on a torch tensor of rows."""

    def prepare(problem: Problem, gradient: bool) -> Prepared | None:
        import torch

        fn = find(problem)
        if fn is None:
            return None
        rows = torch.tensor(problem.x.reshape(-1, problem.x.shape[-1]), requires_grad=gradient)

        def run():
            value = fn(rows)
            if gradient:
                torch.autograd.grad(value, rows, torch.ones_like(value))

        return Prepared(run)

    return prepare


def torchsort(problem: Problem) -> Callable | None:
    import torchsort

    if problem.algorithm != "fast_soft_sort" or problem.mode not in REGULARIZATION:
        return None
    fn = {"sort": torchsort.soft_sort, "rank": torchsort.soft_rank}.get(problem.operator)
    knobs = {"regularization": REGULARIZATION[problem.mode], "regularization_strength": problem.softness}
    return fn and (lambda x: fn(x, **knobs))


def softtorch(problem: Problem) -> Callable | None:
    import softtorch

    operator, algorithm, mode, _, softness = problem
    fn = getattr(softtorch, "topk" if operator == "top_k" else operator, None)
    if fn is None or (algorithm != "fast_soft_sort" and problem.matrix > MATRIX_LIMIT):
        return None
    knobs = {"dim": -1, "method": algorithm, "mode": mode, "softness": softness}
    if operator == "sort":
        knobs["return_indices"] = False
    rest = (TOP,) if operator == "top_k" else ()
    values = lambda out: out[0] if isinstance(out, tuple) else out  # some answer with values and indices
    return lambda x: values(fn(x, *rest, **knobs))


# All of them


def on_jax(find: Callable) -> Callable:
    def prepare(problem: Problem, gradient: bool) -> Prepared | None:
        fn = find(problem)
        return fn and compiled(fn, problem.x, gradient)

    return prepare


CONTESTANTS = {
    "jnp": (None, on_jax(exact)),
    "ours": (None, on_jax(ours)),
    "softjax": ("softjax", on_jax(softjax)),
    "ott": ("ott-jax", on_jax(ott)),
    "fast-soft-sort": ("fast-soft-sort", fast_soft_sort),
    "torchsort": ("torchsort", of_torch(torchsort)),
    "softtorch": ("softtorch", of_torch(softtorch)),
}
MODULES = {"ott-jax": "ott", "fast-soft-sort": "fast_soft_sort"}


def present() -> dict[str, Callable]:
    """The contestants whose package is installed."""
    installed = lambda package: package is None or importlib.util.find_spec(MODULES.get(package, package)) is not None
    return {name: prepare for name, (package, prepare) in CONTESTANTS.items() if installed(package)}


def versions() -> str:
    packages = [package for name, (package, _) in CONTESTANTS.items() if package and name in present()]
    return ", ".join(f"{package} {version(package)}" for package in ("jax", *packages))
