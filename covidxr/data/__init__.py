"""Radiographs on disk: reading, grouping, splitting and caching them. Knows no torch."""
