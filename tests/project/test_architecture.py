"""Architecture: imports between folders, modules that load no torch, and the layout in docs/architecture.md."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "nmtcli"

# Each room may import rooms of a lower floor, and itself.
FLOORS = [
    {"errors", "vocabulary", "version", "page", "strict_json"},
    {"staging", "paths", "arguments"},
    {"options"},
    {"config", "demo"},
    {"settings"},
    {"models", "data"},
    {"checkpoint", "text"},
    {"documents", "interchange"},
    {"prepare"},
    {"metrics"},
    {"translate"},
    {"train", "export", "score"},
    {"cli", "api"},
    {"__main__"},
]
# Importing these must not load torch.
LIGHT = ["settings", "errors", "cli", "metrics.scores", "prepare.pipeline", "checkpoint", "translate.translator"]


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py"))


def name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, top_level: bool = False) -> set[str]:
    """The modules of ours that a file imports; only those at the top of the file if asked."""
    tree = ast.parse(path.read_text("utf-8"))
    found = set()
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("nmtcli"):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("nmtcli")}
    known = {name(path) for path in modules()}
    return found & known


def floor(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def room(module: str) -> str | None:
    return module.split(".")[1] if "." in module else None


def names_of_root(path: Path) -> set[str]:
    """What a file imports of `nmtcli/__init__.py` itself, rather than of a module."""
    tree = ast.parse(path.read_text("utf-8"))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "nmtcli"]
    known = {name(path) for path in modules()}
    return {alias.name for node in imported for alias in node.names if f"nmtcli.{alias.name}" not in known}


@pytest.mark.parametrize("path", modules(), ids=name)
def test_imports_go_down(path):
    here = room(name(path))
    for imported in imports(path):
        there = room(imported)
        if here == there or here is None:
            continue
        if there is None:
            assert imported == "nmtcli", imported
            assert not names_of_root(path), f"{name(path)} imports the package itself: upwards"
            continue
        assert floor(there) < floor(here), f"{name(path)} imports {imported}: upwards"


def test_only_cli_and_score_import_prepare():
    importers = {room(name(path)) for path in modules() if any(room(one) == "prepare" for one in imports(path))}
    assert importers <= {"prepare", "api", "cli", "score"}


def test_no_cycles():
    graph = {name(path): imports(path, top_level=True) - {name(path)} for path in modules()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join((*trail, module))
        if module not in done:
            for imported in graph[module]:
                visit(imported, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_search_imports_no_model_and_no_framework():
    parts = ["search", "choosing", "constraints", "restrictions", "byte_pieces", "sampling"]
    for part in parts:
        path = PACKAGE / "translate" / f"{part}.py"
        assert not re.search(r"^(import|from) (torch|onnxruntime)", path.read_text("utf-8"), re.MULTILINE)
        known = {"nmtcli.errors", "nmtcli.models", "nmtcli.models.protocol", "nmtcli.vocabulary", "nmtcli.translate"}
        assert imports(path) <= known | {f"nmtcli.translate.{other}" for other in parts}


def loaded_after(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(' '.join(sys.modules))"
    output = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    return set(output.split())


def test_light_modules_load_no_torch():
    code = "\n".join(f"import nmtcli.{module}" for module in LIGHT)
    assert not {"torch", "datasets"} & loaded_after(code)


@pytest.mark.parametrize("verb", [[], ["prepare"], ["train"], ["translate"], ["score"], ["export"], ["demo"]])
def test_help_loads_nothing_heavy(verb):
    heavy = {"torch", "numpy", "datasets", "sacrebleu", "sentencepiece", "pyarrow"}
    quiet = "import io, contextlib\nfrom nmtcli.cli import run\nwith contextlib.redirect_stdout(io.StringIO()): "
    code = f"{quiet}run({[*verb, '--help']})"
    assert not heavy & loaded_after(code)


def test_no_module_is_named_utils_or_helpers():
    assert not {"utils", "helpers", "common", "constants", "misc"} & {path.stem for path in modules()}


def test_documented_project_layout_is_the_project_layout():
    """docs/architecture.md names every module of the package under its folder, and no other."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    block = re.search(r"```\n(nmtcli/\n.*?)```", text, re.DOTALL)
    assert block, "docs/architecture.md has no file tree"
    named = set()
    folder = [""]
    for line in block[1].splitlines()[1:]:
        if not line.startswith("  "):
            break
        depth = (len(line) - len(line.lstrip())) // 2
        entry = line.split()[0]
        folder = folder[:depth]
        if entry.endswith("/"):
            folder.append(entry)
        else:
            named.add("".join(folder) + entry)
    actual = {
        str(path.relative_to(PACKAGE)) for path in modules() if path.name != "__init__.py" or path.stat().st_size > 400
    }
    actual -= {"__init__.py", "__main__.py"}
    assert named == actual
