"""Clients of the models: the Backend protocol, one client for OpenAI-compatible servers, and a registry by name."""
