"""Limits on the resources that reading a file may take."""

from __future__ import annotations

MAX_FILE_BYTES = 200_000_000
"""For one image in a folder, a zip or an upload, and for an inflated DICOM file."""
MAX_PIXELS = 50_000_000
"""A full-size chest radiograph has 10-20 megapixels; more than this is a mistake or an attack."""
MIN_EDGE = 32
"""In pixels."""

MAX_ZIP_FILES = 250_000
"""The largest public collection of chest radiographs has 377,110 images, in several parts."""
MAX_ZIP_DIRECTORY_BYTES = 50_000_000
"""Size of a zip's central directory, which is read before any file: 200 bytes per file."""
MAX_ZIP_EXPANSION = 100
"""Ratio of uncompressed to compressed size: far above radiographs, below deflate's 1,032."""
MIN_ZIP_BOMB_BYTES = 100_000_000
"""Smaller zips pass whatever their ratio: empty images compress a thousandfold."""

DECODE_SECONDS = 1.0
DECODE_SECONDS_A_MEGAPIXEL = 0.5
"""Time limit for decoding a compressed DICOM file: one second, and this much per megapixel."""
DECODER_BYTES = 1_000_000_000
"""Address space of one decoding process, libraries included."""
