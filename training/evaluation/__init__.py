"""Evaluation of served models against the teacher, and baselines."""
