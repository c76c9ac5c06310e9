"""The embedded model family: a small base and three experts, trained once on this machine."""
