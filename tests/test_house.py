"""The house stands: imports go downwards, pages tell the truth, nothing names a machine.

The examples in docstrings are test_doctests.py's.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "flambeau"

# Each layer may import itself and what stands below it, at module level or inside functions.
LAYERS = [
    ["core", "deferred"],
    ["device"],
    ["ir"],
    ["ops", "sparse", "linalg", "fft", "special", "signal", "codegen"],
    ["eager"],
    ["autograd", "compiler"],
    ["_printing", "serialization", "api", "multiprocessing", "array_api", "amp", "backends", "cpu", "cuda"],
    ["nn", "optim", "utils", "testing", "func", "distributions", "metrics"],
    ["cli", "__main__"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# flambeau/__init__.py and modules beside it that hold public names are the api.
API = LEVEL["api"]


def sources(pattern="**/*.py"):
    return sorted(p for p in PACKAGE.glob(pattern) if "__pycache__" not in p.parts)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def level_of(module: str) -> int:
    parts = module.split(".")
    return LEVEL.get(parts[1], API) if len(parts) > 1 else API


def imports(path: Path):
    """(line, absolute module) of every import in a file, wherever it stands; names imported from `flambeau` itself are
    resolved to the layer they name, where they name one."""
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in executed(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            target = ".".join(filter(None, [base, node.module]))
            if target == "flambeau":
                yield from ((node.lineno, f"flambeau.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, target


def executed(node: ast.AST):
    """Every node below that runs: what stands under `if TYPE_CHECKING` is for readers and type checkers."""
    yield node
    if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
        for child in ast.iter_child_nodes(node):
            yield from executed(child)


def test_imports_go_downwards():
    wrong = []
    for path in sources():
        here = module_name(path)
        for line, target in imports(path):
            if target.split(".")[0] == "flambeau" and level_of(target) > level_of(here):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {target}, which stands above it")
    assert not wrong, "\n".join(wrong)


def test_the_import_test_sees_through_relative_and_nested_imports(tmp_path, monkeypatch):
    """The checker itself: forms of import it must not miss."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    file = tmp_path / "flambeau" / "ir" / "x.py"
    file.parent.mkdir(parents=True)
    lines = ["from ..nn import Linear", "def f():", "    import flambeau.optim.sgd", "    from .. import ops"]
    file.write_text("\n".join([*lines, "from .expr import Expr"]))
    found = [t for _, t in imports(file)]
    assert found == ["flambeau.nn", "flambeau.optim.sgd", "flambeau.ops", "flambeau.ir.expr"]
    assert [level_of(t) > level_of("flambeau.ir.x") for t in found] == [True, True, True, False]


def test_every_folder_is_a_layer():
    folders = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    assert folders <= set(LEVEL), f"add {folders - set(LEVEL)} to LAYERS"


def test_files_open_with_a_paragraph_and_stay_readable():
    wrong = []
    for path in [*sources(), *(ROOT / "tests").glob("test_*.py"), *(ROOT / "benchmarks").glob("*.py")]:
        tree = ast.parse(path.read_text())
        if tree.body and not ast.get_docstring(tree):
            wrong.append(f"{path.relative_to(ROOT)} has no opening paragraph")
    assert not wrong, "\n".join(wrong)


def test_nothing_names_a_machine():
    """No absolute path of somebody's machine, and no name of the workplace it was written in."""
    forbidden = re.compile(r"/(home|root|Users|work)/|\bpyenv\b|/opt/")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    wrong = []
    for name in tracked.stdout.splitlines():
        path = ROOT / name
        if path.suffix in (".pth", ".png") or not path.is_file() or path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if forbidden.search(line):
                wrong.append(f"{name}:{number}: {line.strip()[:100]}")
    assert not wrong, "\n".join(wrong)


PAGES = [p for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")] if p.is_file()]


@pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])
def test_pages_name_only_what_exists(page):
    """Links, files in backticks, make targets and parts of the command that a page names are there."""
    text = page.read_text()
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    wrong = [f"make {t}" for t in re.findall(r"\bmake ([a-z]+)\b(?=[^\n]*[`#\n])", code_of(text)) if t not in targets]
    for link in re.findall(r"\]\(([^)#:]+)\)", re.sub(r"```\w*\n.*?```|`[^`\n]+`", "", text, flags=re.S)):
        if not (page.parent / link).exists():
            wrong.append(f"link to {link}")
    for name in re.findall(r"`((?:flambeau|tests|docs|examples|benchmarks|\.ci)/[\w./-]+)`", text):
        if not (ROOT / name).exists():
            wrong.append(f"file {name}")
    assert not wrong, f"{page.name} names what isn't there: {wrong}"


def code_of(text: str) -> str:
    """The parts of a page that are commands: fenced blocks and backticked words."""
    pieces = re.findall(r"```\w*\n(.*?)```|(`[^`\n]+`)", text, re.S)
    return "\n".join(f"{piece}\n" for pair in pieces for piece in pair)


def test_the_package_is_light_to_import():
    """NumPy, llvmlite and the heavier parts of the standard library are imported when asked for, not before."""
    code = "import sys, flambeau; print(*sorted(m for m in sys.modules if '.' not in m))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"numpy", "llvmlite", "scipy", "zipfile", "ctypes", "subprocess", "asyncio", "tempfile", "argparse"}
    heavy |= {"dataclasses", "inspect", "hashlib", "traceback", "platform"}
    assert heavy & set(loaded) == set()


def test_the_pages_speak_of_this_version():
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert version is not None
    assert f"## {version[1]}" in (ROOT / "CHANGELOG.md").read_text()
    assert importlib.import_module("flambeau").__version__ == version[1]


def test_renderers_stand_beside_each_other():
    """What two renderers share is neither's own."""
    for path in (PACKAGE / "codegen").glob("cfamily*.py"):
        borrowed = [target for _, target in imports(path) if ".codegen.llvm" in target]
        assert not borrowed, f"{path.name} imports {borrowed}"
