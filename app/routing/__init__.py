"""Which backend answers: headers, experiments, fallback and cascade."""
