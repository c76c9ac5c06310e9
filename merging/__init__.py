"""Weights and recipes: a recipe and its checkpoints become a merged model, in memory or on disk."""
