"""Money and limits: reservations, their settlement, admission by the store, and reports of what was spent."""
