"""Statistics of pairs of answers, with confidence intervals: pure functions of records."""
