"""An OpenAI-style server whose answers are the rule-based analyst's, for tests, demonstrations and benchmarks.

It validates requests as strictly as the real servers, fails on request, and marks each response as a stand-in's.
"""

from app.stand_in.command import run
from app.stand_in.failures import Mode
from app.stand_in.server import create_stand_in

__all__ = ["Mode", "create_stand_in", "run"]
