"""Images of your own: one folder a class, or a CSV file beside a folder of images."""

from limbeck.data.decoding import read_images

__all__ = ["read_images"]
