"""Store of the teacher's answers: computed once, keyed by their origin, verified when opened."""
