"""Samplers of stacks: doctor's own, and py-spy for what that cannot read."""
