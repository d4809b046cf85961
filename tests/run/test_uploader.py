"""Uploading in the background."""

from threading import Event

import pytest

from limbeck.run.lease import LeaseLostError
from limbeck.run.uploader import Uploader


class LostLease:
    """A lease that another process has taken over, before this one has tried to renew it."""

    def __init__(self, is_used):
        self.is_used = is_used

    def renew(self):
        """Do nothing, as before the next renewal is due."""

    def check(self):
        self.is_used.set()
        raise LeaseLostError("taken over")


def test_a_process_without_the_lease_uploads_nothing():
    is_used, uploads = Event(), []

    def upload(**options):
        is_used.set()
        uploads.append(options)

    uploader = Uploader("s3://bucket/run", LostLease(is_used), upload)
    with pytest.raises(LeaseLostError, match="taken over"), uploader:
        assert is_used.wait(10.0)
    assert uploads == []
