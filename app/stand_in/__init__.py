"""An OpenAI-style server answered by the rule-based analyst, for tests, demonstrations and benchmarks.

It takes only what the real servers take, can be told to fail, and marks everything it says as a stand-in's.
"""

from app.stand_in.command import run
from app.stand_in.failures import Mode
from app.stand_in.server import create_stand_in

__all__ = ["Mode", "create_stand_in", "run"]
