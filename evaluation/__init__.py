"""Tasks, items and scores: a live model and a set of questions become numbers."""
