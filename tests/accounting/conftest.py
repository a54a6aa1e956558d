"""The fixtures of the stores' tests: a separate database, and a clock that tests set."""

from tests.stores.conftest import (  # noqa: F401
    admissions,
    clock,
    db_url,
    names,
    patient,
    redis,
    scripts_by_the_clock,
    store,
)
