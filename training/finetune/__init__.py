"""LoRA on the labelled answers, with the base prepared before and the adapter merged after."""
