"""``limbeck demo``."""

import json
import signal
import subprocess
import time
import urllib.request

import pytest
from support.commands import call, killed_at_the_end, start


def test_the_demo_prints_its_address_and_stops_at_an_interrupt(quick_run, monkeypatch):
    def interrupt(demo):
        demo.server.server_close()
        raise KeyboardInterrupt

    monkeypatch.setattr("limbeck.deploy.demo.Demo.serve", interrupt)
    code, out, _ = call("demo", "run", cwd=quick_run.parent)
    assert code == 0
    assert out.startswith("Open http://127.0.0.1:")


@pytest.mark.slow
def test_the_demo_serves_until_it_is_interrupted(quick_run):
    process = start("demo", "run", cwd=quick_run.parent)
    with killed_at_the_end(process):
        line = process.stdout.readline()
        assert line.startswith("Open http://127.0.0.1:"), process.stderr.read()
        with urllib.request.urlopen(line.split()[1] + "facts", timeout=30) as reply:
            assert json.load(reply)["data"] == "digits"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=30) == 0
        except subprocess.TimeoutExpired:
            pytest.fail("the demo did not stop")
    assert "Traceback" not in process.stderr.read()
