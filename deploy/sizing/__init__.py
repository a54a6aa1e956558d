"""Sizing: the throughput of Mistral 7B AWQ on GPUs, and the memory that requests take in Valkey."""
