"""One module a subcommand: it parses, calls, renders, and maps to an exit code."""
