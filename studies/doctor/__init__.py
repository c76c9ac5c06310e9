"""`check`: faults, warnings and costs of a study before its search, in parts of their own."""
