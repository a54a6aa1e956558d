"""The database of the decision log: PostgreSQL, or a SQLite file in the store's folder, as temporary as the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event

from app.settings.decision_log import DecisionLogSettings
from app.stores.embedded import private_folder
from app.stores.valkey_server import open_private

FILE = "decisions.sqlite"
BUSY_S = 5
"""The wait for another gateway's transaction."""
CONNECT_S = 3


@contextmanager
def log_folder(settings: DecisionLogSettings) -> Iterator[Path | None]:
    """Yield the folder of a SQLite log: the store's, a temporary one beside a temporary store, or None."""
    configured = (settings.store_dir, settings.redis_url, settings.decision_log_url)
    if settings.decision_log != "off" and not any(configured):
        with TemporaryDirectory(prefix="conviction-") as folder:
            yield Path(folder)
    else:
        yield settings.store_dir


def open_engine(settings: DecisionLogSettings, folder: Path | None) -> Engine | None:
    """Return the engine, not yet connected; None without a log. Raises `InvalidSettings` for an unusable folder."""
    if settings.decision_log == "off":
        return None
    if settings.decision_log_url is not None:
        return _postgresql(settings.decision_log_url.get_secret_value())
    if folder is not None:
        return _sqlite(folder, durable=settings.decision_log == "required")
    return None


def _sqlite(folder: Path, *, durable: bool) -> Engine:
    """Return an engine on a file that only the gateway's user can read.

    A killed gateway loses nothing that is committed; a power failure loses about a second, or nothing if `durable`.
    """
    path = private_folder(folder) / FILE

    def configure(connection: Connection, _: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")

    def create_private(*_: object) -> None:
        with suppress(OSError):  # which SQLite reports
            open_private(path, "a").close()

    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_S}, hide_parameters=True
    )
    event.listen(engine, "do_connect", create_private)
    event.listen(engine, "connect", configure)
    return engine


def _postgresql(url: str) -> Engine:
    """Return an engine whose connections libpq opens as the URL says."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    options: dict[str, Any] = {"connect_timeout": CONNECT_S, "tcp_user_timeout": 1000 * BUSY_S, **conninfo_to_dict(url)}
    # No prepared statements, which PgBouncer cannot share between its clients.
    connect = partial(psycopg.connect, **options, prepare_threshold=None)
    return create_engine("postgresql+psycopg://", creator=connect, pool_pre_ping=True, hide_parameters=True)
