"""Builds an image and tries it: `python -m deploy.images`, or `deploy/check-image`."""
