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


def test_a_usual_zip_is_listed_and_read() -> None:
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
def test_names_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(DatasetError, match=r"scans\.zip is refused: its member .* leads out of it"):
        ZipFiles(packed({"fine.png": b"", name: b""}), name="scans.zip")


def test_links_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"'a\.png' is a link"):
        ZipFiles(packed({"a.png": b"/etc/passwd"}, link=True))


def test_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "MIN_ZIP_BOMB_BYTES", 1_000_000)
    ZipFiles(packed({"a.png": bytes(999_000)}))
    with pytest.raises(DatasetError, match=r"unpack to 2,000,000, more than 100 times"):
        ZipFiles(packed({"a.png": bytes(1_000_000), "b.png": bytes(1_000_000)}))


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [("MAX_ZIP_FILES", "holds 9 files"), ("MAX_ZIP_DIRECTORY_BYTES", "lists its files in")],
)
def test_too_many_members_are_refused(
    limit: str, sentence: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = packed({f"{i}.png": b"x" for i in range(9)})
    (tmp_path / "x.zip").write_bytes(content.getvalue())
    ZipFiles(tmp_path / "x.zip")
    monkeypatch.setattr(containers, limit, 8)
    for source in (content, tmp_path / "x.zip"):
        with pytest.raises(DatasetError, match=sentence):
            ZipFiles(source)


def test_what_inflates_without_an_end_is_not_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="packed in a way that is not opened"):
        ZipFiles(packed({"a.png": bytes(99)}, zipfile.ZIP_LZMA)).read("a.png")
    monkeypatch.setattr(containers, "MAX_FILE_BYTES", 98)
    (tmp_path / "a.png").write_bytes(bytes(99))
    for opened in (ZipFiles(packed({"a.png": bytes(99)})), FolderFiles(tmp_path)):
        with pytest.raises(DatasetError, match="99 bytes, more than the limit of 98"):
            opened.read("a.png")
