"""Settings of the decision log."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from app.settings.store import StoreSettings

DecisionLogMode = Literal["off", "best-effort", "required"]


class DecisionLogSettings(StoreSettings):
    decision_log: DecisionLogMode = "best-effort"
    """Whether recommendations are logged. best-effort: an entry that cannot be stored is dropped and counted; required:
    a recommendation that cannot be logged is a 503."""
    decision_log_url: SecretStr | None = None
    """PostgreSQL database of the log, as libpq reads it: postgresql://user:password@host/name. None: a SQLite file in
    `store_dir`, or one that is as temporary as the embedded store; with REDIS_URL and no `store_dir`, nothing is
    logged. Secret, since it contains the password."""
    decision_log_days: Annotated[int, Field(gt=0, le=36_500)] = 90
    """Days after which entries are deleted."""

    @field_validator("decision_log_url")
    @classmethod
    def _require_postgresql(cls, url: SecretStr | None) -> SecretStr | None:
        """Raise `ValueError`, without the value, for a URL that libpq cannot read."""
        if url is None:
            return None
        if not url.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must start with postgresql://")
        if find_spec("psycopg") is None:
            raise ValueError("needs psycopg; run pip install 'conviction[postgresql]'")
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict

        try:
            conninfo_to_dict(url.get_secret_value())
        except ProgrammingError:
            raise ValueError("must be like postgresql://user:password@host:5432/name, with options of libpq") from None
        return url

    @model_validator(mode="after")
    def _require_database(self) -> Self:
        if self.decision_log == "required" and self.decision_log_url is None and self.store_dir is None:
            raise ValueError(
                "CONVICTION_DECISION_LOG: required needs CONVICTION_DECISION_LOG_URL or CONVICTION_STORE_DIR"
            )
        return self
