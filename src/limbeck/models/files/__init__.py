"""Models on disk: saving, loading, rebuilding."""
