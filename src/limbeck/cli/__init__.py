"""Command line: one module for each verb; ``bundle.py`` holds ``predict`` and ``verify``."""
