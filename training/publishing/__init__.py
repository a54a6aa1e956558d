"""What stands between a run and a published version: evaluations, gate, golden answers, model card, hub."""
