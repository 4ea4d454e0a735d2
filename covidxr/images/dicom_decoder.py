"""Decoding of compressed DICOM pixels in a separate process.

JPEG, JPEG-LS and JPEG 2000 are decoded by native libraries, and randomly damaged files crashed
GDCM. Such a file, or one that takes too long, ends its decoding process only, which is replaced.
"""

from __future__ import annotations

import io
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from covidxr.errors import ImageError
from covidxr.images.limits import DECODE_SECONDS, DECODE_SECONDS_A_MEGAPIXEL, DECODER_BYTES

_LENGTH = 8
_idle: queue.LifoQueue[_Decoder] = queue.LifoQueue()


class _Decoder:
    """A process that decodes one file after another, until its input is closed."""

    def __init__(self) -> None:
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        # One thread: the threads of numpy's libraries would use up the limited address space.
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "covidxr.images.dicom_decoder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # The libraries print warnings about files.
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._ready = False

    def decode(self, content: bytes, seconds: float) -> bytes:
        """Return the response for one file; empty if the process crashed or ran out of time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if not self._ready and self._process.stdout.read(1) != b"r":
            raise RuntimeError("the decoding process did not start")
        self._ready = True
        alarm = threading.Timer(seconds, self._process.kill)
        alarm.start()
        try:
            _send(self._process.stdin, content)
            return _receive(self._process.stdout)
        except OSError:  # it crashed before it had read the file
            return b""
        finally:
            alarm.cancel()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def decode_pixels(content: bytes, pixels: int, name: str) -> npt.NDArray[Any]:
    """Decode the stored values of a compressed DICOM file with one frame.

    Args:
        content: The file.
        pixels: Rows times columns, which determine the time limit.
        name: Of the file, for the error.

    Returns:
        (H, W), or (H, W, 3) in RGB for color.

    Raises:
        ImageError: If the file crashes its decoder or takes too long.
        ValueError: If the decoder reports an error.
    """
    seconds = DECODE_SECONDS + DECODE_SECONDS_A_MEGAPIXEL * pixels / 1e6
    try:
        decoder = _idle.get_nowait()
    except queue.Empty:
        decoder = _Decoder()
    response = decoder.decode(content, seconds)
    if not response:
        decoder.close()
        # The replacement starts in the background.
        _idle.put(_Decoder())
        raise ImageError(
            f"cannot read {name}: its compressed pixels are damaged (decoding crashed or took more "
            f"than {seconds:.0f} s); export it again without compression, or as a PNG"
        )
    _idle.put(decoder)
    if response[:1] == b"e":
        raise ValueError(response[1:].decode("utf-8", "replace"))
    return np.asarray(np.load(io.BytesIO(response[1:]), allow_pickle=False))


def _send(stream: BinaryIO | Any, content: bytes) -> None:
    stream.write(len(content).to_bytes(_LENGTH, "little"))
    stream.write(content)
    stream.flush()


def _receive(stream: BinaryIO | Any) -> bytes:
    """One message; empty if the other end closed first."""
    length = int.from_bytes(stream.read(_LENGTH), "little")
    content: bytes = stream.read(length)
    return content if len(content) == length else b""


def _decode(content: bytes) -> bytes:
    from pydicom import dcmread
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import JPEGExtended12Bit, JPEGLosslessSV1

    try:
        dataset = dcmread(io.BytesIO(content))
        if dataset.file_meta.TransferSyntaxUID == JPEGExtended12Bit and dataset.BitsStored > 8:
            # pydicom does not use GDCM for 12-bit JPEG, although GDCM supports it: any other JPEG
            # syntax selects the same decoder.
            dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        stored = io.BytesIO()
        np.save(stored, pixel_array(dataset), allow_pickle=False)
        return b"a" + stored.getvalue()
    # pydicom uses several decoders: damaged files raise nearly anything.
    except Exception as error:
        return b"e" + (str(error) or type(error).__name__).encode()


def _serve() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (DECODER_BYTES, DECODER_BYTES))
    except ImportError:  # not on Windows
        pass
    responses = os.fdopen(os.dup(1), "wb")
    # Keeps what a library prints out of the responses.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    responses.write(b"r")
    responses.flush()
    while content := _receive(sys.stdin.buffer):
        _send(responses, _decode(content))


if __name__ == "__main__":
    _serve()
