"""Configuration of a run: one module per section of its TOML file, and `run` for the whole."""
