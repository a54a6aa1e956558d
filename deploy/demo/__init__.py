"""`make demo`: send a minute of mixed traffic to a running gateway, and print its figures of both backends."""
