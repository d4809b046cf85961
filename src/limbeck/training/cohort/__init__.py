"""Students of one architecture, trained at once."""
