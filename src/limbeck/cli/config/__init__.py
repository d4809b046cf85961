"""Construction of studies from the command line: Hydra composes the settings."""
