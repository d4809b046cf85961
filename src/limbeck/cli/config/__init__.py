"""From a command line to a study: Hydra composes settings and builds the objects they name."""
