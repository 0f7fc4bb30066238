"""Collectors: each looks at the live system for one kind of evidence. Nothing else in doctor does."""
