"""The teacher: its answers, computed or stored, and checks before training."""
