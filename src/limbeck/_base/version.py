"""Version of limbeck."""

__version__ = "0.2.0"
