"""Names of the files in a bundle."""

FORMAT = 1
SUMS, METADATA, LABELS = "SHA256SUMS", "bundle.json", "labels.json"
PREPROCESS, GOLDEN = "preprocess.json", "golden.npz"
TOKENIZER = "tokenizer.json"
PROGRAM, RUNTIME = "run.py", "runtime"
"""Program of a bundle, and folder of its modules."""
CARD = "model_card.md"
"""The model card. It has no checksum, because users edit it."""
SIGNATURE = f"{SUMS}.sig"
"""Signature of the checksums by OpenSSH, which whoever signs a bundle adds."""
KINDS = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
