"""Signatures of bundles: OpenSSH signs the list of checksums, which covers every file but the card.

The check is no part of ``run.py``: a program that comes with a bundle cannot vouch for it.
"""

import subprocess
import tempfile
from pathlib import Path

from limbeck._base.runtime.bundle import Bundle
from limbeck._base.runtime.errors import BundleError, MissingLibraryError, RuntimeFailure
from limbeck._base.runtime.file_names import SIGNATURE
from limbeck._base.runtime.files import open_file

NAMESPACE = "limbeck"
"""Purpose of a signature; one that was made for another purpose is refused."""
MAX_BYTES = 1 << 16
SECONDS = 60


def check_signature(
    bundle: Bundle,
    signers: Path,
    *,
    identity: str | None = None,
    signature: Path | None = None,
) -> str:
    """Check who signed the checksums of a bundle.

    Args:
        bundle: Bundle whose checksums are signed.
        signers: File of the signers that are trusted, as of ``ssh-keygen -Y verify``.
        identity: Signer that is expected; None for any in the file.
        signature: File of the signature; None for the one in the bundle.

    Returns:
        A line that names the signer.

    Raises:
        BundleError: If the signature is missing, does not fit, or is not by an expected signer.
        MissingLibraryError: If ssh-keygen is not installed.
        RuntimeFailure: If a file cannot be read.
    """
    if not signers.is_file():
        raise RuntimeFailure(f"--allowed-signers {signers}: the file does not exist.")
    content = bundle.read_signature() if signature is None else _read(signature)
    with tempfile.TemporaryDirectory(prefix="limbeck-") as folder:
        file = Path(folder) / SIGNATURE
        file.write_bytes(content)
        names = [identity] if identity else _signers_of(file, signers)
        for name in names:
            if _is_signed_by(name, file, signers, bundle.sums):
                return f"signed by {name}"
    expected = identity or f"a signer in {signers}"
    raise BundleError(
        f"{bundle.path}: the signature is not valid: either the checksums were changed, or they "
        f"were not signed by {expected} for the purpose '{NAMESPACE}'. Do not use this bundle."
    )


def _read(file: Path) -> bytes:
    try:
        with open_file(file) as stream:
            return stream.read(MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RuntimeFailure(f"--signature {file}: {reason}.") from None


def _signers_of(signature: Path, signers: Path) -> list[str]:
    """Return the names that the file of signers gives to the key of a signature."""
    words = ["find-principals", "-s", str(signature), "-f", str(signers.absolute())]
    process = _ssh_keygen(words)
    return process.stdout.decode("utf-8", "replace").splitlines() if not process.returncode else []


def _is_signed_by(name: str, signature: Path, signers: Path, content: bytes) -> bool:
    words = ["verify", "-n", NAMESPACE, "-I", name, "-s", str(signature)]
    return _ssh_keygen([*words, "-f", str(signers.absolute())], content).returncode == 0


def _ssh_keygen(words: list[str], content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = ["ssh-keygen", "-Y", *words]
    try:
        return subprocess.run(
            command, input=content, capture_output=True, check=False, timeout=SECONDS
        )
    except FileNotFoundError:
        raise MissingLibraryError(
            "ssh-keygen is not installed. Install OpenSSH, or verify without --allowed-signers."
        ) from None
    except subprocess.TimeoutExpired:
        raise BundleError(f"ssh-keygen did not answer within {SECONDS} seconds.") from None
