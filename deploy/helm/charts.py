"""Checks of our values against the engines' charts, which are not in this repository, and of the manifests they render.

A folder of charts has, unpacked, `vllm-stack`, `llm-d-modelservice` and `llm-d-router-gateway`, and in `crds` the
custom resource definitions of what the charts make, a file each.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import yaml  # type: ignore[import-untyped]

from deploy.helm import kustomize
from deploy.helm.helm import Document, Refused, rendered, text

ENGINES = Path(__file__).parent / "engines"
CHECKED = ENGINES / "checked.json"
KUBERNETES = "1.33"
MODEL_ID = re.compile(r"mistral-7b-\d+-[0-9a-f]{12}")

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Engine:
    """Our values for an engine's chart, and the release that docs/how-to/kubernetes.md installs."""

    values: str
    chart: str
    version: str
    release: str
    namespace: str
    kustomized: bool
    """Whether the folder's kustomization.yaml adds to the rendered chart; otherwise Helm installs it as it is."""

    @property
    def folder(self) -> Path:
        return (ENGINES / self.values).parent

    def load(self) -> Document:
        loaded: Document = yaml.safe_load((ENGINES / self.values).read_text())
        return loaded

    def digest(self) -> str:
        """SHA-256 of the parsed values and kustomization, so that comments may change, and the model's id."""
        parsed = [self.load(), *([kustomize.load(self.folder)] if self.kustomized else [])]
        return hashlib.sha256(MODEL_ID.sub("ID", json.dumps(parsed, sort_keys=True)).encode()).hexdigest()

    def manifests(self, charts: Path, values: Document | None = None) -> list[Document]:
        """Render the chart. Raises `Refused` where it rejects the values."""
        return rendered(charts / self.chart, self.load() if values is None else values, self.release, self.namespace)

    def installed(self, charts: Path) -> list[Document]:
        """Return what an installation applies. Raises `Refused`."""
        if not self.kustomized:
            return self.manifests(charts)
        whole = text(charts / self.chart, self.load(), self.release, self.namespace)
        return kustomize.build(self.folder, whole)


ALL = (
    Engine("production-stack/values.yaml", "vllm-stack", "0.1.12", "vllm", "vllm", kustomized=True),
    Engine("llm-d/modelservice.yaml", "llm-d-modelservice", "v0.4.12", "mistral-vllm", "llm-d", kustomized=True),
    Engine("llm-d/router.yaml", "llm-d-router-gateway", "v0.9.0", "mistral", "llm-d", kustomized=False),
)


def manifests_in(path: str) -> list[Document]:
    """Return the manifests in a file under engines/."""
    return list(yaml.safe_load_all((ENGINES / path).read_text()))


def without_effect(engine: Engine, charts: Path) -> list[str]:
    """Yield values without effect: the chart renders the same manifests without them or with another value."""
    values, whole = engine.load(), engine.manifests(charts)

    def same(changed: Document) -> bool:
        try:
            return engine.manifests(charts, changed) == whole
        except Refused:
            return False

    return [
        ".".join(map(str, place))
        for place in _leaves(values)
        if same(_changed(values, place, remove=True)) and same(_changed(values, place, remove=False))
    ]


def invalid(manifests: list[Document], crds: Path) -> Iterator[str]:
    """Yield what Kubernetes' or a custom resource's schema rejects, and resources without a schema."""
    definitions = [yaml.safe_load(path.read_text()) for path in sorted(crds.glob("*.yaml"))]
    schemas = {
        (definition["spec"]["names"]["kind"], version["name"]): version["schema"]["openAPIV3Schema"]
        for definition in definitions
        for version in definition["spec"]["versions"]
    }
    for manifest in manifests:
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        schema = schemas.get((manifest["kind"], manifest["apiVersion"].rpartition("/")[2]))
        try:
            if schema is None:
                kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
            else:
                jsonschema.validate(manifest, closed(schema))
        except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
            yield f"{name}: {error.message}"
        except kubernetes_validate.SchemaNotFoundError:
            yield f"{name}: no definition of {manifest['apiVersion']} {manifest['kind']} in {crds}"


def closed(schema: Any) -> Any:
    """Return the schema with unknown properties forbidden, which the API server would silently drop."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("pattern"), str):
        inner["pattern"] = schema["pattern"].replace("^(?i)", "(?i)^")  # Go's form, and Python's
    properties = schema.get("properties", {})
    names_all = schema.get("type") == "object" and properties and "additionalProperties" not in schema
    if names_all and "apiVersion" not in properties and not schema.get("x-kubernetes-preserve-unknown-fields"):
        inner["additionalProperties"] = False
    return inner


def record() -> Document:
    """Return the content of engines/checked.json for the current values."""
    return {each.values: {"chart": each.chart, "version": each.version, "values": each.digest()} for each in ALL}


def version_of(chart: Path) -> str:
    """Return the chart's version."""
    return str(yaml.safe_load((chart / "Chart.yaml").read_text())["version"])


def _leaves(values: Any, place: Place = ()) -> Iterator[Place]:
    inside: Any = ()
    if isinstance(values, dict):
        inside = values.items()
    elif isinstance(values, list) and any(isinstance(each, dict) for each in values):
        inside = enumerate(values)
    if not inside:
        yield place
    for key, value in inside:
        yield from _leaves(value, (*place, key))


def _changed(values: Document, place: Place, *, remove: bool) -> Document:
    """Return the values without the one at a place, or with another value there."""
    changed = copy.deepcopy(values)
    principal: Any = changed
    for key in place[:-1]:
        principal = principal[key]
    if remove:
        del principal[place[-1]]
    else:
        principal[place[-1]] = _other(principal[place[-1]])
    return changed


def _other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value + "-other"
    return None
