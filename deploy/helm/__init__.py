"""The gateway on Kubernetes: its Helm chart, and values for the charts of engines that serve the model."""
