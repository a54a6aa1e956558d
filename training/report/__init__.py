"""Evaluations, baselines and curves as tables, plots and a page."""
