"""The case study's cost tables beside recorded runs."""
