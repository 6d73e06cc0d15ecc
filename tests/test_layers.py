"""The import law and the other habits that can be checked, checked."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("pipeline", "models", "workers")
SHARED = {"pipeline.types", "pipeline.protocols", "pipeline.errors"}
HEAVY = ("torch", "whisper", "numpy", "silero_vad", "numba", "ffmpeg", "srt", "rich", "cattrs")
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40


def modules(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def product() -> list[Path]:
    return [path for path in modules(*OURS) if "training" not in path.parts]


def imports(path: Path) -> set[str]:
    """Every module of ours that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            package = node.module or ""
            inner = {f"{package}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if is_module(name)} or {package}
    return {name for name in found if name.split(".")[0] in OURS}


def is_module(name: str) -> bool:
    place = ROOT / Path(*name.split("."))
    return place.with_suffix(".py").exists() or place.is_dir()


def test_pipeline_imports_nothing_of_ours_but_pipeline():
    for path in modules("pipeline"):
        assert all(name.startswith("pipeline") for name in imports(path)), path


def test_models_import_of_the_pipeline_only_the_shared_language():
    for path in modules("models"):
        foreign = {name for name in imports(path) if not name.startswith("models")}
        assert foreign <= SHARED, path


def test_nothing_imports_the_command_line():
    for path in modules(*OURS):
        assert "workers.cli" not in imports(path), path


def test_only_settings_reads_the_environment():
    for path in product():
        if path.relative_to(ROOT) != Path("workers/settings.py"):
            text = path.read_text()
            assert "os.environ" not in text, path
            assert "getenv" not in text, path


@pytest.mark.parametrize("module", ["workers.cli", "pipeline.run", "models.pool", "models.demo"])
def test_importing_a_module_loads_no_heavy_library(module):
    script = f"import sys, {module}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert loaded.stdout.split() == []


@pytest.mark.parametrize("path", modules(*OURS), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_can_be_read_in_one_sitting(path):
    source = path.read_text()
    assert len(source.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{path.name}:{node.lineno} {node.name}"


@pytest.mark.parametrize("path", modules(*OURS), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text()))
