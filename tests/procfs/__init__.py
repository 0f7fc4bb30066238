"""The readers of /proc, against the real one."""
