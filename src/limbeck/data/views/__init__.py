"""Views: replayable augmentations."""
