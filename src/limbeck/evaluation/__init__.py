"""Metrics, paired comparisons, and the verdict."""
