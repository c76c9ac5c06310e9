"""The search: which recipe to try next, what it scored, and which one won."""
