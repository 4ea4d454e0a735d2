"""2,000 damaged files: each is read or rejected, quickly, in little memory and without a crash.

libtiff prints warnings to stderr, bypassing Pillow. DICOM decoders run in a silent process.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
DICOM = ("CT_small", "MR_small_RLE", "image_dfl")
DICOM_NATIVE = (
    "MR_small_jpeg_ls_lossless",
    "MR_small_jp2klossless",
    "SC_rgb_jpeg_gdcm",
    "SC_rgb_jpeg_dcmtk",
    "JPGExtended",
)
MUTANTS = {"PNG": 400, "JPEG": 400, "TIFF": 350, "ZIP": 350, "DICOM": 250, "DICOM_NATIVE": 250}


def seeds() -> dict[str, list[bytes]]:
    """Small valid files of every format."""
    from pydicom.data import get_testdata_file

    random = np.random.default_rng(0)
    gray = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8) + random.integers(
        0, 40, (48, 64), dtype=np.uint8
    )
    deep, color = (
        Image.fromarray(gray.astype(np.uint16) * 200),
        Image.fromarray(gray).convert("RGB"),
    )
    made: dict[str, list[bytes]] = {"PNG": [], "JPEG": [], "TIFF": []}
    for kind, images, options in (
        ("PNG", (Image.fromarray(gray), deep, color.quantize(16)), ({},)),
        ("JPEG", (Image.fromarray(gray), color), ({}, {"progressive": True})),
        (
            "TIFF",
            (Image.fromarray(gray), deep),
            ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}),
        ),
    ):
        for image in images:
            for option in options:
                content = io.BytesIO()
                image.save(content, kind, **option)
                made[kind].append(content.getvalue())
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, member in (
            ("a.png", made["PNG"][0]),
            ("deep/b.jpg", made["JPEG"][0]),
            ("c.txt", b"hello " * 40),
        ):
            opened.writestr(name, member)
    made["ZIP"] = [archive.getvalue()]
    for kind, names in (("DICOM", DICOM), ("DICOM_NATIVE", DICOM_NATIVE)):
        made[kind] = [
            Path(str(get_testdata_file(f"{name}.dcm", download=False))).read_bytes()
            for name in names
        ]
    return made


def mutate(content: bytes, random: np.random.Generator) -> bytes:
    """Change some bytes, half of the time in the header; sometimes truncate, repeat or insert."""
    changed = bytearray(content)
    first = 128 if content[128:132] == b"DICM" else 0
    end = min(len(changed), first + 600) if random.random() < 0.5 else len(changed)
    for place in random.integers(first, end, random.integers(1, 12)):
        changed[place] = random.choice([0, 1, 127, 128, 255, int(random.integers(0, 256))])
    how, here = random.random(), int(random.integers(first, len(changed)))
    if how < 0.15:
        return bytes(changed[:here])
    if how < 0.25:
        return bytes(changed[:here] + changed[first:here][-50:] + changed[here:])
    if how < 0.3:
        return bytes(changed[:here] + random.bytes(20) + changed[here:])
    return bytes(changed)


def read(content: bytes) -> None:
    """Read a file as a worklist would, but without a model."""
    from contextlib import ExitStack

    from covidxr.errors import CovidxrError
    from covidxr.images.reading import read_radiograph
    from covidxr.prediction.worklist import list_images

    with ExitStack() as stack:
        for image in list_images([("upload", content)], stack):
            try:
                found = read_radiograph(image.read(), image.name)
            except CovidxrError:
                continue
            assert found.image.dtype == np.uint8
            assert found.image.ndim == 2


def fuzz() -> dict[str, object]:
    """Read every mutant in this process; any error but a CovidxrError ends it."""
    import resource

    from covidxr.errors import CovidxrError

    made, random = seeds(), np.random.default_rng(7)
    # Load the libraries before anything is timed.
    for valid in made.values():
        for content in valid:
            read(content)
    slowest, read_n, rejected = dict.fromkeys(MUTANTS, 0.0), 0, 0
    for kind, n in MUTANTS.items():
        for i in range(n):
            content = mutate(made[kind][i % len(made[kind])], random)
            # CPU time does not depend on load, but excludes the decoding process.
            clock = time.monotonic if kind == "DICOM_NATIVE" else time.thread_time
            started = clock()
            try:
                read(content)
                read_n += 1
            except CovidxrError:
                rejected += 1
            slowest[kind] = max(slowest[kind], clock() - started)
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    # Not ru_maxrss, which a process inherits from its parent.
    own = int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))[0])
    return {"n": read_n + rejected, "slowest": slowest, "kilobytes": max(own, children)}


@pytest.mark.slow
def test_damaged_files_are_read_or_rejected() -> None:
    # pydicom and Pillow warn about everything that they tolerate.
    command = [sys.executable, "-W", "ignore", __file__]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    # Lines of libtiff: the name of its function or file, a colon, a sentence.
    assert all(re.match(r"[\w.]+: \S", line) for line in done.stderr.splitlines()), done.stderr[
        -2000:
    ]
    result = json.loads(done.stdout)
    assert result["n"] == 2000
    native = result["slowest"].pop("DICOM_NATIVE")
    assert max(result["slowest"].values()) < 2, result
    # A second for the file, plus the start of a new process after a crash on a busy machine.
    assert native < 20, result
    assert result["kilobytes"] < 1_000_000


if __name__ == "__main__":
    print(json.dumps(fuzz()))
