"""Renderers against whole expected outputs, and against anything a diagnosis can hold."""
