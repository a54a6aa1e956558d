"""The plugin, with a fake torch module."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from app.vllm_plugin import register

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A torch whose loader returns what it is given."""
    module: Any = ModuleType("torch")
    module.compiler = SimpleNamespace(load_compiled_function=lambda loaded, **_: loaded)
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


def function(compiled: Any) -> SimpleNamespace:
    """What torch loads: a function whose artifacts hold the compiled one."""
    return SimpleNamespace(_artifacts=SimpleNamespace(compiled_fn=compiled))


def test_a_loaded_function_can_be_finalized(torch: Any) -> None:
    register()
    loaded = torch.compiler.load_compiled_function(function(lambda: 5), external_data=None)
    assert loaded._artifacts.compiled_fn.finalize_loading(object()) is None
    assert loaded._artifacts.compiled_fn() == 5


def test_what_can_be_finalized_already_is_left_alone(torch: Any) -> None:
    own: Callable[[Any], str] = lambda _: "its own"  # noqa: E731
    register()
    loaded = torch.compiler.load_compiled_function(function(SimpleNamespace(finalize_loading=own)))
    assert loaded._artifacts.compiled_fn.finalize_loading is own


@pytest.mark.parametrize("loaded", [object(), SimpleNamespace(_artifacts=None), function(None)])
def test_what_holds_no_compiled_function_is_returned_as_it_is(torch: Any, loaded: object) -> None:
    register()
    assert torch.compiler.load_compiled_function(loaded) is loaded


def test_registering_twice_wraps_the_loader_once(torch: Any) -> None:
    """vLLM calls its plugins in each process, and may call them more than once."""
    register()
    wrapped = torch.compiler.load_compiled_function
    register()
    assert torch.compiler.load_compiled_function is wrapped


def test_vllm_finds_it_by_its_entry_point() -> None:
    [target] = tomllib.loads(PROJECT.read_text())["project"]["entry-points"]["vllm.general_plugins"].values()
    module, _, name = target.partition(":")
    assert getattr(import_module(module), name) is register
