"""A model's completion for a prompt: from the cache, from a shared call, or from a new call."""
