"""A study from top to bottom: arms, cohorts, teacher, targets, scores, results."""
