"""``limbeck verify``, ``predict`` and ``bench``: the runtime of bundles under limbeck's name."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limbeck._base.runtime.bundle import Bundle

HELP = {
    "verify": "check the files of a bundle and its outputs on this device",
    "predict": "classify images, texts or the rows of tables with a bundle",
    "bench": "measure how fast the models of a bundle are on this device",
}


def add_parsers(verbs: Any) -> None:
    """List the verbs in the help. The runtime parses their arguments itself."""
    for verb, text in HELP.items():
        verbs.add_parser(verb, help=text, add_help=False)


def run(words: Sequence[str]) -> int:
    """Run a verb of the bundle runtime, which needs neither PyTorch nor the rest of limbeck."""
    from limbeck._base.runtime.command_line import main

    return main(words, program="limbeck", check_signature=_signature_check)


def _signature_check(arguments: argparse.Namespace) -> "Callable[[Bundle], str] | None":
    """Return the check of the signature that ``limbeck verify`` is asked for, if any."""
    from limbeck._base.bundle_signature import check_signature
    from limbeck._base.runtime.errors import RuntimeFailure

    signers, identity = arguments.allowed_signers, arguments.identity
    if signers is None:
        if identity is not None or arguments.signature is not None:
            raise RuntimeFailure("--identity and --signature need --allowed-signers FILE.")
        return None
    return partial(
        check_signature, signers=signers, identity=identity, signature=arguments.signature
    )
