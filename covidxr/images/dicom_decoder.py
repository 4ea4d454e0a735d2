"""Compressed DICOM pixels, decoded in a process of its own.

The libraries that know JPEG, JPEG-LS and JPEG 2000 are native code: files changed at random made GDCM crash the whole process.
Here such a file costs one decoding process, which is replaced; so does one that takes too long.
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
    """A process that decodes one file after another; it ends with its input."""

    def __init__(self) -> None:
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        # One thread: those of numpy's libraries would take address space, of which there is little.
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "covidxr.images.dicom_decoder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the libraries write what they think of a file
            env=environment,
        )
        self._ready = False

    def decode(self, content: bytes, seconds: float) -> bytes:
        """Return the answer to one file; none when the process died over it or was killed after so many seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if not self._ready and self._process.stdout.read(1) != b"r":
            raise RuntimeError("the process that decodes it did not start")
        self._ready = True
        alarm = threading.Timer(seconds, self._process.kill)
        alarm.start()
        try:
            _send(self._process.stdin, content)
            return _receive(self._process.stdout)
        except OSError:  # it died before it had read the file
            return b""
        finally:
            alarm.cancel()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def decode_pixels(content: bytes, pixels: int, name: str) -> npt.NDArray[Any]:
    """Return the stored values of a DICOM file of one frame, (H, W) or (H, W, 3); colour comes as RGB.

    pixels: its rows times its columns, by which the time it may take is measured.
    Raises ImageError, naming `name`, where the file is damaged, crashes its decoder or takes too long.
    """
    seconds = DECODE_SECONDS + DECODE_SECONDS_A_MEGAPIXEL * pixels / 1e6
    try:
        decoder = _idle.get_nowait()
    except queue.Empty:
        decoder = _Decoder()
    answer = decoder.decode(content, seconds)
    if not answer:
        decoder.close()
        _idle.put(_Decoder())  # it gets ready while others work
        raise ImageError(
            f"cannot read {name}: its compressed pixels are damaged (decoding them broke off, or took over {seconds:.0f} s); "
            "export it again without compression, or as a PNG"
        )
    _idle.put(decoder)
    if answer[:1] == b"e":
        raise ValueError(answer[1:].decode("utf-8", "replace"))
    return np.asarray(np.load(io.BytesIO(answer[1:]), allow_pickle=False))


def _send(stream: BinaryIO | Any, content: bytes) -> None:
    stream.write(len(content).to_bytes(_LENGTH, "little"))
    stream.write(content)
    stream.flush()


def _receive(stream: BinaryIO | Any) -> bytes:
    """Return what was sent; nothing where the other end closed first."""
    length = int.from_bytes(stream.read(_LENGTH), "little")
    content: bytes = stream.read(length)
    return content if len(content) == length else b""


def _answer(content: bytes) -> bytes:
    from pydicom import dcmread
    from pydicom.pixels.utils import pixel_array
    from pydicom.uid import JPEGExtended12Bit, JPEGLosslessSV1

    try:
        dataset = dcmread(io.BytesIO(content))
        if dataset.file_meta.TransferSyntaxUID == JPEGExtended12Bit and dataset.BitsStored > 8:
            # pydicom does not ask GDCM for JPEG of 12 bits, though GDCM knows it: any JPEG syntax leads to the same decoder.
            dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        stored = io.BytesIO()
        np.save(stored, pixel_array(dataset), allow_pickle=False)
        return b"a" + stored.getvalue()
    # Its decoders are several libraries: a damaged file may raise nearly anything.
    except Exception as error:
        return b"e" + (str(error) or type(error).__name__).encode()


def _serve() -> None:

    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (DECODER_BYTES, DECODER_BYTES))
    except ImportError:  # Windows has none
        pass
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no answer
    answers.write(b"r")
    answers.flush()
    while content := _receive(sys.stdin.buffer):
        _send(answers, _answer(content))


if __name__ == "__main__":
    _serve()
