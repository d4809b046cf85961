"""From a command line to a study: Hydra composes the settings, and the objects that they name are
built.
"""
