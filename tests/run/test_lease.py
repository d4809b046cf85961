import json
import os

import pytest
from support.object_storage import faulty_storage

from limbeck._base.errors import ConfigError, LimbeckWarning
from limbeck._base.storage import Storage
from limbeck.run import lease as module
from limbeck.run.lease import LEASE, Lease, LeaseLostError
from limbeck.run.lock import Holder

faulty = pytest.fixture(faulty_storage)
DEAD = 2**22 + 1
"""A number that no process has."""


@pytest.fixture
def storage(faulty, monkeypatch):
    monkeypatch.setattr(module, "EXPIRY_SECONDS", 0.3)
    return Storage("faulty://bucket/run")


def write(storage, **changes):
    renewals = changes.pop("renewals", 1)
    holder = {**vars(Holder.current()), **changes}
    content = {"owner": "other", "renewals": renewals, "holder": holder}
    storage.write(LEASE, json.dumps(content).encode())


def test_a_second_process_of_this_machine_is_refused_at_once(storage):
    write(storage, pid=os.getppid())
    with pytest.raises(ConfigError, match=r"faulty://bucket/run is in use by .*process \d+ on"):
        Lease(storage).acquire()


def test_a_released_lease_is_free(storage):
    first = Lease(storage)
    first.acquire()
    first.release()
    assert storage.read(LEASE) is None
    Lease(storage).acquire()


def test_the_lease_of_an_ended_process_of_this_machine_is_replaced_at_once(storage):
    write(storage, pid=DEAD)
    Lease(storage).acquire()
    Lease(storage).acquire()  # and that of an earlier run of this process


def test_a_lease_of_another_machine_expires_if_it_no_longer_changes(storage):
    write(storage, host="elsewhere", system="other/1")
    lease = Lease(storage)
    with pytest.warns(LimbeckWarning, match="last in use by .* on elsewhere"):
        lease.acquire()
    lease.check()


def test_a_lease_of_another_machine_that_is_renewed_is_respected(storage, monkeypatch):
    write(storage, host="elsewhere", system="other/1")
    monkeypatch.setattr(
        module.time,
        "sleep",
        lambda seconds: write(storage, host="elsewhere", system="other/1", renewals=2),
    )
    with (
        pytest.warns(LimbeckWarning),
        pytest.raises(ConfigError, match=r"in use by .* on elsewhere"),
    ):
        Lease(storage).acquire()


def test_an_owner_that_was_cut_off_notices_its_successor(storage):
    first = Lease(storage)
    first.acquire()
    first.renew()
    write(storage, host="elsewhere", system="other/1")
    with pytest.raises(LeaseLostError, match=r"taken over by .* on elsewhere"):
        first.renew()
    first.release()
    assert b"elsewhere" in storage.read(LEASE)


def test_a_lease_that_names_nobody_expires(storage):
    storage.write(LEASE, b"{")
    with pytest.warns(LimbeckWarning, match="another process"):
        Lease(storage).acquire()
