"""Which processes a diagnosis is about: finding Python processes, and turning what was typed into a target."""
