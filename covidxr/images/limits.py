"""How much a file may ask of the machine: the one place for these numbers."""

from __future__ import annotations

MAX_FILE_BYTES = 200_000_000
"""Of one picture, in a folder, a zip or an upload, and of what a deflated DICOM file inflates to."""
MAX_PIXELS = 50_000_000
"""A full-size chest radiograph has 10-20 million pixels; more than this is a mistake or an attack."""
MIN_EDGE = 32

MAX_ZIP_FILES = 250_000
"""The largest public collection of chest radiographs has 377,110; it comes in parts."""
MAX_ZIP_DIRECTORY_BYTES = 50_000_000
"""Of the list at the end of a zip, which is read whole before a single file is: 200 bytes a file."""
MAX_ZIP_EXPANSION = 100
"""Bytes that a zip unpacks to over its own bytes. Far above what radiographs reach, below what deflate can, 1,032."""
MIN_ZIP_BOMB_BYTES = 100_000_000
"""What unpacks to less is no bomb, whatever its expansion: empty pictures pack a thousandfold."""

DECODE_SECONDS = 1.0
DECODE_SECONDS_A_MEGAPIXEL = 0.5
"""What a compressed DICOM file may take for each million pixels, besides the second."""
DECODER_BYTES = 1_000_000_000
"""Memory of one decoding process, its libraries included."""
