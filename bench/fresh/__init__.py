"""`make bench-fresh`: time from a fresh clone to the first answer. It uses only the standard library."""
