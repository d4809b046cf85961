"""``limbeck verify`` and ``limbeck predict``: the runtime of bundles under limbeck's name."""

from collections.abc import Sequence
from typing import Any

HELP = {
    "verify": "check the files of a bundle and its outputs on this device",
    "predict": "classify images with a bundle",
}


def add_parsers(verbs: Any) -> None:
    """List the two verbs in the help. The runtime parses their arguments itself."""
    for verb, text in HELP.items():
        verbs.add_parser(verb, help=text, add_help=False)


def run(words: Sequence[str]) -> int:
    """Run a verb of the bundle runtime, which needs neither PyTorch nor the rest of limbeck."""
    from limbeck._base import bundle_runtime

    return bundle_runtime.main(words, program="limbeck", inside=False)
