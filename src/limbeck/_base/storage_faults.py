"""Faults of storage elsewhere: what is wrong, what to do, and whether another attempt may help."""

import errno
import re

from limbeck._base.errors import ConfigError, LimbeckError, ResourceError

PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "hf": "huggingface_hub",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "sftp": "paramiko",
    "ssh": "paramiko",
    "smb": "smbprotocol",
    "oci": "ocifs",
    "oss": "ossfs",
}
"""Package of each protocol."""
_CREDENTIALS = {
    "s3": " (for example with 'aws configure', or with AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY)",
    "gs": " (for example with 'gcloud auth application-default login')",
    "hf": " (for example with 'hf auth login', or with HF_TOKEN)",
}
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_CODES = re.compile(r"quota|storage ?full|insufficient ?(storage|space)", re.IGNORECASE)
_QUERY = re.compile(r"\?\S+")


def explain(error: Exception, address: str, protocol: str) -> LimbeckError:
    """Return the error that says what is wrong with a storage, and what to do.

    Args:
        error: Error of fsspec, or of the package for the protocol.
        address: Address of the storage.
        protocol: Protocol of the address.
    """
    reason = reason_of(error)
    if isinstance(error, ImportError):
        package = PACKAGES.get(protocol, "")
        advice = f"Install it: pip install {package}." if package else f"{reason}."
        return ResourceError(f"{address}: {protocol}:// needs another package. {advice}")
    if isinstance(error, ValueError) and "rotocol" in reason:
        return ConfigError(
            f"{address}: {protocol}:// is unknown. Use an address such as s3://bucket/run."
        )
    if _is_about_credentials(error):
        how = _CREDENTIALS.get(protocol, "")
        return ResourceError(f"{address}: there are no credentials for it. Set them{how}.")
    if isinstance(error, PermissionError):
        return ResourceError(
            f"{address}: permission denied ({reason}). Check the credentials, and whether they "
            "may read and write there."
        )
    if isinstance(error, FileNotFoundError):
        return ResourceError(f"{address}: there is no such bucket. Create it, or check its name.")
    if _is_full(error):
        return ResourceError(
            f"{address}: the storage is full ({reason}). Free some space there and try again."
        )
    return ResourceError(
        f"{address} cannot be reached ({reason}). Check the address and the connection, and "
        "try again."
    )


def may_pass(error: Exception) -> bool:
    """Whether another attempt may succeed, as after a lost connection."""
    permanent = (
        *(PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError),
        *(ImportError, ValueError, TypeError, NotImplementedError, AttributeError, LookupError),
    )
    is_permanent = isinstance(error, permanent) and not isinstance(error, UnicodeError)
    return not (is_permanent or _is_about_credentials(error) or _is_full(error))


def reason_of(error: Exception) -> str:
    """Return the message of an error on one line, without the query of an address."""
    text = _QUERY.sub("?...", " ".join(str(error).split()))[:200].rstrip(".")
    return text or type(error).__name__


def _code(error: BaseException) -> str:
    """Code of an error of S3; empty for other errors."""
    response = getattr(error.__cause__ or error, "response", None)
    if not isinstance(response, dict):
        return ""
    return str((response.get("Error") or {}).get("Code") or "")


def is_missing_bucket(error: Exception) -> bool:
    """Whether an error says that there is no bucket, and not only no file."""
    return _code(error) == "NoSuchBucket"


def is_local(error: Exception) -> bool:
    """Whether an error is about a file of this machine, such as a full disk."""
    if not isinstance(error, OSError) or not isinstance(error.filename, str):
        return False
    return error.errno in (*_FULL, errno.ENOENT, errno.EMFILE, errno.EFBIG)


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return _FULL_CODES.search(f"{_code(error)} {error}") is not None


def _is_about_credentials(error: Exception) -> bool:
    return "Credentials" in type(error).__name__ and not isinstance(error, PermissionError)
