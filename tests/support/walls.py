"""The plan of the house: what each room may import, and the files that do not follow it.

Imports are read from the source, also those inside functions and under `TYPE_CHECKING`. Nothing is run.
"""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOMS = {
    "connector": (
        *(("errors",), ("system",), ("action_options",), ("settings",), ("setting_names", "known_secrets")),
        *(("verbex", "landing"), ("metrics",)),
        *(("journal", "fetch", "simulator"), ("receiver",), ("serve",)),
    ),
    "pipelines": (
        *(("names",), ("models",), ("instance",), ("warehouse",)),
        ("enrichment", "exports", "actions", "live", "doctor", "cluster", "privacy"),
        *(("reconciliation",), ("resources", "jobs"), ("assets",), ("sensors",), ("failures",)),
        *(("definitions",), ("runs", "ui"), ("cli",)),
    ),
}
"""By package, the floors from the ground up.

A room imports only rooms on lower floors, of its own package or of `connector`. Rooms on one floor do not
import each other.
"""

LIBRARIES = {
    **dict.fromkeys(("adbc_driver_manager", "adbc_driver_postgresql"), ("pipelines.exports.postgresql",)),
    "aiohttp": (
        *("connector.receiver", "connector.verbex", "connector.simulator", "pipelines.live"),
        "pipelines.actions.http",
    ),
    "aiosmtplib": ("pipelines.actions.email",),
    "click": ("pipelines.cli",),
    "dagster": (
        *("pipelines.instance", "pipelines.resources", "pipelines.jobs", "pipelines.assets"),
        *("pipelines.sensors", "pipelines.failures", "pipelines.definitions", "pipelines.runs"),
        "pipelines.ui.webserver",
    ),
    "dagster_webserver": ("pipelines.ui.webserver",),
    "deltalake": ("pipelines.exports.delta", "pipelines.exports.delta_marks", "pipelines.exports.delta_rows"),
    "duckdb": (
        *("pipelines.models", "pipelines.warehouse", "pipelines.reconciliation", "pipelines.exports.change"),
        "pipelines.actions.do_not_call",
        *("pipelines.cli.query", "pipelines.live.published"),
        *("pipelines.actions.decide", "pipelines.actions.due", "pipelines.actions.look"),
        *("pipelines.actions.published", "pipelines.actions.overview", "pipelines.actions.persons"),
        *("pipelines.actions.preview", "pipelines.actions.trial"),
    ),
    "http": ("connector", "pipelines.actions", "pipelines.live"),
    "httpx": (),
    "importlib": ("pipelines.cli",),  # an import of a name in a text can't be read from the source
    "os.fdatasync": ("connector.system.files",),
    "os.fsync": ("connector.system.files",),
    "pyarrow": (
        *("connector.landing", "connector.journal", "connector.fetch.attempts"),
        *("pipelines.warehouse.sources", "pipelines.warehouse.reader"),
        "pipelines.actions.steps",
        "pipelines.exports",  # rows reach a target as Arrow batches
    ),
    "requests": (),
    "rich": ("pipelines.cli",),
    "sql": (),
    "standardwebhooks": ("connector.simulator.destination", "pipelines.actions.http"),
    "starlette": (),
    "tests": (),
    "jinja2": ("pipelines.live.pages",),
    "urllib": ("connector", "pipelines.ui.guard", "pipelines.exports.address", "pipelines.live.site"),
    "uvicorn": ("pipelines.ui.webserver",),
    "xlsxwriter": ("pipelines.exports.xlsx", "pipelines.exports.xlsx_sheets"),
}
"""The places where a library, or one function of it, may be used.

`dagster` and `duckdb` have no place in common, so a file uses at most one of them.
"""

FACES = ("pipelines.cli",)
"""The packages whose `__init__.py` has code. In every other room it is only a docstring."""

Sources = Mapping[str, str]
"""The text of Python files by path relative to the root, such as `connector/serve.py`."""


def read_sources(root: Path) -> dict[str, str]:
    """Read every Python file of both packages."""
    paths = (path for package in ROOMS for path in (root / package).rglob("*.py"))
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def find_breaches(sources: Sources) -> list[str]:
    """Return which file breaks which wall, empty if no file does."""
    modules = {_module_of(path): path for path in sources}
    trees = {path: ast.parse(source) for path, source in sources.items()}
    imports = {path: sorted(set(_imports(tree))) for path, tree in trees.items()}
    breaches = [f"{modules[module]} is in no room of the plan" for module in modules if not _has_room(module)]
    for module, path in modules.items():
        if _is_too_full(path, trees[path]):
            breaches.append(f"{path} holds more than its docstring")
        for name in imports[path]:
            breaches += [f"{path} imports {name}: {why}" for why in _reasons_against(module, name)]
    return breaches + _find_circle(modules, imports)


def _module_of(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in LIBRARIES:
                yield name


def _has_room(module: str) -> bool:
    package, _, rest = module.partition(".")
    return not rest or rest.partition(".")[0] in {room for floor in ROOMS[package] for room in floor}


def _reasons_against(module: str, name: str) -> Iterator[str]:
    if name.startswith("."):
        yield "import by full name, so that walls can be read"
    for library, places in LIBRARIES.items():
        if _is_within(name, library) and not any(_is_within(module, place) for place in places):
            yield f"{library} is for {', '.join(places) or 'no file'}"
    package, room = (*module.split("."), "")[:2]
    other_package, other_room = (*name.split("."), "")[:2]
    if other_package not in ROOMS or not room:
        return
    if package == "connector" and other_package == "pipelines":
        yield "connector knows nothing of what is built on it"
    is_other_room = package == other_package and room != other_room
    if is_other_room and _floor(package, room) <= _floor(package, other_room):
        yield f"{room} may import only rooms that the plan names before it"


def _is_within(name: str, place: str) -> bool:
    return name == place or name.startswith(f"{place}.")


def _floor(package: str, room: str) -> int:
    return next((number for number, floor in enumerate(ROOMS[package]) if room in floor), -1)


def _is_too_full(path: str, tree: ast.Module) -> bool:
    is_face = path.endswith("__init__.py") and _module_of(path) not in FACES
    return is_face and not (len(tree.body) == 1 and ast.get_docstring(tree))


def _find_circle(modules: Mapping[str, str], imports: Mapping[str, list[str]]) -> list[str]:
    graph = {
        module: {found for name in imports[path] if (found := _file_of(name, modules)) not in (None, module)}
        for module, path in modules.items()
    }
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return [f"these files import each other in a circle: {' -> '.join(error.args[1])}"]
    return []


def _file_of(name: str, modules: Mapping[str, str]) -> str | None:
    """Return the module that an import names: the name itself, or the module that has it."""
    return name if name in modules else next((m for m in (name.rpartition(".")[0],) if m in modules), None)
