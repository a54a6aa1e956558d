"""Grafana's dashboards as code: `python -m deploy.compose.grafana` writes the JSON that Grafana is provisioned with."""
