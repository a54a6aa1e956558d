"""All settings. Only this package reads the environment; one module per program: gateway, supervisor, client."""
