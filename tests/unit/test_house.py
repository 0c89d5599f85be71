"""The mechanical rules of the house. What import contracts can say stands in `.importlinter`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
SOURCES = HOUSE / "src" / "hrm"
MAX_LINES = 600
#: Rooms where every public name says what it is for; elsewhere modules and classes do.
STRICT_ROOMS = ("model", "core")
#: All that the core needs of Python. Nothing here knows the time, the machine or chance.
PURE = {
    "__future__",
    "abc",
    "bisect",
    "collections",
    "dataclasses",
    "enum",
    "fnmatch",
    "fractions",
    "functools",
    "heapq",
    "itertools",
    "math",
    "operator",
    "types",
    "typing",
}
#: Called on anything, these ask the world. An import contract does not see a clock handed in as an object.
IMPURE_CALLS = {
    "now",
    "today",
    "utcnow",
    "time",
    "time_ns",
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "random",
    "randint",
    "shuffle",
    "uuid4",
    "urandom",
    "getenv",
    "sleep",
    "open",
    "print",
    "input",
    "hash",  # of text it changes with each start of Python
}
#: What `hrm --help` must not pay for.
HEAVY = ("fastapi", "httpx", "numpy", "onnx", "onnxruntime", "pydantic", "sqlalchemy", "uvicorn", "websockets")


def python_files(*roots: str) -> list[Path]:
    """Those that people write: `hrm.testing.protos` makes the others."""
    written = (path for root in roots for path in (HOUSE / root).rglob("*.py"))
    return sorted(path for path in written if not path.name.endswith("_pb2.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def place(path: Path, node: ast.AST | None = None) -> str:
    line = f":{node.lineno}" if node is not None and hasattr(node, "lineno") else ""
    return f"{path.relative_to(HOUSE)}{line}"


def room_of(path: Path) -> str:
    return path.relative_to(SOURCES).parts[0]


def imported_modules(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node, "." * node.level + (node.module or "")


def called_name(call: ast.Call) -> str:
    """``now`` of ``datetime.now()``, ``open`` of ``open()``."""
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def test_no_module_is_longer_than_one_noun_needs() -> None:
    lengths = {
        place(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files("src", "tests", "benches", "examples")
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def undocumented(path: Path) -> Iterator[str]:
    tree = tree_of(path)
    strict = room_of(path) in STRICT_ROOMS
    if not ast.get_docstring(tree) and (tree.body or path.name != "__init__.py"):
        yield place(path)
    for node in tree.body:
        match node:
            case ast.ClassDef() as named:
                pass
            case ast.FunctionDef() | ast.AsyncFunctionDef() as named if strict:
                pass
            case _:
                continue
        if not named.name.startswith("_") and not ast.get_docstring(named):
            yield f"{place(path, named)} {named.name}"


def test_every_public_name_says_what_it_is_for() -> None:
    assert [name for path in python_files("src") for name in undocumented(path)] == []


def test_the_model_needs_nothing_but_the_standard_library() -> None:
    foreign = [
        f"{place(path, node)} {module}"
        for path in python_files("src/hrm/model")
        for node, module in imported_modules(tree_of(path))
        if not module.startswith("hrm.model") and module.partition(".")[0] not in sys.stdlib_module_names
    ]
    assert foreign == []


def test_the_shepherd_needs_nothing_but_the_standard_library() -> None:
    # It outlives upgrades of everything else, and its memory is paid for on every node.
    foreign = [
        f"{place(path, node)} {module}"
        for path in python_files("src/hrm/nm/shepherd", "src/hrm/nm/cgroups", "src/hrm/nm/cpus")
        for node, module in imported_modules(tree_of(path))
        if not module.startswith(("hrm.nm.shepherd", "hrm.nm.cgroups", "hrm.nm.cpus"))
        and module.partition(".")[0] not in sys.stdlib_module_names
    ]
    assert foreign == []


def test_the_core_imports_the_model_and_what_is_pure() -> None:
    foreign = [
        f"{place(path, node)} {module}"
        for path in python_files("src/hrm/core")
        for node, module in imported_modules(tree_of(path))
        if not module.startswith(("hrm.model", "hrm.core")) and module.partition(".")[0] not in PURE
    ]
    assert foreign == []


def test_the_core_asks_no_clock_no_chance_and_no_machine() -> None:
    asks = [
        f"{place(path, node)} {called_name(node)}()"
        for path in python_files("src/hrm/core")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and called_name(node) in IMPURE_CALLS
    ]
    assert asks == []


def test_no_test_sleeps_and_hopes() -> None:
    sleeps = [
        place(path, node)
        for path in python_files("tests", "src/hrm/testing")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and called_name(node) == "sleep"
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, (int, float))
        and node.args[0].value >= 0.1
    ]
    assert sleeps == []


def swallows_everything(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    broad = any(
        kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException")) for kind in kinds
    )
    return broad and all(isinstance(step, ast.Pass) for step in handler.body)


def test_no_error_is_swallowed_unseen() -> None:
    swallowed = [
        place(path, node)
        for path in python_files("src", "tests", "benches", "examples")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ExceptHandler) and swallows_everything(node)
    ]
    assert swallowed == []


def tracked_text() -> Iterator[tuple[str, str]]:
    """Each file that git keeps (or would, had it been added) and that is text, with what stands in it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=HOUSE,
        capture_output=True,
        check=True,
        timeout=180,
    )
    for name in listed.stdout.decode().split("\0"):
        path = HOUSE / name
        if not name or not path.is_file() or path == Path(__file__).resolve():
            continue
        raw = path.read_bytes()
        if b"\0" not in raw:
            yield name, raw.decode("utf-8", "replace")


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number} {line.strip()[:100]}"
        for name, text in tracked_text()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


_DOTTED = re.compile(r"`(hrm(?:\.(?!(?:yaml|db|sock|service|slice)\b)[A-Za-z_]\w*)+)")
_PATH = re.compile(r"`((?:src|tests|docs|benches|examples)/[\w./-]*)`")
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
_HEADING = re.compile(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)")
_KEY = re.compile(r"(?<![\w.-])(?:server|node|scheduler|retention)\.(?!json\b|log\b)[a-z_]+(?![\w.(])")
#: The bar that ends a cell of a table.
_CELL = re.compile(r"(?<!\\)\|")


def is_there(dotted: str) -> bool:
    """Whether a dotted name is a module, or stands in the module that it points into."""
    parts = dotted.split(".")
    for depth in range(len(parts), 0, -1):
        base = SOURCES.parent.joinpath(*parts[:depth])
        module = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        if module.is_file():
            text = module.read_text(encoding="utf-8")
            return all(re.search(rf"\b{re.escape(name)}\b", text) for name in parts[depth:])
    return False


def test_names_of_modules_in_words_point_at_what_is_there() -> None:
    lost = [
        f"{place(path)} {dotted}"
        for path in [*python_files("src", "tests", "benches", "examples"), *documents()]
        for dotted in sorted(set(_DOTTED.findall(path.read_text(encoding="utf-8"))))
        if not is_there(dotted.rstrip("."))
    ]
    assert lost == []


def documents() -> list[Path]:
    return sorted([*HOUSE.glob("*.md"), *(HOUSE / "docs").rglob("*.md")])


def test_paths_and_links_in_documents_point_at_what_is_there() -> None:
    lost = [
        f"{place(document)} {target}"
        for document in documents()
        for base, pattern in ((HOUSE, _PATH), (document.parent, _LINK))
        for target in pattern.findall(document.read_text(encoding="utf-8"))
        if not (base / target).exists()
    ]
    assert lost == []


def test_the_readme_leads_to_every_document() -> None:
    linked = set(_LINK.findall((HOUSE / "README.md").read_text(encoding="utf-8")))
    assert [place(path) for path in documents() if path.parent.name == "docs" and place(path) not in linked] == []


def headings(document: Path) -> set[str]:
    """What a link may name behind its ``#``, as GitHub makes it of each heading."""
    titles = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_to_headings_lead_to_one() -> None:
    lost = [
        f"{place(document)} {target}#{heading}"
        for document in documents()
        for target, heading in _HEADING.findall(document.read_text(encoding="utf-8"))
        if heading not in headings(document.parent / target if target else document)
    ]
    assert lost == []


def test_rows_of_a_table_have_as_many_cells_as_its_head() -> None:
    ragged = [
        f"{place(document)} {rows[0]} … {row}"
        for document in documents()
        for table in re.findall(r"(?:^\|.*\n)+", document.read_text(encoding="utf-8"), re.M)
        for rows in [table.splitlines()]
        for row in rows[1:]
        if len(_CELL.findall(row)) != len(_CELL.findall(rows[0]))
    ]
    assert ragged == []


def test_keys_of_the_configuration_that_errors_and_documents_name_are_there() -> None:
    known = set(re.findall(r"^\| `([\w.*]+)`", (HOUSE / "docs" / "configuration.md").read_text(encoding="utf-8"), re.M))
    advice = [
        (place(path, node), text.value)
        for path in python_files("src")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.keyword) and node.arg == "next_step"
        for text in ast.walk(node.value)
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
    ]
    words = [
        (place(document), code)
        for document in documents()
        for code in re.findall(r"`([\w.]+)`", document.read_text(encoding="utf-8"))
    ]
    named = [(where, key) for where, text in [*advice, *words] for key in _KEY.findall(text)]
    assert len(named) > 20
    assert [(where, key) for where, key in named if key not in known] == []


@pytest.fixture(scope="module")
def checkout() -> None:
    if not (HOUSE / ".git").exists():
        pytest.skip("the sources are not a checkout, so nothing says which files are the project's")


@pytest.mark.usefixtures("checkout")
def test_nothing_is_left_for_later() -> None:
    assert lines_with(re.compile(r"\b(TODO|FIXME|XXX)\b")) == []


@pytest.mark.usefixtures("checkout")
def test_no_path_of_one_machine_stands_in_the_project() -> None:
    # A home directory is somebody's; the names that documentation uses for anybody are fine.
    assert (
        lines_with(re.compile(r"(?<![\w.])/(?:work|root)/|(?<![\w.])/home/(?!(?:ada|alice|bob|USER|user|you)\b)\w"))
        == []
    )


def test_asking_for_help_loads_nothing_heavy() -> None:
    script = f"import sys, hrm.cli.main; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=180, check=False)
    assert loaded.stderr == ""
    assert loaded.stdout.split() == []
