"""Stacks → one string: a module a format of `doctor stacks`, found by folder, so that `--format` needs no list."""
