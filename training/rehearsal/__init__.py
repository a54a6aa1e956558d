"""Rehearsal of a large model's run with its shapes and random weights, on the layers that a machine can hold."""
