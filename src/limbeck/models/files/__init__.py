"""Saving, loading and rebuilding models."""
