"""`conviction up`: a model server and the gateway, started, watched, started again when they die, and stopped.

command.py reads the arguments, up.py tells the story; a service.py keeps one process.py alive.
"""

from app.supervisor.command import main

__all__ = ["main"]
