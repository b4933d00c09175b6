"""Where a program decides: source line, name scope, function; selectors of such sites; the report."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import jax

from softtypes._relaxation import Relaxation, resolve

OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARY = (os.path.dirname(os.path.abspath(jax.__file__)) + os.sep, OURS + os.sep)
OUTSIDE = (LIBRARY[0], "<")  # frames that say nothing of who wrote an equation: JAX's own, and generated code
CALLERS = (os.path.join(OURS, "softening", "transform.py"), os.path.join(OURS, "straight_through.py"))

Selector: TypeAlias = str | Callable[["Site"], bool]


class Frame(NamedTuple):
    """A line of the user's program."""

    file: str
    line: int
    function: str


class Place(NamedTuple):
    """Where an equation of the program comes from: its frames, innermost first, and its name scope."""

    frames: tuple[Frame, ...] = ()
    scope: str = ""


class Site(NamedTuple):
    """A step of the program that is not differentiable, or that consumes what such a step gave.

    `became` says what it was relaxed to; where `relaxed` is false, why it was left hard.
    """

    place: str  # "file.py:12"
    function: str
    scope: str
    primitive: str
    became: str
    relaxed: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    softness: Any
    frames: tuple[Frame, ...]


class Report(list[Site]):
    """The sites of a program in the order in which they run. It prints as a table."""

    def __str__(self) -> str:
        header = ("place", "function", "scope", "primitive", "became", "from", "to")
        rows = [header, *(_row(site) for site in self)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _row(site: Site) -> tuple[str, ...]:
    became = site.became if site.relaxed else f"left hard: {site.became}"
    shapes = (" ".join(site.inputs), " ".join(site.outputs))
    return (site.place, site.function, site.scope, site.primitive, became, *shapes)


# Places


def place_of(eqn) -> Place:
    """The place of an equation, as far as JAX remembers it."""
    info = eqn.source_info
    traceback = getattr(info, "traceback", None)
    frames = () if traceback is None else traceback.frames
    users = tuple(Frame(f.file_name, f.line_num, f.function_name) for f in frames if not _in_library(f.file_name))
    return Place(users, str(info.name_stack))


def _in_library(name: str) -> bool:
    return name.startswith(LIBRARY) or name.startswith("<frozen")


def is_of_library(jaxpr) -> bool:
    """Whether a jitted function is JAX's own: JAX then shares its equations among all who call it."""
    return any(part in _origin(jaxpr) for part in LIBRARY)


def is_of_operator(eqn) -> bool:
    """Whether an operator of this library made an equation, rather than the user's program or what calls it."""
    traceback = getattr(eqn.source_info, "traceback", None)
    names = () if traceback is None else (frame.file_name for frame in traceback.frames)
    author = next((name for name in names if not name.startswith(OUTSIDE)), "")
    return author.startswith(LIBRARY[1]) and author not in CALLERS


def name_of(jaxpr) -> str:
    """The name of the function that became a program."""
    return _origin(jaxpr).partition(" at ")[0]


def _origin(jaxpr) -> str:
    return getattr(getattr(jaxpr, "debug_info", None), "func_src_info", None) or ""


def inside(outer: Place, inner: Place, shared: bool) -> Place:
    """The place of an equation of a function that is called at a place."""
    scope = "/".join(part for part in (outer.scope, inner.scope) if part)
    return Place(outer.frames if shared or not inner.frames else inner.frames, scope)


# Selectors


def matches(selector: Selector, site: Site) -> bool:
    """Whether a selector means this site."""
    return bool(selector(site)) if callable(selector) else any(test(selector, site) for test in TESTS)


def _by_primitive(text: str, site: Site) -> bool:
    return text == site.primitive


def _by_function(text: str, site: Site) -> bool:
    return any(text == frame.function.split(".")[-1] for frame in site.frames)


def _by_scope(text: str, site: Site) -> bool:
    return f"/{text}/" in f"/{site.scope}/"


def _by_line(text: str, site: Site) -> bool:
    name, _, lines = text.rpartition(":")
    first, _, last = lines.partition("-")
    if not name or not first.isdigit():
        return False
    wanted = range(int(first), int(last or first) + 1)
    return any(_same_file(frame.file, name) and frame.line in wanted for frame in site.frames)


def _same_file(path: str, name: str) -> bool:
    return f"/{path}".endswith(f"/{name}")


TESTS = (_by_primitive, _by_function, _by_scope, _by_line)


def as_selectors(name: str, given) -> tuple[Selector, ...]:
    """One selector or several, checked."""
    listed = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    for selector in listed:
        if not (isinstance(selector, str) or callable(selector)):
            raise TypeError(f"{name}: {HOW_TO_SELECT}; got {selector!r}")
    return listed


HOW_TO_SELECT = (
    "a site is selected by a primitive ('lt'), a name scope ('guard'), a function ('reward'), "
    "a source line ('file.py:12' or 'file.py:12-20') or a function of the Site"
)


# How a program is softened


@dataclass(frozen=True)
class Plan:
    """Which sites are relaxed, and how."""

    relaxation: Relaxation
    only: tuple[Selector, ...] = ()
    skip: tuple[Selector, ...] = ()
    overrides: Mapping[Selector, Any] = field(default_factory=dict)
    unroll: int | None = None

    def leaves(self, site: Site, follows: bool = False) -> str | None:
        """Why a site stays hard, or None; one that follows another is among `only` if that one is."""
        if any(matches(selector, site) for selector in self.skip):
            return "skipped"
        if self.only and not follows and not any(matches(selector, site) for selector in self.only):
            return "not among `only`"
        return None

    def at(self, site: Site) -> Relaxation:
        """The relaxation at a site: of several overrides the last one that means it."""
        found = self.relaxation
        for selector, given in self.overrides.items():
            if matches(selector, site):
                found = _overridden(self.relaxation, given)
        return found


def _overridden(base: Relaxation, given) -> Relaxation:
    if isinstance(given, Relaxation):
        return given
    return resolve(given if isinstance(given, Mapping) else {"softness": given}, base)


def plan(relaxation: Relaxation, only=(), skip=(), overrides=None, unroll: int | None = None) -> Plan:
    """A checked plan."""
    overrides = dict(overrides or {})
    as_selectors("overrides", overrides)
    for given in overrides.values():
        _overridden(relaxation, given)
    if unroll is not None and (not isinstance(unroll, int) or isinstance(unroll, bool) or unroll < 0):
        raise ValueError(f"soften: unroll must be a number of steps, at least 0; got {unroll!r}")
    return Plan(relaxation, as_selectors("only", only), as_selectors("skip", skip), overrides, unroll)


class Recorder:
    """Sites in the order in which they were first met; a loop's body that is evaluated again adds none."""

    def __init__(self):
        self._sites: dict[Iterable, Site] = {}

    def __call__(self, key, site: Site) -> None:
        self._sites[key] = site

    def relaxed(self) -> bool:
        """Whether any site was relaxed."""
        return any(site.relaxed for site in self._sites.values())

    def report(self) -> Report:
        """What was recorded."""
        return Report(self._sites.values())
