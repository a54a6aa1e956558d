"""HTTP: endpoints, their schemas, middleware and the OpenAPI document."""
