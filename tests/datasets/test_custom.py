from __future__ import annotations

import csv
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covidxr.datasets.custom import (
    ImportPlan,
    copy_import,
    find_labels,
    import_file,
    list_imports,
    open_import,
    read_import,
    suggest_labels,
    write_import,
)
from covidxr.datasets.opening import find_dataset, open_dataset
from covidxr.datasets.pixels import decode
from covidxr.datasets.splits import split_dataset
from covidxr.errors import ConfigError, DatasetError
from covidxr.images.reading import read_image
from covidxr.records import CLASS_NAMES, SplitPlan
from covidxr.storage import to_json

THEIRS = {
    "healthy": "Normal",
    "covid-19": "COVID",
    "viral": "Viral Pneumonia",
    "opaque": "Lung_Opacity",
}
TWO = {"a": "COVID", "b": "Normal"}


@pytest.fixture(autouse=True)
def _own_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COVIDXR_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def renamed(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantoms in other folders, without images/ below, and with a folder of masks."""
    root = tmp_path_factory.mktemp("renamed") / "hospital"
    for theirs, ours in THEIRS.items():
        shutil.copytree(phantoms / ours / "images", root / "xrays" / theirs)
    shutil.copytree(phantoms / "COVID" / "images", root / "xrays" / "covid-19" / "masks")
    return root


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of three small images."""
    (tmp_path / "t" / "deep" / "er").mkdir(parents=True)
    for n, name in enumerate(("1.png", "deep/2.png", "deep/er/3.png")):
        Image.new("L", (40, 40), 50 * n).save(tmp_path / "t" / name)
    path = tmp_path / "t" / "own.csv"
    path.write_text(
        "\ufefffile,label,patient_id,source,split\n1.png,a,p1,clinic,train\n"
        "deep\\2.png, b ,,,test\ndeep/er/3.png,c,p1,clinic,val\n"
    )
    return path


def test_renamed_folders_give_the_same_labels_and_pixels(
    phantoms: Path, renamed: Path, tmp_path: Path
) -> None:
    assert find_labels(renamed) == dict.fromkeys(sorted(THEIRS), 40)
    direct, taken = (
        open_dataset(phantoms),
        open_import(ImportPlan("hospital", str(renamed), THEIRS)),
    )
    assert [s.label for s in taken.samples] == [s.label for s in direct.samples]
    assert [Path(s.file).name for s in taken.samples] == [Path(s.file).name for s in direct.samples]
    assert taken.class_counts() == direct.class_counts()
    assert {s.source for s in taken.samples} == {"hospital"}
    pixels = [decode(d, 64) for d in (direct, taken)]
    rows = [
        p.rows([s.file for s in d.samples]) for p, d in zip(pixels, (direct, taken), strict=True)
    ]
    assert np.array_equal(pixels[0].array[rows[0]], pixels[1].array[rows[1]])
    archive = tmp_path / "hospital.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for file in renamed.rglob("*.png"):
            out.write(file, file.relative_to(renamed).as_posix())
    zipped = open_import(ImportPlan("hospital", str(archive), THEIRS))
    assert zipped.fingerprint == taken.fingerprint
    assert zipped.read(zipped.samples[7].file) == taken.read(taken.samples[7].file)


def test_the_database_s_own_layout_is_a_folder_like_any_other(phantoms: Path) -> None:
    assert find_labels(phantoms) == dict.fromkeys(sorted(CLASS_NAMES), 40)
    taken = open_import(ImportPlan("own", str(phantoms), {name: name for name in CLASS_NAMES}))
    assert taken.fingerprint == open_dataset(phantoms).fingerprint
    assert taken.synthetic


def test_images_without_a_folder_have_the_label_of_the_dataset(tmp_path: Path) -> None:
    folder = tmp_path / "covid" / "IMAGES"
    folder.mkdir(parents=True)
    Image.new("L", (40, 40)).save(folder / "1.png")
    assert find_labels(tmp_path / "covid") == {"covid": 1}
    assert find_labels(folder) == {"IMAGES": 1}


def test_only_unambiguous_labels_are_suggested() -> None:
    names = [
        "NORMAL",
        "Healthy",
        "No Finding",
        "COVID",
        "covid_19",
        "Covid-19",
        "Viral Pneumonia",
        "viral_PNEUMONIA",
        "opacity",
    ]
    ours = ["Normal"] * 3 + ["COVID"] * 3 + ["Viral Pneumonia"] * 2 + ["Lung_Opacity"]
    assert suggest_labels(names) == dict(zip(names, ours, strict=True))
    assert (
        suggest_labels(
            ["pneumonia", "Bacterial Pneumonia", "abnormal", "tuberculosis", "not covid", ""]
        )
        == {}
    )
    assert suggest_labels(CLASS_NAMES) == {name: name for name in CLASS_NAMES}


def test_patient_source_and_split_are_read_from_a_table(table: Path) -> None:
    assert find_labels(table) == {"a": 1, "b": 1, "c": 1}
    dataset = open_import(ImportPlan("own", str(table), TWO))
    assert [(s.file, s.label, s.patient_id, s.source, s.split) for s in dataset.samples] == [
        ("deep/2.png", 0, None, "own", "test"),
        ("1.png", 1, "p1", "clinic", "train"),
    ]
    assert dataset.class_counts() == {
        "Normal": 1,
        "COVID": 1,
        "Viral Pneumonia": 0,
        "Lung_Opacity": 0,
    }
    assert (dataset.left_out, dataset.labels, dataset.name, dataset.path) == (
        1,
        TWO,
        "own",
        table.parent,
    )
    assert (read_image(dataset.read("deep/2.png"), "2") == 50).all()
    with pytest.raises(DatasetError, match="too few images"):
        split_dataset(dataset, SplitPlan("stratified"), np.arange(2))


def test_an_import_is_written_listed_and_opened_by_name(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list_imports() == ()
    plan = ImportPlan("my-own.2", str(table), TWO)
    path = write_import(plan)
    assert path == import_file("my-own.2") == tmp_path / "cache" / "imported" / "my-own.2.json"
    assert read_import(path) == plan
    assert list_imports() == ("my-own.2",)
    opened = open_dataset("my-own.2")
    assert opened.fingerprint == open_dataset(path).fingerprint == open_import(plan).fingerprint
    assert find_dataset("my-own.2") == path
    (tmp_path / "my-own.2").mkdir()
    # A file of that name comes first.
    monkeypatch.chdir(tmp_path)
    assert find_dataset("my-own.2") == Path("my-own.2")
    with pytest.raises(DatasetError, match="there is no folder or zip absent"):
        open_dataset("absent")


def test_the_fingerprint_depends_on_the_mapped_images(table: Path) -> None:
    both, one = (
        open_import(ImportPlan("own", str(table), labels)) for labels in (TWO, {"a": "COVID"})
    )
    assert both.fingerprint != one.fingerprint
    Image.new("L", (90, 90)).save(table.parent / "1.png")
    changed = open_import(ImportPlan("own", str(table), TWO))
    assert changed.fingerprint != both.fingerprint
    assert changed.state != both.state


def test_a_copy_in_the_database_s_layout_is_the_same_dataset(
    renamed: Path, table: Path, tmp_path: Path
) -> None:
    plan = ImportPlan("hospital", str(renamed), THEIRS)
    copied = open_dataset(copy_import(plan, tmp_path / "copy"))
    taken = open_import(plan)
    assert copied.class_counts() == taken.class_counts()
    assert [copied.read(s.file) for s in copied.samples[::20]] == [
        taken.read(s.file) for s in taken.samples[::20]
    ]
    assert {s.source for s in copied.samples} == {"hospital"}
    with (tmp_path / "copy" / "sources.csv").open(newline="") as file:
        originals = {row["file"]: row["original"] for row in csv.DictReader(file)}
    assert [originals[s.file] for s in copied.samples] == [s.file for s in taken.samples]
    with pytest.raises(DatasetError, match="exists already; name a new folder"):
        copy_import(plan, tmp_path / "copy")
    # The database has every class, so a copy of two classes can only be imported.
    two = copy_import(ImportPlan("own", str(table), TWO), tmp_path / "two")
    with pytest.raises(DatasetError, match="has no images of Viral Pneumonia, Lung_Opacity"):
        open_dataset(two)
    assert find_labels(two) == {"COVID": 1, "Normal": 1}
    assert (two / "sources.csv").read_text().splitlines()[1:] == [
        "Normal/images/Normal-1.png,own,,test,deep/2.png",
        "COVID/images/COVID-1.png,clinic,p1,train,1.png",
    ]


def test_a_given_split_is_used(phantoms: Path, tmp_path: Path) -> None:
    names = ("train", "train", "val", "test")
    rows = [(f"{c}/images/{c}-{n}.png", c, names[n % 4]) for c in CLASS_NAMES for n in range(1, 9)]
    root = tmp_path / "phantoms"
    shutil.copytree(phantoms, root)
    table = root / "own.csv"
    table.write_text("file,label,split\n" + "".join(f"{','.join(row)}\n" for row in rows))
    plan = ImportPlan("own", str(table), {name: name for name in CLASS_NAMES})
    dataset = open_import(plan)
    groups = np.zeros(32, dtype=np.int64)
    split = split_dataset(dataset, SplitPlan("given"), groups)
    assert dict(zip(split.files, split.names.tolist(), strict=True)) == {
        file: name for file, _, name in rows
    }
    assert split.bound_groups is None
    assert split.groups is groups
    copied = open_dataset(copy_import(plan, tmp_path / "copy"))  # sources.csv carries the splits
    assert split_dataset(copied, SplitPlan("given"), groups).names.tolist() == split.names.tolist()
    for old, new, sentence in (
        (
            "train",
            "training",
            r"16 of 32 images have no valid split, the first is \S+ with the split 'training'",
        ),
        ("train", "", "16 of 32 images have no valid split, .* with no split"),
        (
            "val",
            "train",
            "the val split has no Normal, COVID, .*: the dataset's table assigns none",
        ),
    ):
        table.write_text(
            "file,label,split\n"
            + "".join(f"{f},{c},{new if s == old else s}\n" for f, c, s in rows)
        )
        with pytest.raises(DatasetError, match=sentence):
            split_dataset(open_import(plan), SplitPlan("given"), groups)
    with pytest.raises(ConfigError, match="must be given, grouped or stratified, got 'own'"):
        SplitPlan("own")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a;b\n1.png;x\n", "must have the columns file and label, .* got a;b"),
        ("", "must have the columns file and label, .* got none"),
        ("file,label\n", "contains no images: expected one row per image"),
        (
            "file,label\n1.png,a\ngone.png,a\nlost.png,b\n",
            "2 of the 3 files that .* do not exist, the first is gone.png",
        ),
        ("file,label\n1.png,a\n1.png,b\n", "names 1.png twice, again in line 3"),
        ("file,label\n1.png,\n", "line 2 of .* has no label"),
        ("file,label\n,a\n", "line 2 of .* has no file"),
        ("file,label\n../1.png,a\n", "is outside the folder of the table"),
        ("file,label\n/etc/hostname,a\n", "is outside the folder of the table"),
    ],
)
def test_a_wrong_table_is_rejected(table: Path, content: str, sentence: str) -> None:
    table.write_text(content)
    with pytest.raises(DatasetError, match=sentence):
        find_labels(table)


def test_invalid_imports_are_rejected(table: Path, tmp_path: Path) -> None:
    table.with_name("latin.csv").write_bytes(b"file,label\n\xe9.png,a\n")
    (tmp_path / "empty").mkdir()
    for path, sentence in (
        (table.with_name("latin.csv"), "save it again as CSV in UTF-8"),
        (table.with_name("absent.csv"), "there is no table"),
        (
            tmp_path / "empty",
            "contains no images: expected PNG, JPEG, TIFF or DICOM files in one folder per label",
        ),
        (tmp_path / "absent", "there is no folder or zip"),
    ):
        with pytest.raises(DatasetError, match=sentence):
            find_labels(path)
    for name, root, labels, sentence in (
        ("../x", str(table), TWO, "is not a valid name of an import"),
        ("", str(table), TWO, "is not a valid name of an import"),
        ("x", "own.csv", TWO, "absolute path"),
        ("x", str(table), {}, "no label is mapped"),
        ("x", str(table), {"a": "Flu"}, "label 'a' is mapped to the unknown class 'Flu'"),
    ):
        with pytest.raises(DatasetError, match=sentence):
            ImportPlan(name, root, labels)
    with pytest.raises(DatasetError, match="has no label 'z'; its labels are a, b, c"):
        write_import(ImportPlan("x", str(table), {"z": "COVID"}))
    with pytest.raises(DatasetError, match="has no label z any more, only a, b, c"):
        open_import(ImportPlan("x", str(table), {"z": "COVID"}))
    file = write_import(ImportPlan("x", str(table), TWO))
    for text, sentence in (
        ("{", "does not describe an import"),
        (json.dumps({"name": "x"}), "lacks the field root, labels"),
    ):
        file.write_text(text)
        with pytest.raises(DatasetError, match=sentence):
            open_dataset("x")
    file.write_text(to_json({"name": "x", "root": str(table), "labels": {"a": "Flu"}}))
    with pytest.raises(DatasetError, match="unknown class 'Flu'"):
        open_dataset("x")
    with pytest.raises(DatasetError, match="there is no import y"):
        read_import(import_file("y"))
