"""What a finished run says: one page for the browser and one table for the terminal."""
