"""Image files: bytes to `Radiograph`."""
