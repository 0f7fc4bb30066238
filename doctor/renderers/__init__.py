"""Diagnosis → one string: a module a format, found by folder, so that `--format` needs no list."""
