"""Redis: the connection, the embedded server, the scripts, shared calls and idempotency."""
