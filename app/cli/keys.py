"""`conviction keys`: issues, lists and revokes keys by asking a running gateway."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from app.cli import client
from app.cli import recommendation_text as terminal
from app.contract.completion import BACKEND_NAMES
from app.errors import InvalidSettings

EPILOG = """CONVICTION_URL names the gateway, CONVICTION_API_KEY an admin's key: one of the keys file's, or one
issued with --admin. Exit status: 0 done, 1 the gateway refused or failed, 2 wrong usage or settings, 3 the gateway
cannot be reached"""

NOT_LASTING = """The gateway's store is an embedded one: the key goes when the gateway stops. REDIS_URL, or
CONVICTION_STORE_DIR, keeps it."""

Json = client.Json


def run(argv: Sequence[str]) -> int:
    """Run a subcommand; the exit status."""
    options = parser().parse_args(argv)
    try:
        match options.action:
            case "create":
                create(options)
            case "list":
                print(json.dumps(list(issued()), indent=2) if options.json else terminal.keys(issued()))
            case "revoke":
                revoke(options.id)
    except (InvalidSettings, client.Unreachable, client.Refused) as error:
        return client.told(error)
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="conviction keys", description="The keys that a gateway lets in.", epilog=EPILOG)
    actions = top.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("create", help="issue a key; it alone goes to standard output, this once")
    new.add_argument("name", metavar="NAME", help="whose key it is")
    new.add_argument("--backend", action="append", choices=BACKEND_NAMES, help="it may ask; may be repeated (all)")
    new.add_argument("--admin", action="store_true", help="it may issue and revoke keys, of any scope")
    new.add_argument("--requests-per-minute", type=int, metavar="N", help="(the gateway's default)")
    new.add_argument("--tokens-per-minute", type=int, metavar="N", help="(the gateway's default)")
    new.add_argument("--usd-per-day", metavar="USD", help="(the gateway's default)")
    listing = actions.add_parser("list", help="show the keys that were issued, the revoked ones too")
    listing.add_argument("--json", action="store_true", help="as the gateway tells it")
    end = actions.add_parser("revoke", help="end a key for good, within five seconds")
    end.add_argument("id", metavar="ID", help="the key's id; of a whole key, only its id is sent")
    return top


def create(options: argparse.Namespace) -> None:
    """Issue a key: itself to standard output, what there is to say of it to standard error."""
    wanted = {
        "name": options.name,
        "backends": options.backend,
        "admin": options.admin,
        "requests_per_minute": options.requests_per_minute,
        "tokens_per_minute": options.tokens_per_minute,
        "usd_per_day": options.usd_per_day,
    }
    answer = client.call("POST", "/v1/keys", wanted)
    print(answer["key"])
    print(terminal.keys([answer["record"]]), file=sys.stderr)
    print("Shown this once: what is kept of it is a hash.", file=sys.stderr)
    if not answer["lasting"]:
        print(NOT_LASTING, file=sys.stderr)


def issued() -> Iterator[Json]:
    """Every key that was issued, page by page."""
    after = ""
    while True:
        page = client.call("GET", f"/v1/keys{after}")
        yield from page["keys"]
        if page["next"] is None:
            return
        after = f"?after={page['next']}"


def revoke(given: str) -> None:
    """End a key, named by its id or given whole: then its secret stays here."""
    key_id = given.removeprefix("cvk_").partition("_")[0]
    client.call("DELETE", f"/v1/keys/{quote(key_id, safe='')}")
    print(f"{key_id} is revoked: within five seconds it opens nothing, on any replica.", file=sys.stderr)
