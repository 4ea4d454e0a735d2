"""Metadata of PNG, JPEG and TIFF files that is not read: names of the elements, never values."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import ExifTags, Image, TiffTags
from PIL.PngImagePlugin import PngImageFile


@dataclass(frozen=True, slots=True)
class UnreadElement:
    """An element of a file that was not read."""

    name: str
    """By the standard of the file format."""
    kind: str
    """Category of its content, for display."""


_PIXELS = {
    *(*range(254, 260), 262, 263, 264, 265, 266, 273, 274, *range(277, 285), *range(288, 294)),
    *(296, 297, 301, *range(317, 326), *range(330, 348), *range(512, 533)),
}
"""TIFF tags that describe the layout of the pixels only."""
_BLOCKS = {
    "xmp": "XMP",
    "XML:com.adobe.xmp": "XMP",
    "photoshop": "Photoshop",
    "icc_profile": "Color profile",
    "comment": "Comment",
}
_WORDS = (
    *("Title", "Author", "Description", "Copyright", "Creation Time", "Software", "Disclaimer"),
    *("Warning", "Source", "Comment"),
)
"""Keywords for text in the PNG standard. Others are free text and therefore not shown."""
_TIMES = ("DateTime", "DateTimeOriginal", "DateTimeDigitized", "PreviewDateTime", "Creation Time")
_PEOPLE = ("Artist", "Author", "Copyright", "CameraOwnerName", "XPAuthor", "HostComputer")


def metadata(image: Image.Image) -> tuple[UnreadElement, ...]:
    """Return the elements beyond the pixels: EXIF, GPS, XMP, text, profiles. No value is kept."""
    try:
        return tuple(dict.fromkeys(_elements(image)))
    # Pillow reads metadata lazily, and damaged parts raise nearly anything. The pixels may be fine.
    except Exception:
        return (UnreadElement("Unreadable metadata", "Unknown"),)


def _elements(image: Image.Image) -> list[UnreadElement]:
    exif = image.getexif()
    found = [
        _named(TiffTags.TAGS_V2[tag].name if tag in TiffTags.TAGS_V2 else ExifTags.TAGS.get(tag))
        for tag in _top_level_tags(exif)
    ]
    found += [_named(ExifTags.TAGS.get(tag)) for tag in exif.get_ifd(ExifTags.IFD.Exif)]
    if exif.get_ifd(ExifTags.IFD.GPSInfo):
        found.append(UnreadElement("GPS position", "Place"))
    found += [
        UnreadElement(title, "Text or profile")
        for key, title in _BLOCKS.items()
        if key in image.info
    ]
    if isinstance(image, PngImageFile):
        found += [
            _named(key if key in _WORDS else "Other text")
            for key in image.text
            if key not in _BLOCKS
        ]
    return found


def _top_level_tags(exif: Image.Exif) -> list[int]:
    directories = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop)
    # XMP, Photoshop and color profile: listed by `_BLOCKS`.
    blocks = (700, 34377, 34675)
    return [tag for tag in exif if tag not in _PIXELS and tag not in directories + blocks]


def _named(name: str | None) -> UnreadElement:
    if name is None:
        return UnreadElement("Unknown elements", "Unknown")
    if name in _TIMES or "OffsetTime" in name or "SubsecTime" in name:
        return UnreadElement(name, "Date or time")
    return UnreadElement(name, "Person" if name in _PEOPLE else "Camera, software or text")
