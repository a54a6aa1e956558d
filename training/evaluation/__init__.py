"""Asking a backend and judging what it says: pairs, rows, agreement, calibration, consistency, baselines."""
