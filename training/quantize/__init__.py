"""Merged weights to 4-bit AWQ, and back to float32 for machines without a 4-bit kernel."""
