"""Metrics, and the paired comparison that gives the verdict."""
