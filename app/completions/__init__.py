"""A model's completion for a prompt: from the cache, shared with another request, or made by a call."""
