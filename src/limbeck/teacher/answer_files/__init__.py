"""Files of a teacher's answers: one row per sample, in the forms that people have."""
