"""Metrics, traces, logs and the request timer."""
