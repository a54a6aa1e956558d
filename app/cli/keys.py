"""`conviction keys`: issue, list and revoke the API keys of a running gateway."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from urllib.parse import quote

from app.cli import streams
from app.cli.client import Json, call
from app.cli.rows import add_output, csv_line
from app.cli.table import table
from app.contract.completion import ALL_BACKENDS

EPILOG = """CONVICTION_URL names the gateway, CONVICTION_API_KEY an admin's key: one of the keys file, or one
issued with --admin. Exit status: 0 success, 1 the gateway refused or failed, 2 wrong usage or settings, 3 the gateway
cannot be reached"""

NOT_PERSISTENT = """The gateway's store is embedded: the key is lost when the gateway stops. REDIS_URL or
CONVICTION_STORE_DIR keeps it."""


FIELDS = (
    *("id", "name", "backends", "admin", "chat", "requests_per_minute", "tokens_per_minute", "usd_per_day"),
    *("created", "created_by", "revoked"),
)
"""Columns of the list as CSV."""


def run(argv: Sequence[str]) -> int:
    """Run `create`, `list` or `revoke`. Raises as `call` does."""
    options = parser().parse_args(argv)
    match options.action:
        case "create":
            create(options)
        case "list":
            streams.write(listing(issued(), options.output))
        case "revoke":
            revoke(options.id)
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="conviction keys", description="The API keys of a gateway.", epilog=EPILOG)
    actions = top.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("create", help="issue a key and print it, this once, to standard output")
    new.add_argument("name", metavar="NAME", help="name of the principal that uses the key")
    new.add_argument("--backend", action="append", choices=ALL_BACKENDS, help="an allowed backend, repeatable (all)")
    new.add_argument("--admin", action="store_true", help="allow it to issue and revoke keys of any scope")
    new.add_argument("--no-chat", action="store_true", help="recommendations only, no chat completions")
    new.add_argument("--requests-per-minute", type=int, metavar="N", help="(the gateway's default)")
    new.add_argument("--tokens-per-minute", type=int, metavar="N", help="(the gateway's default)")
    new.add_argument("--usd-per-day", metavar="USD", help="(the gateway's default)")
    every = actions.add_parser("list", help="list the issued keys, including revoked ones")
    add_output(every, ("table", "json", "csv"), "table")
    end = actions.add_parser("revoke", help="revoke a key; it takes effect within five seconds")
    end.add_argument("id", metavar="ID", help="the key's id, or the key, of which only the id is sent")
    return top


def create(options: argparse.Namespace) -> None:
    """Issue a key; print it to standard output and its record to standard error."""
    request = {
        "name": options.name,
        "backends": options.backend,
        "admin": options.admin,
        "chat": not options.no_chat,
        "requests_per_minute": options.requests_per_minute,
        "tokens_per_minute": options.tokens_per_minute,
        "usd_per_day": options.usd_per_day,
    }
    answer = call("POST", "/v1/keys", request)
    streams.write(answer["key"])
    streams.note(keys_table([answer["record"]]))
    streams.note("Shown this once: the gateway stores only a hash of it.")
    if not answer["lasting"]:
        streams.note(NOT_PERSISTENT)


def issued() -> Iterator[Json]:
    """Yield every issued key, page by page."""
    query = ""
    while True:
        page = call("GET", f"/v1/keys{query}")
        yield from page["keys"]
        if page["next"] is None:
            return
        query = f"?after={page['next']}"


def revoke(key: str) -> None:
    """Revoke a key, given as its id or in full; the secret part is not sent."""
    key_id = key.removeprefix("cvk_").partition("_")[0]
    call("DELETE", f"/v1/keys/{quote(key_id, safe='')}")
    streams.note(f"{key_id} is revoked: every replica rejects it within five seconds.")


def listing(records: Iterable[Json], form: str) -> str:
    """Return issued keys in a form; as JSON, the gateway's records unchanged, and as CSV, all their fields."""
    match form:
        case "json":
            return json.dumps(list(records), indent=2)
        case "csv":
            rows = [{**record, "backends": " ".join(record["backends"] or ())} for record in records]
            return "\n".join(map(csv_line, (FIELDS, *(map(row.get, FIELDS) for row in rows))))
    return keys_table(records)


def keys_table(records: Iterable[Json]) -> str:
    """Return issued keys as a table, the oldest first."""
    rows = [_row(record) for record in sorted(records, key=itemgetter("created"))]
    return table([("ID", "NAME", "BACKENDS", "A MINUTE", "A DAY", "ISSUED", "BY", "REVOKED"), *rows])


def _row(key: Json) -> tuple[str, ...]:
    """Return a key's cells; a dash is a limit that the gateway's settings decide."""
    limits = ((key["requests_per_minute"], "requests"), (key["tokens_per_minute"], "tokens"))
    per_minute = ", ".join(f"{limit:,} {unit}" for limit, unit in limits if limit is not None)
    return (
        key["id"],
        key["name"] + (" (admin)" if key["admin"] else "") + ("" if key["chat"] else " (no chat)"),
        ", ".join(key["backends"] or ("all",)),
        per_minute or "-",
        "-" if key["usd_per_day"] is None else f"{key['usd_per_day']} USD",
        _minute(key["created"]),
        key["created_by"],
        _minute(key["revoked"]) if key["revoked"] else "",
    )


def _minute(timestamp: str) -> str:
    return f"{timestamp[:10]} {timestamp[11:16]}"
