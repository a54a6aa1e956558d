from __future__ import annotations

import app.errors
from app.comparison.failure_codes import FAILURES


def test_every_error_has_its_place() -> None:
    codes = {each.code for each in vars(app.errors).values() if isinstance(each, type) and hasattr(each, "code")}
    assert codes == set(FAILURES[1:])
    assert len(set(FAILURES)) == len(FAILURES) < 256
