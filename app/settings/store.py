"""Settings of the Redis store."""

from __future__ import annotations

from pathlib import Path
from re import fullmatch
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from app.settings.addresses import require_address
from app.settings.loading import EnvironmentSettings


class StoreSettings(EnvironmentSettings):
    redis_password: SecretStr | None = Field(default=None, validation_alias="REDIS_PASSWORD")
    """For a URL without a password."""
    redis_url: SecretStr | None = Field(default=None, validation_alias="REDIS_URL")
    """None: an embedded server that stops with the gateway. Secret, since it contains the password."""
    allow_open_store: bool = False
    """Use a store on a public address that requires no password."""
    store_dir: Path | None = None
    """Folder of the embedded server's data, for one gateway at a time, and of the decision log, which gateways on one
    REDIS_URL may share; None: nothing is persisted."""

    @field_validator("redis_url")
    @classmethod
    def _insert_password(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if url is None:
            return None
        scheme, separator, rest = url.get_secret_value().partition("://")
        if "sentinel" in scheme or "cluster" in scheme:
            raise ValueError("names a Sentinel or a cluster; name the address of a standalone Redis or of its balancer")
        if not separator or scheme not in ("redis", "rediss", "unix"):
            raise ValueError("must start with redis://, rediss:// or unix://")
        if scheme != "unix":
            require_address(f"{scheme}://{rest.rpartition('@')[2]}")
        password = info.data.get("redis_password")
        if password is None:
            return _require_redis_url(url)
        user, _, address = rest.rpartition("@")
        if ":" in user:
            raise ValueError("contains a password, and REDIS_PASSWORD is set as well; unset one of them")
        return _require_redis_url(
            SecretStr(f"{scheme}://{user}:{quote(password.get_secret_value(), safe='')}@{address}")
        )


def _require_redis_url(url: SecretStr) -> SecretStr:
    """Return the URL if redis-py can connect with it. Raises `ValueError` without the value, which holds a password.

    redis-py itself ignores a database that is no number, and reports an unknown option when it connects.
    """
    from redis.asyncio.connection import ConnectionPool

    parts = urlsplit(url.get_secret_value())
    if parts.scheme != "unix" and not fullmatch("/?[0-9]*", parts.path):
        raise ValueError("the path must be the number of a database, such as redis://host:6379/0")
    try:
        pool = ConnectionPool.from_url(url.get_secret_value())
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError):
        raise ValueError("must be like redis://user:password@host:6379/0, with options of redis-py") from None
    return url
