"""Tables: their files, and datasets of their rows."""
