"""The whole of doctor, as a person runs it, on real programs that are sick or healthy."""
