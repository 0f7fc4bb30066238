"""Where captures are kept."""
