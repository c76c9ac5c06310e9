"""Merging with mergekit's rounding: every step a torch operation in the arithmetic dtype."""
