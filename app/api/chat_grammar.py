"""Limits of the JSON schemas in a chat completion for the hosted model.

vLLM compiles them to grammars in the process that serves all clients, and a schema of 35 kB took it minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import to_json

from app.errors import InvalidRequest

MAX_SCHEMAS, MAX_DEPTH, MAX_NAME_BYTES, MAX_COUNTS = 256, 16, 4096, 8192
"""Of a request: its schemas with the nested ones, their depth, the bytes of names and fixed values, and the sum of the
lengths and numbers of elements, which a grammar repeats a rule for."""

ANNOTATIONS = frozenset({"$schema", "$id", "$comment", "title", "description", "examples", "default", "deprecated"})
FIXED = frozenset(
    {"type", "enum", "const", "required", "$ref", "format", "nullable", "multipleOf"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
)
COUNTS = frozenset({"minLength", "maxLength", "minItems", "maxItems"})
ONE, MANY, NAMED = (
    frozenset({"items", "additionalProperties"}),
    frozenset({"anyOf", "oneOf", "prefixItems"}),
    frozenset({"properties", "$defs", "definitions"}),
)


def check_grammars(body: Mapping[str, Any]) -> None:
    """Raise `InvalidRequest` if the schemas of a validated request are beyond the limits."""
    left: dict[str, float] = {
        "schemas": MAX_SCHEMAS,
        "bytes of names and values": MAX_NAME_BYTES,
        "elements and characters": MAX_COUNTS,
    }
    for field, schema in _grammars(body):
        for problem in _problems(schema, MAX_DEPTH, left):
            raise InvalidRequest(f"{field} {problem}", fields=[(field, problem)])


def _grammars(body: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield the field and the value of each schema of a request."""
    response_format = (body.get("response_format") or {}).get("json_schema")
    if response_format:
        yield "response_format", response_format.get("schema")
    for index, tool in enumerate(body.get("tools") or ()):
        yield f"tools.{index}", tool["function"].get("parameters")


def _problems(schema: object, depth: int, left: dict[str, float]) -> Iterator[str]:
    """Yield what is beyond the limits, and count down what is left of them."""
    if not isinstance(schema, Mapping):
        return
    if not depth:
        yield f"must not be nested more than {MAX_DEPTH} deep"
        return
    left["schemas"] -= 1
    for keyword, value in schema.items():
        if keyword in FIXED:
            left["bytes of names and values"] -= len(to_json(value))
        elif keyword in COUNTS:
            left["elements and characters"] -= max(0, value) if isinstance(value, int | float) else 0
        elif keyword in ONE:
            yield from _problems(value, depth - 1, left)
        elif keyword in MANY and isinstance(value, list):
            for each in value:
                yield from _problems(each, depth - 1, left)
        elif keyword in NAMED and isinstance(value, Mapping):
            for name, each in value.items():
                left["bytes of names and values"] -= len(name)
                yield from _problems(each, depth - 1, left)
        elif keyword not in ANNOTATIONS:
            yield f"must not have {keyword[:48]}: mistral accepts no such constraint"
        for what, remaining in left.items():
            if remaining < 0:
                yield f"must have fewer {what}: the schemas of a request for mistral are limited"
