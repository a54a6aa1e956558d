"""Conviction: buy, sell or hold, and how sure, from option statistics and technical indicators."""

__version__ = "0.3.0"
