"""The teacher: its signal, live or stored, and the checks before anyone learns from it."""
