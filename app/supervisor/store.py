"""The folder in which the gateway's embedded store persists keys, budgets and ledger between starts."""

from __future__ import annotations

from pathlib import Path

from app.errors import InvalidSettings
from app.settings.gateway import Settings
from app.stores.embedded import fits, locked
from app.supervisor.screen import Screen

NAME, STAND_IN_NAME = "store", "store-stand-in"
"""Two folders of the run folder, so that no answer of a stand-in is in a model's ledger or cache."""


def gateway_variables(settings: Settings, run_dir: Path, screen: Screen, *, with_stand_in: bool) -> dict[str, str]:
    """Return the variable that makes the store persistent, unless one is configured or the path is too long."""
    if settings.redis_url is not None or settings.store_dir is not None:
        return {}
    folder = (run_dir / (STAND_IN_NAME if with_stand_in else NAME)).resolve()
    if not fits(folder):
        screen.print(
            f"Keys, budgets and ledger are lost when the gateway stops: the path of {folder} is too long for a store. "
            "CONVICTION_STORE_DIR names a folder that keeps them."
        )
        return {}
    return {"CONVICTION_STORE_DIR": str(folder)}


def require_free(settings: Settings) -> None:
    """Raise `InvalidSettings` if another gateway uses the store or the folder cannot be used."""
    if settings.redis_url is not None or settings.store_dir is None:
        return
    try:
        with locked(settings.store_dir):
            pass
    except InvalidSettings as error:
        raise InvalidSettings(f"{error.detail} ({settings.store_dir})") from None
