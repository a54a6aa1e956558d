"""A version into the model store, through a gate."""
