"""A run on disk: folder, manifest and summary."""
