"""Datasets: files, labels, splits and audits."""
