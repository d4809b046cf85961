"""Reports of finished runs: a page for the browser and a table for the terminal."""
