"""Sources of unlabelled inputs for a transfer set."""
