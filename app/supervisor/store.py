"""Where the gateway's embedded store keeps keys, budgets and ledger from one start to the next."""

from __future__ import annotations

from pathlib import Path

from app.errors import InvalidSettings
from app.settings.gateway import Settings
from app.stores.embedded import fits, locked
from app.supervisor.screen import Screen

NAME, STAND_IN_NAME = "store", "store-stand-in"
"""Folders of the run folder: what a stand-in said is in no ledger and no cache of a model's."""


def for_gateway(given: Settings, run_dir: Path, screen: Screen, *, with_stand_in: bool) -> dict[str, str]:
    """The variable that has all kept, unless the settings say where, or the path is too long for it."""
    if given.redis_url is not None or given.store_dir is not None:
        return {}
    folder = (run_dir / (STAND_IN_NAME if with_stand_in else NAME)).resolve()
    if not fits(folder):
        screen.say(
            f"Keys, budgets and ledger go when the gateway stops: the path of {folder} is too long for a store. "
            "CONVICTION_STORE_DIR names a folder that keeps them."
        )
        return {}
    return {"CONVICTION_STORE_DIR": str(folder)}


def require_free(settings: Settings) -> None:
    """Raise `InvalidSettings` where another gateway has the store, or the folder cannot be used."""
    if settings.redis_url is not None or settings.store_dir is None:
        return
    try:
        with locked(settings.store_dir):
            pass
    except InvalidSettings as error:
        raise InvalidSettings(f"{error.detail} ({settings.store_dir})") from None
