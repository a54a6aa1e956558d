"""Prices of tokens and of hosting, and the limits that are expressed in them."""
