"""Playbooks: runbooks as data, found by the finding they answer and shown as Markdown."""
