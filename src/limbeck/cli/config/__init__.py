"""Building of a study from a command line: Hydra composes settings and creates objects."""
