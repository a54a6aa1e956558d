"""The models that answer: one Protocol, one OpenAI-style client for both, a registry by name."""
