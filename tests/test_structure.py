"""The structure of the tree: imports run downward and in no circle, no HTTP below serving, short files and functions.

Reads the sources (``ast``) and imports nothing of p2l.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the bottom to the top: a package imports only from packages before it.
ORDER = (
    "lazy_names", "errors", "extras", "processor",
    "waiting_policy", "winner", "arrays", "types", "options", "cost_facts", "head_posterior", "files",
    "sqlite", "recent_values", "html", "unicode_text", "drawing", "json_output", "console",
    "outcomes", "statistics", "ranking", "heads", "losses", "data", "models", "leaderboard", "evaluation",
    "uncertainty", "insight", "run_page", "prediction", "scaling",
    "new_models", "routing", "online", "training", "serving", "endpoint", "explorer",
    "composition", "commands", "__main__", "eval", "auto_evals",
)  # fmt: skip
# module -> what it may import from above, and why
UPWARD = {
    "p2l": ("p2l", "loads the public names from the whole tree, each when it is asked for"),
    "p2l.routing.openai_server": ("p2l.serving.router", "is the entry point of `python -m p2l.routing.openai_server`"),
}
# module -> why folders beside its own may import it too: each imports nothing of the package that it stands in
LEAVES = {"p2l.serving.router.upstream.upstream_errors": "traces name the reason of an upstream's failure"}
HTTP = {"aiohttp", "fastapi", "gradio", "httpx", "starlette", "uvicorn"}
MAY_SPEAK_HTTP = ("serving", "endpoint", "explorer", "composition", "commands")
# base name -> why two files have it
TWICE: dict[str, str] = {}
ANY_NUMBER = {"__init__.py", "__main__.py", "conftest.py"}
LONGEST_FILE, LONGEST_FUNCTION = 300, 40


@cache
def sources(*folders: str) -> Mapping[str, ast.Module]:
    """Parse every file; return the trees by dotted name."""
    found = {}
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imported(module: str, tree: ast.Module) -> Iterator[str]:
    """Yield every module that a file imports, in functions and for type checkers too."""
    known = sources("p2l")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name != "p2l")  # its version and its folder
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            name = node.module or ""
            for alias in node.names:
                if (name, alias.name) == ("p2l", "__version__"):
                    continue
                yield f"{name}.{alias.name}" if f"{name}.{alias.name}" in known else name


@cache
def edges() -> frozenset[tuple[str, str]]:
    """Return the pairs of importing and imported modules of p2l."""
    return frozenset(
        (module, target)
        for module, tree in sources("p2l").items()
        for target in imported(module, tree)
        if target.split(".")[0] == "p2l" and target != module
    )


def package(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def is_excused(module: str, target: str) -> bool:
    allowed, _ = UPWARD.get(module, ("", ""))
    return bool(allowed) and f"{target}.".startswith(f"{allowed}.")


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return a circle for each edge that closes one."""
    found, state = [], {}

    def visit(node: str, path: list[str]) -> None:
        state[node] = "open"
        for after in sorted(graph.get(node, ())):
            if state.get(after) == "open":
                found.append([*path[path.index(after) :], after])
            elif after not in state:
                visit(after, [*path, after])
        state[node] = "closed"

    for node in sorted(graph):
        if node not in state:
            visit(node, [node])
    return found


def test_every_package_has_a_place_in_the_order() -> None:
    packages = {package(module) for module in sources("p2l")} - {"p2l"}
    assert packages <= set(ORDER), f"give them a place in ORDER: {sorted(packages - set(ORDER))}"


def test_no_import_runs_upward() -> None:
    place = {name: i for i, name in enumerate(ORDER)}
    upward = [
        f"{module} imports {target}"
        for module, target in sorted(edges())
        if place.get(package(target), len(ORDER)) > place.get(package(module), -1) and not is_excused(module, target)
    ]
    assert not upward, "\n".join(upward)


def test_every_exception_is_needed() -> None:
    unused = [m for m in UPWARD if not any(module == m and is_excused(m, target) for module, target in edges())]
    assert not unused


def test_modules_do_not_import_in_circles() -> None:
    graph = defaultdict(set)
    for module, target in edges():
        if not is_excused(module, target):
            graph[module].add(target)
    assert not circles(graph)


def test_the_folders_of_a_package_do_not_import_in_circles() -> None:
    graphs: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for module, target in edges():
        a, b = module.split("."), target.split(".")
        shared = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        if shared < min(len(a), len(b)) and not is_excused(module, target) and target not in LEAVES:
            graphs[".".join(a[:shared])][a[shared]].add(b[shared])
    found = {parent: circles(graph) for parent, graph in graphs.items() if circles(graph)}
    assert not found


def test_leaves_import_nothing_of_their_package() -> None:
    inside = [
        f"{module} imports {target}"
        for module, target in edges()
        if module in LEAVES and target.split(".")[:3] == module.split(".")[:3]
    ]
    assert not inside


def test_nothing_below_serving_knows_http() -> None:
    found = [
        f"{module} imports {target}"
        for module, tree in sources("p2l").items()
        if package(module) not in MAY_SPEAK_HTTP
        for target in imported(module, tree)
        if target.split(".")[0] in HTTP
    ]
    assert not found


def paths_by_name(folder: str) -> dict[str, list[str]]:
    """Return the files below a folder, by base name."""
    paths = defaultdict(list)
    for path in sorted((ROOT / folder).rglob("*.py")):
        if path.name not in ANY_NUMBER:
            paths[path.name].append(str(path.relative_to(ROOT)))
    return paths


def test_file_names_tell_their_content_without_their_folder() -> None:
    again = {name: paths for name, paths in paths_by_name("p2l").items() if len(paths) > 1}
    assert again.keys() == TWICE.keys(), again
    assert all(len(paths) == 2 for paths in again.values()), again


def test_no_name_of_a_test_file_stands_in_three_folders() -> None:
    often = {name: paths for name, paths in paths_by_name("tests").items() if len(paths) > 2}
    assert not often


def test_files_are_short() -> None:
    counts = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for folder in ("p2l", "scripts")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert not {path: lines for path, lines in counts.items() if lines > LONGEST_FILE}


def functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield each function and its number of lines without the docstring."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            yield node.name, lines


def test_functions_are_short() -> None:
    found = [
        (module, name, lines)
        for module, tree in sources("p2l", "scripts").items()
        for name, lines in functions(tree)
        if lines > LONGEST_FUNCTION
    ]
    assert not found


@pytest.mark.parametrize("graph", [{"a": ["b"], "b": ["c"], "c": ["a"]}, {"a": ["a"]}])
def test_a_circle_is_found(graph: dict[str, list[str]]) -> None:
    assert circles(graph)
