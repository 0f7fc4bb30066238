"""The formats of `doctor stacks`."""
