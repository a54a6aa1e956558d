"""The decision log: every recommendation that a client received, in SQLite or PostgreSQL."""
