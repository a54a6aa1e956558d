"""What pairs of answers tell, and how surely: pure functions of their records."""
