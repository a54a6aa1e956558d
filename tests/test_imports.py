"""The import rules of the design, and the modules that may read the environment."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
READ_ENVIRONMENT = {
    "app.settings.loading",
    "app.settings.secrets",
    "app.contract.hardware",  # runs before pydantic is installed
    "app.contract.machine",  # likewise
    "app.supervisor.up",  # passes the whole environment to the processes that it starts
}


def modules(package: str) -> dict[str, ast.Module]:
    """Return the syntax tree of every module by dotted name."""
    trees = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        trees[name] = ast.parse(path.read_text("utf-8"))
    return trees


APP, TRAINING = modules("app"), modules("training")


def imported(nodes: list[ast.stmt]) -> Iterator[str]:
    """Yield the modules that statements import, those inside functions included."""
    for node in ast.walk(ast.Module(nodes, type_ignores=[])):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield str(node.module)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("package", sorted({name.rpartition(".")[0] for name in TRAINING if name.count(".") == 2}))
def test_a_package_of_training_is_a_docstring_alone(package: str) -> None:
    (docstring,) = TRAINING[package].body
    assert docstring.lineno == docstring.end_lineno and ast.get_docstring(TRAINING[package])


@pytest.mark.parametrize("module", [name for name in APP if within(name, "app.contract")])
def test_the_contract_imports_pydantic_and_the_standard_library_only(module: str) -> None:
    for other in imported(APP[module].body):
        top = other.partition(".")[0]
        assert within(other, "app.contract") or top == "pydantic" or top in sys.stdlib_module_names, other


@pytest.mark.parametrize("module", APP)
def test_only_settings_read_the_environment(module: str) -> None:
    if module in READ_ENVIRONMENT:
        return
    for node in ast.walk(APP[module]):
        assert not (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv")), module
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            assert not {alias.name for alias in node.names} & {"environ", "environb", "getenv"}, module


def test_help_imports_nothing_heavy() -> None:
    top_level = [node for node in APP["app.cli.main"].body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {other for other in imported(top_level) if within(other, "app")} <= {"app.errors", "app"}
