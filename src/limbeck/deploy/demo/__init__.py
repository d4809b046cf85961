"""Demo: a local page on which teacher, control and student answer one input side by side."""

from limbeck.deploy.demo.page import Demo

__all__ = ["Demo"]
