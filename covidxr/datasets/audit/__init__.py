"""Data quality: what is measured on each image of a dataset, and the issues found."""
