"""Both backends on the same question: pairs of answers, shadow copies, and reports over stored pairs."""
