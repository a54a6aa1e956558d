"""A teacher's answers to the prompts of a data set, and what they cost."""
