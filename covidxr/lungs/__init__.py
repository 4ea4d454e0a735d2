"""Lung masks: the segmenter and what lung-only models see."""
