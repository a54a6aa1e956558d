"""The import rules of the design, and the modules that may read the environment."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS: tuple[tuple[str, ...], ...] = (
    ("app.contract", "app.errors", "app.deadline", "app.stores.parent_death"),
    ("app.settings", "app.stores", "app.market", "app.comparison.hallucinations"),
    ("app.pricing",),
    ("app.auth", "app.telemetry", "app.recommendation", "app.vllm_plugin"),
    ("app.backends",),
    ("app.stand_in",),
    ("app.accounting", "app.comparison.pairs", "app.comparison.pair_store", "app.comparison.statistics"),
    ("app.comparison.outcomes", "app.comparison.report_service"),
    ("app.completions",),
    ("app.recommend",),
    ("app.comparison", "app.routing"),
    ("app.resources",),
    ("app.api",),
    ("app.serving",),
    ("app.main",),
    ("app.supervisor",),
    ("app.cli",),
)
"""Lowest first. A module imports its own layer and those below."""

TRAINING_LAYERS: tuple[tuple[str, ...], ...] = (
    ("training.artifacts", "training.config", "training.progress"),
    ("training.labeling", "training.dataset", "training.finetune.base", "training.vllm_server"),
    ("training.finetune", "training.quantize"),
    ("training.evaluation",),
    ("training.costs", "training.publish", "training.report"),
    ("training.build", "training.learning_curve", "training.pipeline"),
    ("training.cli",),
    ("training.__main__",),
)
"""Lowest first, as above."""

TRAINING_MAY = (
    *("app.contract", "app.market", "app.contract.rule_based_analyst"),
    *(
        "app.pricing.prices",
        "app.errors",
        "app.backends.base",
    ),  # list prices, their one error, and what they are asked for
    "app.backends.dialects",  # how OpenAI's models want to be asked, for a teacher that is one
)
ENVIRONMENT = {
    "app.settings.gateway": "reads it",
    "app.supervisor.up": "hands the whole of it on to the processes it starts",
}


def modules(package: str) -> dict[str, ast.Module]:
    """The syntax of every module, by dotted name."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text("utf-8"))
    return found


APP, TRAINING = modules("app"), modules("training")


def imported(tree: ast.Module) -> Iterator[str]:
    """The modules a module imports, inside functions too, and not for the type checker alone."""
    for_types = {
        id(node)
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and isinstance(guard.test, ast.Name) and guard.test.id == "TYPE_CHECKING"
        for node in ast.walk(guard)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in APP or whole in TRAINING else str(node.module)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def layer(module: str, layers: tuple[tuple[str, ...], ...]) -> int:
    """The height of a module: that of the longest name in `layers` it is within."""
    heights = [
        (len(package), height)
        for height, packages in enumerate(layers)
        for package in packages
        if within(module, package)
    ]
    assert heights, f"{module} is in no layer"
    return max(heights)[1]


@pytest.mark.parametrize("module", [name for name in APP if name != "app"])
def test_imports_go_one_way(module: str) -> None:
    for other in imported(APP[module]):
        if within(other, "app") and other != "app":
            assert layer(other, LAYERS) <= layer(module, LAYERS), f"{module} imports {other}, which is above it"


@pytest.mark.parametrize("module", [name for name in TRAINING if name != "training"])
def test_training_imports_go_one_way(module: str) -> None:
    height = layer(module, TRAINING_LAYERS)
    for other in imported(TRAINING[module]):
        if within(other, "training"):
            assert layer(other, TRAINING_LAYERS) <= height, f"{module} imports {other}, which is above it"


@pytest.mark.parametrize("package", sorted({name.rpartition(".")[0] for name in TRAINING if name.count(".") == 2}))
def test_a_package_of_training_is_a_docstring_alone(package: str) -> None:
    (said,) = TRAINING[package].body
    assert said.lineno == said.end_lineno and ast.get_docstring(TRAINING[package])


@pytest.mark.parametrize("module", [name for name in APP if within(name, "app.contract")])
def test_the_contract_needs_pydantic_and_nothing_else(module: str) -> None:
    for other in imported(APP[module]):
        top = other.partition(".")[0]
        assert within(other, "app.contract") or top == "pydantic" or top in sys.stdlib_module_names, other


@pytest.mark.parametrize("module", APP)
def test_the_gateway_imports_nothing_of_training(module: str) -> None:
    assert not any(within(other, "training") for other in imported(APP[module]))


@pytest.mark.parametrize("module", TRAINING)
def test_training_imports_contract_market_rules_and_prices_only(module: str) -> None:
    for other in imported(TRAINING[module]):
        if within(other, "app"):
            assert any(within(other, package) for package in TRAINING_MAY), f"{module} imports {other}"


@pytest.mark.parametrize("module", APP)
def test_only_settings_read_the_environment(module: str) -> None:
    if module in ENVIRONMENT:
        return
    for node in ast.walk(APP[module]):
        assert not (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv")), module
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            assert not {alias.name for alias in node.names} & {"environ", "environb", "getenv"}, module


def test_help_imports_nothing_heavy() -> None:
    light = {"app.errors", "app", "app.cli.main"}
    top_level = [node for node in APP["app.cli.main"].body if isinstance(node, ast.Import | ast.ImportFrom)]
    tree = ast.Module(body=list(top_level), type_ignores=[])
    assert {other for other in imported(tree) if within(other, "app")} <= light
