"""A task of a cluster that waits again and again, in a module that a worker imports fast."""

import time

from limbeck.study.cluster.fetch import fetch


class Slow:
    """An actor that takes its time."""

    def answer(self):
        time.sleep(0.1)
        return "answer"


def ask(actor, count):
    """Ask an actor in a task; returns the answers, and the times before and after."""
    start = time.time()
    answers = [fetch(actor.answer.remote()) for _ in range(count)]
    return set(answers), start, time.time()
