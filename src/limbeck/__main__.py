"""``python -m limbeck``."""

import sys

from limbeck.cli.main import main

sys.exit(main())
