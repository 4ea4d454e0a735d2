"""Metrics with confidence intervals, in pure numpy."""
