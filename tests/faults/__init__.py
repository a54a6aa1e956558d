"""Fault injection with real processes: gateways, a store, and an upstream over real HTTP."""
