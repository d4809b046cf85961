"""Signatures of bundles, with a real ssh-keygen."""

import shutil
import subprocess

import pytest
from support.bundles import write_sums

from limbeck._base.runtime.file_names import LABELS, SIGNATURE, SUMS
from limbeck.cli.main import main

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is missing")

ALICE = "alice@example.com"


def new_key(folder, name):
    key = folder / name
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)]
    subprocess.run(words, check=True)
    return key


def sign(bundle, key, namespace="limbeck"):
    words = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key)]
    subprocess.run([*words, str(bundle / SUMS)], check=True, capture_output=True)
    return bundle / SIGNATURE


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Keys of Alice and Mallory, and a file that trusts Alice."""
    folder = tmp_path_factory.mktemp("keys")
    alice, mallory = new_key(folder, "alice"), new_key(folder, "mallory")
    public = alice.with_suffix(".pub").read_text()
    signers = folder / "allowed_signers"
    signers.write_text(f'{ALICE} namespaces="limbeck" {public}')
    return {"alice": alice, "mallory": mallory, "signers": signers}


def verify(capsys, bundle, keys, *words):
    code = main(["verify", str(bundle), "--allowed-signers", str(keys["signers"]), *words])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


def test_a_signed_bundle_names_its_signer(bundle, keys, capsys):
    sign(bundle, keys["alice"])
    for words in ([], ["--identity", ALICE]):
        code, out, err = verify(capsys, bundle, keys, *words)
        assert (code, err) == (0, "")
        assert out.startswith(f"signed by {ALICE}\n")
        assert "files are unchanged" in out
    assert main(["verify", str(bundle)]) == 0, "without the option, the signature is no damage"


def test_a_signature_next_to_a_zip_file(bundle, keys, capsys, tmp_path):
    signature = sign(bundle, keys["alice"]).rename(tmp_path / "other.sig")
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", bundle.parent, bundle.name)
    code, out, _ = verify(capsys, archive, keys, "--signature", str(signature))
    assert (code, out.splitlines()[0]) == (0, f"signed by {ALICE}")


def test_a_changed_bundle_is_refused(bundle, keys, capsys):
    sign(bundle, keys["alice"])
    (bundle / LABELS).write_text('{"labels": ["dog", "cat", "fox"]}')
    code, _, err = verify(capsys, bundle, keys)
    assert (code, "labels.json is damaged or was changed" in err) == (7, True)
    signature = (bundle / SIGNATURE).read_bytes()
    (bundle / SIGNATURE).unlink()
    write_sums(bundle)  # as somebody who changes it on purpose would
    (bundle / SIGNATURE).write_bytes(signature)
    assert main(["verify", str(bundle)]) == 0, "checksums alone prove nothing"
    capsys.readouterr()
    code, out, err = verify(capsys, bundle, keys)
    assert (code, out) == (7, "")
    assert "the signature is not valid" in err


@pytest.mark.parametrize(
    ("signer", "namespace", "words"),
    [
        ("mallory", "limbeck", []),
        ("mallory", "limbeck", ["--identity", ALICE]),
        ("alice", "git", []),
        ("alice", "limbeck", ["--identity", "bob@example.com"]),
    ],
)
def test_another_key_purpose_or_person_is_refused(bundle, keys, capsys, signer, namespace, words):
    sign(bundle, keys[signer], namespace)
    code, out, err = verify(capsys, bundle, keys, *words)
    assert (code, out) == (7, "")
    assert "the signature is not valid" in err


HEADER = b"-----BEGIN SSH SIGNATURE-----"


@pytest.mark.parametrize("content", [None, b"", b"\0garbage", HEADER, HEADER + b"\nx\n"])
def test_a_missing_or_damaged_signature_is_a_message(bundle, keys, capsys, content):
    if content is not None:
        (bundle / SIGNATURE).write_bytes(content)
    code, out, err = verify(capsys, bundle, keys)
    assert (code, out) == (7, "")
    assert ("not signed" if content is None else "not valid") in err


def test_wrong_options(bundle, keys, capsys, tmp_path, monkeypatch):
    assert main(["verify", str(bundle), "--identity", ALICE]) == 2
    assert main(["verify", str(bundle), "--allowed-signers", str(tmp_path / "none")]) == 2
    assert verify(capsys, bundle, keys, "--signature", str(tmp_path / "none"))[0] == 2
    sign(bundle, keys["alice"])
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = verify(capsys, bundle, keys)
    assert (code, "ssh-keygen is not installed" in err) == (6, True)
