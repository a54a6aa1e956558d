"""Builds an image and tries it: `python -m deploy.image`, or `deploy/check-image`."""
