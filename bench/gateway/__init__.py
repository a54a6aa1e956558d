"""The gateway beside LiteLLM's proxy, before the same upstream: `python -m bench.gateway --help`."""
