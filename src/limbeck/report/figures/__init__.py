"""The figures of a report, each an inline SVG."""
