"""The only place that runs a foreign tool."""
