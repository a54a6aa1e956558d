"""Manifests of published models, and records of the weights that are rebuilt from them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from app.contract.calibration import Calibration
from app.contract.prompt import Detail
from app.contract.recommendation import Action


def _within_folder(name: str) -> str:
    if not name.isprintable() or name.startswith("/") or ".." in name.split("/"):
        raise ValueError("must be a file name within the folder, without control characters")
    return name


FileName = Annotated[str, AfterValidator(_within_folder)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

WeightKind = Literal["merged", "awq", "dequantized"]
"""Forms of one version: adapter merged into the base, quantized to 4 bits, and dequantized to float32."""

MANIFEST = "manifest.json"
CURRENT = "current"
REMEDY = "`make model` builds it"


class UnusableModel(Exception):
    """A model that must not be served: its folder is missing or malformed, or a hash differs."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BaseRecord(_Record):
    name: str
    license: str
    weights: dict[str, Sha256]
    """Files of the base in bf16 and their hashes."""
    source: dict[str, Any]
    """The base's origin, as in the training configuration."""


class Golden(_Record):
    """A brief prompt, as metrics, and the action that rebuilt weights must answer it with."""

    ticker: str
    metrics: dict[str, Any]
    action: Action


class Agreement(_Record):
    """Share of pairs with the teacher's action, for tickers not trained on; failures count as disagreement."""

    value: float
    low: float
    high: float
    n: int
    tickers: int


class Capacity(_Record):
    """Tokens per hour, prompt and completion together, at a concurrency on a machine."""

    tokens_per_hour: Annotated[int, Field(gt=0)]
    concurrency: Annotated[int, Field(gt=0)]
    machine: str
    usd_per_hour: Decimal
    price_source: str


class Check(_Record):
    """A condition of publishing and its result; a failed one was waived by name."""

    name: str
    held: bool
    found: str


class Manifest(_Record):
    """A model version in `model_store/`; with the base weights, its folder suffices to rebuild the model."""

    name: Name
    version: Name
    created: datetime
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    prompt_version: str
    teacher: str
    base: BaseRecord
    adapter: dict[FileName, Sha256]
    """Files of the adapter and their hashes."""
    data: dict[str, Any]
    quantisation: dict[str, Any]
    evaluation: dict[str, Agreement]
    """Agreement with the teacher by detail and form, such as "brief, awq"."""
    capacity: Capacity | None
    golden: list[Golden]
    gate: list[Check] = []
    """The conditions of publishing; empty in versions older than these."""
    calibration: dict[Detail, Calibration] | None = None
    """Of the 4-bit weights' probabilities, by detail; None in versions older than this."""

    @property
    def model_id(self) -> str:
        """The id under which the model is served; it ends in the fingerprint of the contract it was trained on."""
        return f"{self.name}-{self.version}-{self.fingerprint}"


class BuildRecord(_Record):
    """The hashes of weights rebuilt on this machine from a manifest, checked before each load."""

    model_id: str
    manifest_sha256: Sha256
    kind: WeightKind
    weights: dict[FileName, Sha256]


def current(store: Path) -> Path:
    """Return the folder of the version that the file `current` names as name/version. Raises `UnusableModel`."""
    try:
        name = (store / CURRENT).read_text("utf-8", "replace").strip()
    except OSError as error:
        raise UnusableModel(f"{store / CURRENT} cannot be read: {error.strerror}") from None
    folder = (store / name).resolve() if name.isprintable() else store
    if not name or store.resolve() not in folder.parents:
        raise UnusableModel(f"{store / CURRENT} names no folder of the store: {name!r}")
    return folder


def read(folder: Path) -> Manifest:
    """Read a published version's manifest and check its adapter's hashes. Raises `UnusableModel`."""
    manifest = parse(folder)
    verify(folder / "adapter", manifest.adapter)
    return manifest


def parse(folder: Path) -> Manifest:
    """Read a published version's manifest. Raises `UnusableModel`."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise UnusableModel(f"{folder / MANIFEST} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UnusableModel(f"{folder / MANIFEST}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def record_path(folder: Path, kind: WeightKind) -> Path:
    """Return the path of one form's build record in a version's folder of weights."""
    return folder / f"build-{kind}.json"


def build_record(published: Path, manifest: Manifest, models: Path, kind: WeightKind) -> BuildRecord:
    """Return the record of the weights built here; raise `UnusableModel` if they are missing or of another build."""
    folder = models / manifest.model_id
    path = record_path(folder, kind)
    try:
        record = BuildRecord.model_validate_json(path.read_bytes())
    except OSError:
        raise UnusableModel(f"{manifest.model_id} has no {kind} weights in {models}: {REMEDY}") from None
    except ValidationError:
        raise UnusableModel(f"{path} is no build record: delete it, and {REMEDY}") from None
    if record.manifest_sha256 != sha256(published / MANIFEST):
        raise UnusableModel(f"{folder} was built from another manifest: delete it, and {REMEDY}")
    return record


def verify(folder: Path, files: Mapping[str, str]) -> None:
    """Raise `UnusableModel` naming the first file that is missing or has another hash."""
    for name, digest in files.items():
        try:
            found = sha256(folder / name)
        except OSError as error:
            raise UnusableModel(f"{folder / name} cannot be read: {error.strerror}") from None
        if found != digest:
            raise UnusableModel(f"{folder / name} is not what was published: sha256 {found[:12]}…, not {digest[:12]}…")


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
