"""Waiting within a task of a cluster."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any


def fetch(reference: Any) -> Any:
    """Return the object of a reference, or a list of objects, within a task.

    Ray lends the core of a task to another one while its main thread waits, and does not take it
    back: there would be more tasks than cores. So another thread waits.
    """
    import ray

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(ray.get, reference).result()
