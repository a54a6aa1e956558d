"""The gateway settings that the chart's values may name: those that it neither sets itself nor takes from a secret."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from app.settings.gateway import Settings
from app.settings.loading import PREFIX

SCHEMA = Path(__file__).parent / "gateway" / "values.schema.json"
SET_BY_CHART = {"host", "port", "api_keys_file", "drain_s", "backend_timeout_s", "experiments_file", "allow_root"}
NO_VOLUME = {"store_dir", "market_dir", "universe_file"}
PROXIES = ["HTTPS_PROXY", "NO_PROXY"]
"""Which Settings' `proxy_for` reads through the standard library."""


def allowed() -> list[str]:
    """Return the sorted names of their environment variables."""
    fields = Settings.model_fields
    plain = fields.keys() - SET_BY_CHART - NO_VOLUME
    return sorted(PROXIES + [variable(name) for name in plain if "SecretStr" not in str(fields[name].annotation)])


def variable(field: str) -> str:
    """Return the environment variable of a settings field."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else PREFIX + field.upper()


def in_schema(schema: dict[str, Any]) -> list[str]:
    """Return the names that the chart's schema allows."""
    names: list[str] = schema["properties"]["settings"]["propertyNames"]["enum"]
    return names


def write() -> None:
    """Update the names in the schema, and nothing else in the file."""
    text = SCHEMA.read_text()
    names = ",\n".join(f"        {json.dumps(name)}" for name in allowed())
    SCHEMA.write_text(re.sub(r'(?s)("propertyNames": \{"enum": \[)[^\]]*\]', rf"\g<1>\n{names}\n      ]", text))
