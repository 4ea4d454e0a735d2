"""What PNG, JPEG and TIFF files say beside their pixels, which is left behind when they are read: names, never values."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import ExifTags, Image, TiffTags
from PIL.PngImagePlugin import PngImageFile


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An element of a file that was not kept: its name in the words of the file's standard, and the kind of thing it tells."""

    name: str
    kind: str


_PIXELS = frozenset(
    (
        *range(254, 260),
        262,
        263,
        264,
        265,
        266,
        273,
        274,
        *range(277, 285),
        288,
        289,
        290,
        291,
        292,
        293,
        296,
        297,
    )
)
_PIXELS |= frozenset((301, *range(317, 326), *range(330, 348), *range(512, 533)))
"""TIFF's elements that lay out the pixels and say nothing else."""
_BLOCKS = {
    "xmp": "XMP",
    "XML:com.adobe.xmp": "XMP",
    "photoshop": "Photoshop",
    "icc_profile": "Colour profile",
    "comment": "Comment",
}
_WORDS = (
    "Title",
    "Author",
    "Description",
    "Copyright",
    "Creation Time",
    "Software",
    "Disclaimer",
    "Warning",
    "Source",
    "Comment",
)
"""Names that PNG's standard has for texts. Others are whatever somebody typed, so that they are not repeated."""
_TIMES = ("DateTime", "DateTimeOriginal", "DateTimeDigitized", "PreviewDateTime", "Creation Time")
_PEOPLE = ("Artist", "Author", "Copyright", "CameraOwnerName", "XPAuthor", "HostComputer")


def metadata(picture: Image.Image) -> tuple[LeftOut, ...]:
    """Return what a picture file says beside its pixels: EXIF, GPS, XMP, texts, profiles. Nothing of it is kept."""
    try:
        return tuple(dict.fromkeys(_elements(picture)))
    except (
        Exception
    ):  # its parts are read lazily, and damaged ones raise nearly anything; the pixels may be sound
        return (LeftOut("Metadata that cannot be read", "Unknown"),)


def _elements(picture: Image.Image) -> list[LeftOut]:
    exif = picture.getexif()
    found = [
        _named(TiffTags.TAGS_V2[tag].name if tag in TiffTags.TAGS_V2 else ExifTags.TAGS.get(tag))
        for tag in _said(exif)
    ]
    found += [_named(ExifTags.TAGS.get(tag)) for tag in exif.get_ifd(ExifTags.IFD.Exif)]
    if exif.get_ifd(ExifTags.IFD.GPSInfo):
        found.append(LeftOut("GPS position", "Place"))
    found += [
        LeftOut(title, "Text or profile") for key, title in _BLOCKS.items() if key in picture.info
    ]
    if isinstance(picture, PngImageFile):
        found += [
            _named(key if key in _WORDS else "Text under another name")
            for key in picture.text
            if key not in _BLOCKS
        ]
    return found


def _said(exif: Image.Exif) -> list[int]:
    own = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop)
    blocks = (
        700,
        34377,
        34675,
    )  # XMP, Photoshop and the colour profile, which are told by their names
    return [tag for tag in exif if tag not in _PIXELS and tag not in own and tag not in blocks]


def _named(name: str | None) -> LeftOut:
    if name is None:
        return LeftOut("Elements that the standard does not know", "Unknown")
    if name in _TIMES or "OffsetTime" in name or "SubsecTime" in name:
        return LeftOut(name, "Date or time")
    return LeftOut(name, "Person" if name in _PEOPLE else "Camera, program or text")
