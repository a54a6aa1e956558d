"""`python -m deploy.loadtest`: many gateways are one, shown on one machine; and how many model servers a load needs."""
