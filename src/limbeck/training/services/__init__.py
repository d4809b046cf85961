"""Loggers of a whole study, one module for each service that shows it."""
