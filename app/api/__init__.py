"""HTTP: endpoints, the forms they take and give, and what is refused before them."""
