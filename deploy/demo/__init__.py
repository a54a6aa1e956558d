"""`make demo`: a minute of mixed traffic at a gateway that runs, and what it then tells of both backends."""
