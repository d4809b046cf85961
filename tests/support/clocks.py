"""Clocks of tests."""


class Clock:
    """A clock that only models of known speed move on."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now
