"""A training run as a folder on disk: its events, its state, its lock."""
