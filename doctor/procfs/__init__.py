"""The kernel's own account of a process: /proc read and parsed. Nothing here stops or touches the process."""
