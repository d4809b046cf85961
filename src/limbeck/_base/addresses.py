"""Addresses of files that fsspec reads, as opposed to paths."""


def is_address(source: str) -> bool:
    """Whether a text is an address for fsspec, such as ``s3://bucket/answers.parquet``."""
    return "://" in source or "::" in source
