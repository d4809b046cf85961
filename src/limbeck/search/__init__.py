"""Search for the best student of a device under a budget."""
