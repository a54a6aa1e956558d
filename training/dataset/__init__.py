"""Snapshots of a universe at several closes, split by company and date."""
