"""`python -m deploy.loadtest`: prove that several gateways act as one; simulate how many servers a load needs."""
