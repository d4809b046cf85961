"""``python -m limbeck``, and the command ``limbeck``."""

import sys


def main() -> int:
    """Run the command line; an interrupt is no traceback, even while modules are imported."""
    try:
        from limbeck.cli.main import main as run_verb

        return run_verb()
    except KeyboardInterrupt:
        print("error: interrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
