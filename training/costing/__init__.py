"""What training and serving cost: as the case study printed it, as runs recorded it, and where hosting pays."""
