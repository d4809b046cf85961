"""Runs, data and stores on a local S3 server, used by machines that share nothing else."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from support.commands import QUICK, SOURCE, call, killed_at_the_end
from support.object_storage import BUCKET, CREDENTIALS, machine, s3_server

from limbeck.run import remote

s3fs = pytest.importorskip("s3fs")
pytest.importorskip("moto.server")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server():
    with s3_server() as address:
        yield address


@pytest.fixture
def storage(server):
    s3fs.S3FileSystem.clear_instance_cache()
    return s3fs.S3FileSystem(
        key=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        secret=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=server,
        use_listings_cache=False,
    )


@pytest.fixture
def become(server, tmp_path, monkeypatch):
    """Function that turns this process into one of another machine, with empty caches."""

    def change(name):
        monkeypatch.setattr(remote, "_runs", {})
        for variable, value in machine(server, tmp_path / name).items():
            monkeypatch.setenv(variable, value)

    return change


EAGER = """
import sys
from limbeck.__main__ import main
from limbeck.run import uploader

uploader.UPLOAD_SECONDS = 0.1
sys.exit(main())
"""
"""A command that uploads a checkpoint before the short training of a test ends."""


def start_eagerly(*arguments, **environment):
    own = {"PYTHONPATH": SOURCE, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-c", EAGER, *arguments],
        env={**os.environ, **own},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for_checkpoint(storage, process, name):
    end = time.monotonic() + 200
    while time.monotonic() < end and process.poll() is None:
        if storage.glob(f"{BUCKET}/{name}/checkpoints/cohort0/*.ckpt"):
            return
        time.sleep(0.1)
    raise AssertionError(process.communicate(timeout=10))


def test_a_run_killed_on_one_machine_is_resumed_on_another(server, storage, become, tmp_path):
    run = f"s3://{BUCKET}/killed"
    first = machine(server, tmp_path / "first")
    process = start_eagerly("run", *QUICK, "epochs=100", f"out={run}", **first)
    with killed_at_the_end(process):
        wait_for_checkpoint(storage, process, "killed")
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    assert storage.exists(f"{BUCKET}/killed/.lease.json")
    shutil.rmtree(tmp_path / "first")  # the machine is gone

    become("second")
    code, out, err = call("resume", run, cwd=tmp_path)
    assert code == 0, err
    assert f"report: {run}/report.html" in out
    assert str(tmp_path / "second") not in out + err
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in out + err
    manifest = json.loads(storage.cat(f"{BUCKET}/killed/manifest.json"))
    assert (manifest["state"], manifest["resumed"]) == ("finished", 1)
    assert not storage.find(f"{BUCKET}/killed/checkpoints")
    assert not storage.exists(f"{BUCKET}/killed/.lease.json")

    become("third")
    storage.rm(f"{BUCKET}/killed/report.html")
    code, _, err = call("report", run, cwd=tmp_path)
    assert code == 0, err
    assert storage.exists(f"{BUCKET}/killed/report.html")
    code, _, err = call("export", run, "zipped=false", cwd=tmp_path)
    assert code == 0, err
    assert storage.find(f"{BUCKET}/killed/bundle")
    code, out, err = call("runs", f"s3://{BUCKET}", cwd=tmp_path)
    assert code == 0, err
    assert run in out
    assert "finished" in out


def test_data_teacher_and_answers_come_from_a_bucket(storage, become, tmp_path):
    become("first")
    settings = ["logger=csv", "quick=true", "teacher=mlp", "teacher.model.hidden=[16]"]
    rows = ["a,b,label", *(f"{n % 7},{n % 5},{'xy'[n % 2]}" for n in range(120))]
    storage.pipe(f"{BUCKET}/tables/rows.csv", "\n".join(rows).encode())
    table = ["data=table", f"data.path=s3://{BUCKET}/tables/rows.csv", "recipe=table"]
    stores = f"store.folder=s3://{BUCKET}/answers"
    code, _, err = call("run", *table, *settings, stores, "out=one", cwd=tmp_path)
    assert code == 0, err
    storage.put(str(tmp_path / "one"), f"{BUCKET}/one", recursive=True)
    headers = storage.glob(f"{BUCKET}/answers/*/store.json")
    assert headers

    become("second")
    teacher = f"teacher.from=s3://{BUCKET}/one"
    storage.rm(f"{BUCKET}/one/teacher", recursive=True)
    code, _, err = call("run", *table, *settings, teacher, stores, "out=two", cwd=tmp_path)
    assert code != 0
    assert "s3://limbeck/one" in err

    storage.put(str(tmp_path / "one" / "teacher"), f"{BUCKET}/one/teacher", recursive=True)
    code, _, err = call("run", *table, *settings, teacher, stores, "out=two", cwd=tmp_path)
    assert code == 0, err
    assert storage.glob(f"{BUCKET}/answers/*/store.json") == headers  # not computed again


@pytest.mark.parametrize(
    ("address", "code", "message"),
    [
        ("s3://no-such-bucket-here/run", 6, "there is no such bucket"),
        ("nowhere://bucket/run", 2, "nowhere:// is unknown"),
        ("s3://key:secret@bucket/run", 2, "holds a password or key"),
    ],
)
def test_what_is_wrong_with_an_address_is_one_message(become, address, code, message, tmp_path):
    become("first")
    result, out, err = call("run", "quick=true", f"out={address}", cwd=tmp_path)
    assert result == code
    assert message in err
    assert "secret" not in out + err
    assert "Traceback" not in err


def test_missing_credentials_are_named(storage, become, tmp_path, monkeypatch):
    become("first")
    for variable in CREDENTIALS:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path))
    s3fs.S3FileSystem.clear_instance_cache()
    code, _, err = call("report", f"s3://{BUCKET}/none", cwd=tmp_path)
    s3fs.S3FileSystem.clear_instance_cache()
    assert code == 6
    assert "there are no credentials for it" in err
