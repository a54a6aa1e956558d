"""Write the generated pages of docs/reference/ and the index of docs/decisions/ from their sources.

.envs/dev/bin/python docs/reference/generate.py            write the pages
.envs/dev/bin/python docs/reference/generate.py --check    exit with status 1 if a page differs from its source
"""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic_settings import BaseSettings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
NOTE = "<!-- docs/reference/generate.py writes this page. Change its source, then run `{command}`. -->\n"
COMMAND = ".envs/dev/bin/python docs/reference/generate.py"
ALERTS = "../how-to/respond-to-alerts.md"
READERS = {
    "Settings": ("Gateway", "Read by `conviction serve` and `conviction up`."),
    "ClientSettings": (
        "Command-line client",
        "Read by `conviction recommend`, `compare`, `pairs`, `report`, `keys`, `outcomes`, `replay` and `mcp`.",
    ),
    "TerminalSettings": ("Terminal", "Read by commands that print to a terminal."),
}
"""Title and readers of each class of settings; any other is the supervisor's."""

SUPERVISOR = ("Supervisor", "Read by `conviction up` in addition to the gateway's.")
MEANING = {"internal_error": "An unexpected error of the gateway; its log has the traceback under the request id."}
"""Meaning of an error whose class docstring describes the hierarchy instead."""

PROGRAMS = (
    ("conviction", "conviction", "app.cli.main"),
    ("Training", "python -m training", "training.cli.main"),
)
"""Heading, command and module of each program with subcommands."""

DEQUANTIZED = "4-bit AWQ, or the same weights multiplied out into float32 for a CPU without a 4-bit kernel."
CLIENT_GONE = 499
"""Status of an error that no client reads."""

FORMATS = {"password": "secret", "path": "path", "date": "date", "date-time": "time"}
Schema = Mapping[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or compare them with what would be written; return the exit status."""
    stale = [path for path, text in pages() if not path.exists() or path.read_text() != text]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(ROOT)} differs from its source; run {COMMAND}", file=sys.stderr)
        return 1 if stale else 0
    for path, text in pages():
        path.write_text(text)
    print(f"{len(stale)} pages changed")
    return 0


def pages() -> Iterator[tuple[Path, str]]:
    """Each generated page with its text."""
    writers: Mapping[str, Callable[[], Iterable[str]]] = {
        "reference/settings.md": settings_page,
        "reference/metrics.md": metrics_page,
        "reference/api.md": api_page,
        "reference/errors.md": errors_page,
        "reference/commands.md": commands_page,
        "reference/sizing.md": sizing_page,
        "decisions/README.md": decisions_page,
    }
    for name, lines in writers.items():
        title, *rest = lines()
        yield DOCS / name, "\n".join([f"# {title}\n", NOTE.format(command=COMMAND), *rest]).rstrip() + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table; a vertical bar within a cell is escaped."""
    for cells in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"
    yield ""


# Settings


def settings_page() -> Iterator[str]:
    """Every environment variable that a settings class reads."""
    yield "Settings"
    yield (
        "Each setting is an environment variable, read once at the start; an empty variable counts as unset. A\n"
        "wrong value stops the program with exit status 2 and one line that names the variable, never its value.\n"
        "A secret (type *secret*) can also be read from a file, which the variable with `_FILE` appended names.\n"
        "[.env.example](../../.env.example) has the settings that docker-compose.yml reads.\n"
    )
    for form in settings_classes():
        title, who = READERS.get(form.__name__, SUPERVISOR)
        schema = form.model_json_schema(by_alias=False)
        fields = [
            (variables(form, field), kind(schema["properties"][field], schema), default(each), described(form, field))
            for field, each in form.model_fields.items()
        ]
        yield f"## {title}\n"
        yield f"{who}\n"
        yield from table(("variable", "type", "default", "meaning"), fields)
    hardware = importlib.import_module("app.contract.hardware")
    yield "## Hardware\n"
    yield (
        "Read by `conviction up`, `make model` and the training; `python3 -m app.contract.hardware` prints the choice\n"
        "for this machine. Each variable overrides one part of it.\n"
    )
    choices = (
        (hardware.DTYPE_VARIABLE, get_args(hardware.Dtype), "Number format for serving, building and training."),
        (hardware.WEIGHTS_VARIABLE, get_args(hardware.WeightFormat), DEQUANTIZED),
        (hardware.COMPILE_VARIABLE, ("0", "1"), "0: vLLM runs eagerly, which starts sooner and answers more slowly."),
    )
    rows = [(f"`{name}`", ", ".join(f"`{each}`" for each in of), meaning) for name, of, meaning in choices]
    yield from table(("variable", "values", "meaning"), rows)


def settings_classes() -> list[Any]:
    """The settings of each program: those classes of app.settings from which no other is derived."""
    home = importlib.import_module("app.settings")
    modules = [importlib.import_module(f"{home.__name__}.{each.name}") for each in pkgutil.iter_modules(home.__path__)]
    classes = {each for module in modules for each in vars(module).values() if inspect.isclass(each)}
    leaves = {each for each in classes if hasattr(each, "settings_customise_sources") and not each.__subclasses__()}
    return sorted(leaves - {BaseSettings}, key=lambda each: [*READERS, each.__name__].index(each.__name__))


def variables(form: Any, field: str) -> str:
    alias = form.model_fields[field].validation_alias
    names = [form.model_config["env_prefix"] + field.upper()] if alias is None else getattr(alias, "choices", [alias])
    return ", ".join(f"`{each}`" for each in names)


def default(field: Any) -> str:
    value = field.default
    if field.default_factory is not None:
        return "see meaning"
    if value is None or value in ((), ""):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def described(form: type, field: str) -> str:
    """The attribute's docstring: the string that stands on its own below the field in the class body."""
    for each in form.__mro__:
        with suppress(OSError, TypeError):
            body = ast.parse(inspect.cleandoc("\n" + inspect.getsource(each))).body[0]
            assert isinstance(body, ast.ClassDef)
            for statement, following in zip(body.body, [*body.body[1:], ast.Pass()], strict=True):
                if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == field:
                    text = following.value.value if isinstance(following, ast.Expr) else ""  # type: ignore[attr-defined]
                    return str(text)
    return ""


# JSON schemas


def titled(field: str, of: Schema) -> str:
    """Return a field's description, after its title if that says more than its name."""
    title, description = of.get("title", ""), of.get("description", "")
    derived = title.lower() == field.replace("_", " ").lower()
    return description if derived or not title or not description else f"{title}: {description}"


def kind(schema: Schema, document: Schema) -> str:
    """A type in words, with its bounds. Null is mentioned for HTTP objects alone: a setting is unset instead."""
    http = "components" in document
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})" if http else kind(document["$defs"][name], document)
    if "anyOf" in schema:
        choices = [each for each in schema["anyOf"] if http or each.get("type") != "null"]
        if not http and any(each.get("type") == "number" for each in choices):
            choices = [each for each in choices if each.get("type") != "string"]  # a decimal's other form
        return " or ".join(kind(each, document) for each in choices)
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{each}`" for each in schema.get("enum", [schema.get("const")]))
    match schema.get("type", "any"):
        case "array":
            return f"array of {kind(schema.get('items', {}), document)}{bounds(schema, 'Items')}"
        case "object" if isinstance(values := schema.get("additionalProperties"), dict):
            return f"object of {kind(values, document)}"
        case "string":
            return FORMATS.get(schema.get("format", ""), "string") + bounds(schema, "Length")
        case other:
            return str(other) + bounds(schema, "imum")


def bounds(schema: Schema, what: str) -> str:
    low, high = schema.get(f"min{what}"), schema.get(f"max{what}")
    words = {
        "above": schema.get("exclusiveMinimum"),
        "below": schema.get("exclusiveMaximum"),
        "at least": low if high is None else None,
        "at most": high if low is None else None,
    }
    limits = [f"{word} {limit:,.12g}" for word, limit in words.items() if limit is not None]
    if low is not None and high is not None:
        limits = [f"{low:,.12g} to {high:,.12g}"]
    return "".join(f", {limit}" for limit in limits) + (" characters" if limits and what == "Length" else "")


# Metrics


def metrics_page() -> Iterator[str]:
    """Every collector, recording rule and alert."""
    yield "Metrics"
    yield (
        "`GET /metrics` answers in Prometheus' text format. No label holds a key, a ticker or a request id. The\n"
        "gateway also exports the process, platform and garbage collector metrics of prometheus-client.\n"
    )
    yield "## Collectors\n"
    yield from table(("name", "type", "labels", "meaning"), collectors())
    yield "## Histogram buckets\n"
    yield from table(("name", "upper bounds"), buckets())
    yield "## Recording rules\n"
    yield (
        "[rules.yml](../../deploy/compose/prometheus/rules.yml) records what dashboards and alerts read,\n"
        "[spend.yml](../../deploy/compose/prometheus/spend.yml) money by day and month.\n"
    )
    yield from table(("name", "evaluated every", "meaning"), recorded())
    yield "## Alerts\n"
    yield "[alerts.yml](../../deploy/compose/prometheus/alerts.yml); the name links to what to do.\n"
    yield from table(("alert", "severity", "delay", "summary"), alerts())


def gathered() -> list[Any]:
    registry = importlib.import_module("app.telemetry.metrics").Collectors().registry
    return [each for each in registry._collector_to_names if hasattr(each, "_labelnames")]


def collectors() -> Iterator[tuple[str, str, str, str]]:
    for each in gathered():
        [family] = each.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in each._labelnames)
        yield f"`{name}`", family.type, labels or "none", family.documentation


def buckets() -> Iterator[tuple[str, str]]:
    for each in gathered():
        if upper := each._kwargs.get("buckets"):
            yield f"`{next(iter(each.describe())).name}`", ", ".join(f"{bound:g}" for bound in upper)


def recorded() -> Iterator[tuple[str, str, str]]:
    for name in ("rules.yml", "spend.yml"):
        yield from recorded_in((ROOT / "deploy/compose/prometheus" / name).read_text())


def recorded_in(text: str) -> Iterator[tuple[str, str, str]]:
    comments = {
        name: " ".join(line.strip().lstrip("# ") for line in comment.splitlines())
        for comment, name in re.findall(r"((?:^ +#.*\n)*)^ +- record: (\S+)", text, re.MULTILINE)
    }
    for group in yaml.safe_load(text)["groups"]:
        for rule in group["rules"]:
            yield f"`{rule['record']}`", group["interval"], comments[rule["record"]]


def alerts() -> Iterator[tuple[str, str, str, str]]:
    for group in yaml.safe_load((ROOT / "deploy/compose/prometheus/alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            summary = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"*\1*", rule["annotations"]["summary"])
            summary = re.sub(r"\{\{ \$value .*?\}\}", "*value*", summary)
            name = rule["alert"]
            yield f"[{name}]({ALERTS}#{name.lower()})", rule["labels"]["severity"], rule.get("for", "none"), summary


# HTTP


def document() -> dict[str, Any]:
    """The OpenAPI document of a gateway without any setting."""
    form = settings_classes()[0]
    create: Any = importlib.import_module("app.main").create_app
    built: dict[str, Any] = create(form(model_store=ROOT / "model_store")).openapi()
    return built


def api_page() -> Iterator[str]:
    """Endpoints, headers and fields."""
    api = document()
    yield "HTTP API"
    yield (
        "The same in OpenAPI: `/openapi.json`, shown at `/docs`. [errors.md](errors.md) lists the error codes;\n"
        "[call the API](../how-to/call-the-api.md) shows requests and answers. Bodies are\n"
        "JSON in UTF-8, with `Content-Type: application/json`. A decimal (money) is a string.\n"
    )
    yield "## Endpoints\n"
    operations = [(path, method, each) for path, item in api["paths"].items() for method, each in item.items()]
    yield from table(
        ("endpoint", "purpose", "statuses"),
        [
            (f"`{method.upper()} {path}`", each.get("description", ""), ", ".join(each["responses"]))
            for path, method, each in operations
        ],
    )
    yield "## Parameters and request headers\n"
    parameters: dict[tuple[str, str, str, str], list[str]] = {}
    for path, method, each in operations:
        for one in each.get("parameters", []):
            about = (one["name"], one["in"], kind(one.get("schema", {}), api), one.get("description", ""))
            parameters.setdefault(about, []).append(f"`{method.upper()} {path}`")
    yield from table(
        ("name", "in", "value", "meaning", "accepted by"),
        [
            (f"`{name}`", place, of, meaning, "all" if len(at) == len(operations) else ", ".join(at))
            for (name, place, of, meaning), at in parameters.items()
        ],
    )
    yield (
        "Where the gateway has keys, every request needs `Authorization: Bearer KEY` or `X-API-Key: KEY`, except\n"
        "`/health/live`, `/health/ready`, the console's own files and, unless `CONVICTION_OPEN_DOCS=0`, `/docs` and\n"
        "`/openapi.json`.\n"
    )
    yield "## Response headers\n"
    headers: dict[str, str] = {}
    for _, _, each in operations:
        for response in each["responses"].values():
            for name, header in response.get("headers", {}).items():
                headers[name] = header.get("description", "") or headers.get(name, "")
    yield from table(("name", "meaning"), [(f"`{name}`", meaning) for name, meaning in headers.items()])
    yield "## Objects\n"
    yield "A field marked * is always present.\n"
    for name, schema in sorted(api["components"]["schemas"].items()):
        yield f"### {name}\n"
        yield f"{schema.get('description', '')}\n"
        required = schema.get("required", [])
        yield from table(
            ("field", "type", "default", "meaning"),
            [
                (
                    f"`{field}`{' *' if field in required else ''}",
                    kind(of, api),
                    json_default(of),
                    titled(field, of),
                )
                for field, of in schema.get("properties", {}).items()
            ],
        )


def json_default(schema: Schema) -> str:
    value = schema.get("default")
    return "" if value is None or isinstance(value, list | dict) or len(str(value)) > 40 else f"`{str(value).lower()}`"


def errors_page() -> Iterator[str]:
    """Every error that a client may see."""
    errors: Any = importlib.import_module("app.errors")
    yield "Error codes"
    yield (
        "Errors are problem documents of RFC 9457 (`application/problem+json`, fields of [Problem](api.md#problem)).\n"
        "Programs distinguish them by `code`. `errors` names each wrong field; `retry_after` repeats\n"
        "`Retry-After`. `POST /v1/chat/completions` uses OpenAI's form with the same codes.\n"
    )
    root = errors.ConvictionError
    own = {each.code: each for each in subclasses(root) if "code" in vars(each) and each.status != CLIENT_GONE}
    rows = [
        (str(each.status), f"`{code}`", each.title, MEANING.get(code) or inspect.cleandoc(each.__doc__).splitlines()[0])
        for code, each in sorted([*own.items(), (root.code, root)], key=lambda item: item[1].status)
    ]
    yield from table(("status", "code", "title", "meaning"), rows)
    yield "`too_large`: a request body may have 64 KiB, a chat completion 1 MiB, a batch 4 MiB.\n"
    yield (
        "`unparsed_answer` is returned after one more attempt, unless a part of the answer was already sent. The\n"
        "gateway never replaces it by `hold`. The tokens of both attempts are charged.\n"
    )


def subclasses(root: type) -> Iterator[Any]:
    for each in root.__subclasses__():
        yield each
        yield from subclasses(each)


# Commands


def commands_page() -> Iterator[str]:
    """The help of each command."""
    yield "Commands"
    yield "## make\n"
    targets = re.findall(r"^([a-z-]+):.*?## (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    yield from table(("command", "purpose"), [(f"`make {name}`", purpose) for name, purpose in targets])
    for heading, title, program in PROGRAMS:
        yield f"## {heading}\n"
        top = helped(program, [])
        yield f"```\n{top}\n```\n"
        for name in re.findall(r"^    ([a-z][a-z-]+)(?:\s|$)", top, re.MULTILINE):
            yield f"### {title} {name}\n"
            text = helped(program, [name])
            yield f"```\n{text}\n```\n"
            for action in re.findall(r"^    ([a-z][a-z-]+)  ", text, re.MULTILINE) if "ACTION" in text else ():
                yield f"```\n{helped(program, [name, action])}\n```\n"


def helped(program: str, arguments: Sequence[str]) -> str:
    return printed(program, [*arguments, "--help"])


def printed(program: str, *arguments: Sequence[str]) -> str:
    out = io.StringIO()
    with redirect_stdout(out), suppress(SystemExit):
        importlib.import_module(program).main(*arguments)
    return out.getvalue().strip()


def sizing_page() -> Iterator[str]:
    """What a GPU serves, as `python -m deploy.sizing` prints it."""
    cards, published = printed("deploy.sizing.__main__").split("\n\n")
    yield "What a GPU serves"
    yield (
        "`python -m deploy.sizing` prints these tables for Mistral 7B in 4-bit AWQ, from\n"
        "[figures.toml](../../deploy/sizing/figures.toml), which has the source of each figure; none was measured\n"
        "by this project. [Size a deployment](../how-to/size-a-deployment.md) explains the columns.\n"
    )
    yield f"{cards}\n"
    yield "Published measurements from which the share to plan with is taken:\n"
    yield published


def decisions_page() -> Iterator[str]:
    """The decision records by their titles."""
    yield "Decisions"
    yield "One page each: context, options, measurement, decision, consequences.\n"
    for path in sorted(DOCS.glob("decisions/*.md")):
        if path.name != "README.md":
            yield f"- [{path.read_text().splitlines()[0].lstrip('# ')}]({path.name})"


if __name__ == "__main__":
    for variable in [
        name for name in os.environ if name.startswith(("CONVICTION_", "OPENAI_", "OTEL_", "REDIS_", "AWS_"))
    ]:
        del os.environ[variable]
    os.environ["COLUMNS"] = "100"
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    sys.exit(main(sys.argv[1:]))
