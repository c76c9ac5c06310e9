"""Merge methods: one explicit table, each method a pure function of tensors and numbers."""
