"""Every check of deployment, run here: `python -m deploy.checks`, or `deploy/check`."""
