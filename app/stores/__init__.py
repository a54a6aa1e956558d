"""What the gateway keeps in Redis, one file a concern."""
