"""The settings of a study as a service may show them: flat, and without secrets."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from limbeck.training.services.base import Scalar

HIDDEN = "(hidden)"
OWN = ("logger", "out", "overwrite")
"""Settings about the run folder and the services themselves."""
MAX_CHARACTERS = 250
_SECRET = re.compile(
    r"token(?!iz)|secret|passw|(api|access|private)_?key|credential|signature|(^|[._])auth(?!or)",
    re.IGNORECASE,
)
_USER_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_QUERY = re.compile(r"(://[^\s?]*)\?\S*")


def loggable_settings(settings: Mapping[str, Any]) -> dict[str, Scalar]:
    """Flatten settings to single values by path, and hide secrets.

    Hidden are settings whose names speak of a secret, and the users and the queries of addresses.

    Args:
        settings: Settings of a study.
    """
    groups = {key: value for key, value in settings.items() if key not in OWN}
    return dict(_flat("", groups))


def _flat(path: str, value: Any) -> Iterator[tuple[str, Scalar]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{path}.{key}" if path else str(key), inner)
    elif value is not None:
        yield path, HIDDEN if _SECRET.search(path) else _plain(value)


def _plain(value: Any) -> Scalar:
    if isinstance(value, (bool, int, float)):
        return value
    text = _QUERY.sub(r"\1", _USER_IN_ADDRESS.sub(HIDDEN, str(value)))
    return text[:MAX_CHARACTERS]
