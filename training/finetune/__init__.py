"""LoRA fine-tuning on labelled answers: base preparation, training and adapter merge."""
