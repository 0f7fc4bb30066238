"""Puts this folder on the path, so that tests anywhere below it can say `from services import service`."""
