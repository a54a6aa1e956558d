"""Makes the model: a data set, a teacher's labels, LoRA, merge, 4-bit AWQ, evaluation, publication."""
