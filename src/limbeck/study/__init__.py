"""Studies: arms, cohorts, teacher, targets, scores and results."""
