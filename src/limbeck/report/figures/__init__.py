"""The figures of a report, each an inline SVG."""

from limbeck._base.matplotlib_import import import_matplotlib

import_matplotlib()
