"""The command line of the training pipeline: each stage's options, and what it calls."""
