"""Sizes of files and of free space, for messages."""


def format_bytes(size: float) -> str:
    """Format a size in bytes, such as ``30.0 MB``."""
    if size < 1000:
        return f"{size:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"
