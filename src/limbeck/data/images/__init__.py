"""Datasets of images, one module each.

A new one also has an entry in ``limbeck/data/__init__.py``, a file in ``limbeck/conf/data/``, and
its name in the table of ``limbeck/cli/config/trust.py``.
"""
