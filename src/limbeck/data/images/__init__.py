"""Datasets of images, one module each.

A new one also has an entry in ``limbeck/data/__init__.py`` and a file in ``limbeck/conf/data/``.
"""
