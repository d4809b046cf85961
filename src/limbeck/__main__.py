"""``python -m limbeck``, and the command ``limbeck``."""

import sys

from limbeck._base import signals
from limbeck._base.streams import prepare_standard_streams


def main() -> int:
    """Run the command line; an interrupt is no traceback, even while modules are imported."""
    prepare_standard_streams()
    try:
        signals.install_handlers()
        from limbeck.cli.main import main as run_verb

        return signals.end_process(run_verb())
    except KeyboardInterrupt:
        print(f"error: {signals.interrupt_message()}", file=sys.stderr)
        return signals.end_process(signals.exit_code())


if __name__ == "__main__":
    sys.exit(main())
