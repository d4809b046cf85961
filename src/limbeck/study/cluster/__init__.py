"""Training of cohorts on the machines of a Ray cluster."""
