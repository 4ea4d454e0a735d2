"""Lung masks: the segmenter and the inputs of lung-only models."""
