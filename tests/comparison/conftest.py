"""The fixtures of stores, for the pair store."""

from tests.stores.conftest import db_url, patient, redis, store

__all__ = ["db_url", "patient", "redis", "store"]
