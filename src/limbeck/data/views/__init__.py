"""Views: augmentations that can be replayed."""
