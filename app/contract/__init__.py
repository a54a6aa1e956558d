"""What training and serving share: metrics, prompt, answer, manifest, fingerprint.

It imports only the standard library and pydantic, so that both can import all of it.
"""
