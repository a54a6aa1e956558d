"""What fine-tuning is made of: rows as token ids, the trainer, the curves of a run."""
