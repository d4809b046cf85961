"""Shared helpers: errors, checks, atomic writes, caches, progress, and the bundle runtime."""
