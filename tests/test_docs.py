"""The documentation is executed, complete, and says what there is."""

import ast
import contextlib
import doctest
import inspect
import io
import re
import textwrap
from itertools import pairwise
from pathlib import Path

import jax
import numpy as np
import pytest
import yaml

import softtypes as sft

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
MODULES = sorted((ROOT / "softtypes").rglob("*.py"))
BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"^::: (\S+)$", re.MULTILINE)
SECTION = re.compile(r"^(\w+):$", re.MULTILINE)
ARGUMENT = re.compile(r"^ {4}\**(\w+): ", re.MULTILINE)

PUBLIC = {name: value for name, value in vars(sft).items() if name[0] != "_" and not inspect.ismodule(value)}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if inspect.isfunction(value)}
TYPES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}
MEMBERS = [(kind, name) for kind in TYPES.values() for name in dir(kind) if name[0] != "_"]


def relative(path):
    return str(path.relative_to(ROOT))


@pytest.fixture(autouse=True)
def ordinary_rules():
    """The reader's rules, not the strict ones of the other tests; and pages may set how arrays print."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"), np.printoptions():
        yield


def blocks(path):
    """The fenced blocks of a page: language, code, number of the line before the code, whether one follows at once."""
    text = path.read_text()
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code"))
        yield match["language"], textwrap.dedent(match["code"]), line, text[: match.start()].rstrip().endswith("```")


def output(code, path, line, namespace):
    """What a block prints. Tracebacks show the line of the page."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * line + code, str(path), "exec"), namespace)
    return printed.getvalue()


def trimmed(text):
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines())


@pytest.mark.parametrize("path", [ROOT / "README.md", *PAGES], ids=relative)
def test_blocks_of_a_page_run_and_print_what_the_page_says(path):
    """Blocks of a page share their names. One that prints is followed at once by a `text` block of the output."""
    namespace = {"__name__": path.stem}
    page = [*blocks(path), ("", "", 0, False)]
    for (language, code, line, _), (after, expected, _, adjacent) in pairwise(page):
        if language == "python":
            printed = output(code, path, line, namespace)
            expected = expected if after == "text" and adjacent else ""
            assert trimmed(printed) == trimmed(expected), f"{relative(path)}, the block from line {line + 1}"


def docstrings(path):
    """Bare strings of a module, with their line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value, node.lineno


@pytest.mark.parametrize("path", [path for path in MODULES if ">>>" in path.read_text()], ids=relative)
def test_examples_in_docstrings_run(path):
    """Found in the source: the finder of doctest passes over decorated functions."""
    parser, runner, report = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False), []
    for text, line in docstrings(path):
        examples = parser.get_doctest(text, {}, relative(path), str(path), line - 1)
        runner.run(examples, out=report.append)
        assert not re.search(r"^ *Example:$", text, re.MULTILINE), (
            f"{relative(path)}:{line}: the heading is 'Examples:'; the site shows what is under another as a quotation"
        )
    assert not report, "".join(report)


def test_every_public_name_has_one_entry():
    entries = [name for path in PAGES for name in ENTRY.findall(path.read_text())]
    for entry in entries:
        assert entry.startswith("softtypes."), f"{entry} is no name of softtypes"
        value = sft
        for part in entry.split(".")[1:]:
            value = getattr(value, part)  # an AttributeError says which entry names nothing
    own = [name for name in (entry.removeprefix("softtypes.") for entry in entries) if "." not in name]
    assert sorted(own) == sorted(PUBLIC)


@pytest.mark.parametrize("fn", FUNCTIONS.values(), ids=FUNCTIONS)
def test_docstring_of_a_function_has_its_sections(fn):
    text = inspect.getdoc(fn) or ""
    assert SECTION.findall(text) == ["Args", "Returns", "Raises", "Examples"]
    arguments = text[text.index("Args:") : text.index("Returns:")]
    assert ARGUMENT.findall(arguments) == list(inspect.signature(fn).parameters)


@pytest.mark.parametrize(("kind", "name"), MEMBERS, ids=[f"{kind.__name__}.{name}" for kind, name in MEMBERS])
def test_public_member_has_a_docstring(kind, name):
    member = inspect.getattr_static(kind, name)
    if callable(member) or isinstance(member, property | classmethod | staticmethod):
        assert inspect.getdoc(getattr(kind, name))


@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES)
def test_page_of_a_type_names_every_method(kind):
    """The site finds those that are written out in the source; those made by a call stand in the page itself."""
    (page,) = [path.read_text() for path in PAGES if f"::: softtypes.{kind.__name__}\n" in path.read_text()]
    made = [name for owner, name in MEMBERS if owner is kind and "<locals>" in _qualified_name(owner, name)]
    assert [name for name in made if f"`{name}" not in page] == []


def _qualified_name(kind, name):
    return getattr(inspect.getattr_static(kind, name), "__qualname__", "")


def test_navigation_covers_all_pages():
    def pages(item):
        if isinstance(item, str):
            return [item]
        return [page for part in (item.values() if isinstance(item, dict) else item) for page in pages(part)]

    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert sorted(pages(nav)) == sorted(path.relative_to(ROOT / "docs").as_posix() for path in PAGES)
