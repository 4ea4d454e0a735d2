from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from covidxr.errors import DatasetError
from covidxr.images import containers
from covidxr.images.containers import FolderFiles, ZipFiles


def packed(
    members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, link: bool = False
) -> io.BytesIO:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, own in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            if link:
                info.external_attr = 0o120777 << 16
            archive.writestr(info, own)
    content.seek(0)
    return content


def test_a_zip_is_listed_and_read() -> None:
    with ZipFiles(packed({"a/b.png": b"hello", "c.png": b"you"})) as opened:
        assert set(opened.list()) == {"a/b.png", "c.png"}
        assert (opened.read("a/b.png"), opened.head("a/b.png", 2), opened.head("none", 2)) == (
            b"hello",
            b"he",
            b"",
        )


@pytest.mark.parametrize(
    "name", ["../a.png", "x/../../a.png", "/etc/a.png", "..\\a.png", "C:\\a.png"]
)
def test_paths_outside_the_zip_are_rejected(name: str) -> None:
    with pytest.raises(
        DatasetError, match=r"scans\.zip is rejected: the path of its member .* is outside the zip"
    ):
        ZipFiles(packed({"fine.png": b"", name: b""}), name="scans.zip")


def test_links_are_rejected() -> None:
    with pytest.raises(DatasetError, match=r"'a\.png' is a link"):
        ZipFiles(packed({"a.png": b"/etc/passwd"}, link=True))


def test_zip_bombs_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "MIN_ZIP_BOMB_BYTES", 1_000_000)
    ZipFiles(packed({"a.png": bytes(999_000)}))
    with pytest.raises(DatasetError, match=r"unpack to 2,000,000, more than 100 times"):
        ZipFiles(packed({"a.png": bytes(1_000_000), "b.png": bytes(1_000_000)}))


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [("MAX_ZIP_FILES", "contains 9 files"), ("MAX_ZIP_DIRECTORY_BYTES", "the directory of .* has")],
)
def test_too_many_members_are_rejected(
    limit: str, sentence: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = packed({f"{i}.png": b"x" for i in range(9)})
    (tmp_path / "x.zip").write_bytes(content.getvalue())
    ZipFiles(tmp_path / "x.zip")
    monkeypatch.setattr(containers, limit, 8)
    for source in (content, tmp_path / "x.zip"):
        with pytest.raises(DatasetError, match=sentence):
            ZipFiles(source)


def test_members_that_inflate_too_much_are_not_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="unsupported compression method"):
        ZipFiles(packed({"a.png": bytes(99)}, zipfile.ZIP_LZMA)).read("a.png")
    monkeypatch.setattr(containers, "MAX_FILE_BYTES", 98)
    (tmp_path / "a.png").write_bytes(bytes(99))
    for opened in (ZipFiles(packed({"a.png": bytes(99)})), FolderFiles(tmp_path)):
        with pytest.raises(DatasetError, match="99 bytes, more than the limit of 98"):
            opened.read("a.png")
