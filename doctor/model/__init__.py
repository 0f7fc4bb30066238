"""The values that flow through doctor: typed, frozen, without I/O."""
