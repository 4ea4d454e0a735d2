"""Evaluation of models on the splits of a dataset."""
