"""Runtime of bundles: runs an exported model with NumPy, Pillow and ONNX Runtime, without PyTorch.

These files are copied into every bundle, as the folder ``runtime``. They import each other relative
to it, and nothing else of limbeck; they read no pickle, and run no code that comes with a model.
"""
