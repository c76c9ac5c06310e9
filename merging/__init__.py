"""Weights and recipes: a recipe and its checkpoints become a merged model.

In memory or on disk.
"""
