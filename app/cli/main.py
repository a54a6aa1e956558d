"""The command `conviction`. Each subcommand imports what it needs when it runs, so that help is quick."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from app import __version__
from app.errors import InvalidSettings, RequestError

EPILOG = """exit status: 0 done, 1 the gateway refused or failed, 2 wrong usage or settings,
3 the gateway cannot be reached"""

ROOT = (
    "this is root, and the image serves as a user without rights: leave out `--user` (its own is 10001), or name "
    "another than 0; CONVICTION_ALLOW_ROOT=1 serves as root all the same"
)
BACKENDS = ("mistral", "gpt-4", "cascade")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; the exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    match given[:1]:
        case ["stand-in"]:
            from app.stand_in import run

            return run(given[1:])
        case ["up"]:
            from app.supervisor import main as up

            return up(given[1:])
        case ["keys"]:
            from app.cli.keys import run as keys

            return keys(given[1:])
        case ["outcomes"]:
            from app.cli.outcomes import run as outcomes

            return outcomes(given[1:])
        case ["weights"]:
            from app.cli.weights import run as weights

            return weights(given[1:])
    options = parser().parse_args(given)
    try:
        return serve() if options.command == "serve" else ask(options)
    except (InvalidSettings, RequestError) as error:
        print(f"conviction: {error.detail}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="conviction",
        description="Buy, sell or hold, and how sure.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"conviction {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="everything: model server, store and gateway", add_help=False)
    commands.add_parser("serve", help="the gateway alone, by the environment")
    commands.add_parser("stand-in", help="an OpenAI-style server for tests and demonstrations", add_help=False)
    commands.add_parser("keys", help="issue, list and revoke the keys of a running gateway", add_help=False)
    commands.add_parser("outcomes", help="what became of the stocks that stored pairs are about", add_help=False)
    commands.add_parser("weights", help="check the served model's files by their hashes", add_help=False)
    ask = _asking(commands, "recommend", "ask a running gateway (CONVICTION_URL, CONVICTION_API_KEY)")
    ask.add_argument("--backend", choices=BACKENDS, help="who answers (default: the gateway's)")
    ask.add_argument("--fallback", choices=("mistral", "gpt-4"), help="who answers where that one is away")
    both = _asking(commands, "compare", "ask both backends of a running gateway; of many questions, print the report")
    both.add_argument("--half-width", type=float, metavar="SHARE", help="say how many pairs are needed for that")
    return top


def _asking(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, purpose: str
) -> argparse.ArgumentParser:
    """A subcommand that asks something."""
    ask = commands.add_parser(name, help=purpose, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("ticker", nargs="?", metavar="TICKER", help="whose figures the gateway looks up")
    ask.add_argument("--metrics", metavar="FILE", help="a JSON file with the figures; - reads standard input")
    ask.add_argument("--batch", metavar="FILE", help="many at once: an array of bodies, or a body or ticker a line")
    ask.add_argument("--as-of", metavar="DATE", help="with a ticker alone: judge by its close on this day")
    ask.add_argument("--brief", action="store_true", help="action and conviction only")
    ask.add_argument("--json", action="store_true", help="the gateway's answer as it is")
    return ask


def serve() -> int:
    """Run the gateway until it is told to stop."""
    import logging.config
    import os

    import uvicorn

    from app.main import create_app
    from app.serving.drain import Drain
    from app.serving.load_shedding import LoadSheddingProtocol
    from app.serving.loop_lag import LoopLag
    from app.serving.server import Server, bind_sockets
    from app.settings.gateway import load_settings
    from app.telemetry.logs import log_config

    settings = load_settings()
    if os.geteuid() == 0 and not settings.allow_root:
        raise InvalidSettings(ROOT)
    secrets = (settings.openai_api_key, settings.redis_url, settings.redis_password)
    logging.config.dictConfig(log_config(secret.get_secret_value() for secret in secrets if secret))
    drain, lag = Drain(), LoopLag()
    config = uvicorn.Config(
        create_app(settings, drain=drain, lag=lag),
        host=settings.host,
        port=settings.port,
        http=LoadSheddingProtocol.with_lag(lag),
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.backend_timeout_s) + 5,
    )
    Server(config, drain, settings.drain_s).run(bind_sockets(config))
    return 0


def ask(options: argparse.Namespace) -> int:
    """Ask a gateway and show what it says."""
    from app.cli import client

    if options.ticker is None and options.metrics is None and options.batch is None:
        print("conviction: give a TICKER, --metrics FILE, or --batch FILE", file=sys.stderr)
        return 2
    if options.batch is not None and (options.ticker, options.metrics, options.as_of) != (None, None, None):
        print("conviction: --batch FILE goes alone: the file says what is asked", file=sys.stderr)
        return 2
    try:
        return compare(options) if options.command == "compare" else recommend(options)
    except (client.Unreachable, client.Refused) as error:
        return client.told(error)


def recommend(options: argparse.Namespace) -> int:
    """Ask one backend."""
    from app.cli import client
    from app.cli import recommendation_text as terminal
    from app.cli.batch import recommend_batch

    route = client.route(options.backend, options.fallback)
    if options.batch is not None:
        return recommend_batch(options.batch, route, brief=options.brief)
    body = client.body(options.ticker, options.metrics, options.as_of, brief=options.brief)
    answer = client.ask(body, route)
    print(json.dumps(answer, indent=2) if options.json else terminal.recommendation(answer))
    return 0


def compare(options: argparse.Namespace) -> int:
    """Ask both."""
    from app.cli import compare as compare_command

    return compare_command.compare(options)


if __name__ == "__main__":
    sys.exit(main())
