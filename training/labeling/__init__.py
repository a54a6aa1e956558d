"""Labelling of a data set by a teacher model, within a spending cap."""
