"""Everything that the environment decides, read here and in no other package."""
