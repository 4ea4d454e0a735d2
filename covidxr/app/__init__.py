"""What the pages share: their frame, the caches and a few widgets."""
