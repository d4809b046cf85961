"""Students as programs of ExecuTorch, for phones and embedded devices."""
