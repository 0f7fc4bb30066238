"""doctor: one verdict, with its evidence, on a running Python service."""

__version__ = "0.1.0"
