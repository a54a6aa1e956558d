"""What training and serving must agree on: metrics, prompt, answer, manifest, fingerprint.

Standard library and pydantic only, so that both halves can import it whole.
"""
