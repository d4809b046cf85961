"""Several runs on one page: compared over the same test samples, or ranked across data sets."""
