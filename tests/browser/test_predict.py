"""Uploads on Predict, in a real browser."""

import base64
import hashlib
import io
import zipfile

import pytest
from PIL import Image
from pypdf import PdfReader

from covidxr.prediction.cases import sample_phantom
from covidxr.records import CLASS_NAMES, RESEARCH_ONLY, display_name
from tests.images.test_dicom import dicom

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CANVASES, READY = ".lightbox canvas", ".stage[aria-busy=false]"
DROP = """([zone, content]) => {
    const bytes = Uint8Array.from(atob(content), c => c.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
    const options = {dataTransfer: data, bubbles: true, cancelable: true};
    for (const kind of ["dragenter", "dragover", "drop"])
        zone.dispatchEvent(new DragEvent(kind, options));
}"""


@pytest.fixture(scope="session")
def phantom_png() -> bytes:
    content = io.BytesIO()
    Image.fromarray(sample_phantom("COVID")).save(content, "PNG")
    return content.getvalue()


def test_a_deep_link_as_the_first_request_then_a_drop(server, tab, sideways, errors, phantom_png):
    tab.goto(f"{server}/predict")
    tab.get_by_role("heading", name="Predict").wait_for()
    tab.get_by_text(RESEARCH_ONLY, exact=True).wait_for()
    # With the keyboard alone.
    tab.get_by_role("button", name="I understand").wait_for()
    for _ in range(30):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.innerText") == "I understand":
            break
    tab.keyboard.press("Enter")
    zone = tab.get_by_test_id("stFileUploaderDropzone").element_handle()
    tab.evaluate(DROP, [zone, base64.b64encode(phantom_png).decode()])
    tab.locator(READY).wait_for()

    alternatives = [tab.locator(CANVASES).nth(i).get_attribute("aria-label") for i in range(2)]
    assert alternatives[0] == "dropped.png, input image"
    assert alternatives[1].startswith("Input image with heat map for")
    chart = tab.get_by_test_id("stPlotlyChart")
    chart.locator(".barlayer .point").nth(3).wait_for()
    assert chart.locator(".textpoint").count() == len(CLASS_NAMES)
    assert set(chart.locator(".ytick").all_text_contents()) == {
        display_name(name) for name in CLASS_NAMES
    }
    box = tab.locator(CANVASES).nth(1).bounding_box()
    assert box["y"] + box["height"] <= 900, "the heat map is below the first screen"
    assert sideways() == 0
    assert errors == []


def test_home_leads_to_predict_and_a_dicom_file_to_reports_on_a_phone(
    server, tab, sideways, errors, accept
):
    tab.set_viewport_size({"width": 400, "height": 850})
    tab.goto(server)
    tab.get_by_text("phantom-cnn").first.wait_for(state="attached")
    assert sideways() == 0
    tab.get_by_role("link", name="Predict:").click()
    tab.get_by_role("heading", name="Predict").wait_for()
    accept()
    content = dicom(sample_phantom("COVID"), 8, PatientName="Meier^Anna", ViewPosition="PA")
    tab.locator("input[type=file]").set_input_files(
        {"name": "case.dcm", "mimeType": "application/dicom", "buffer": content}
    )
    tab.locator(READY).wait_for()
    tab.get_by_text("Header elements not used").click()
    tab.get_by_role("cell", name="Patient's Name").wait_for()
    assert sideways() == 0
    taken = {}
    for title in ("Report (PDF)", "Report (DICOM)"):
        with tab.expect_download() as download:
            tab.get_by_role("button", name=title).click()
        taken[title] = download.value.path().read_bytes()
    (page,) = PdfReader(io.BytesIO(taken["Report (PDF)"])).pages
    assert hashlib.sha256(content).hexdigest() in page.extract_text()
    with zipfile.ZipFile(io.BytesIO(taken["Report (DICOM)"])) as archive:
        assert not any(b"Meier" in archive.read(name) for name in archive.namelist())
    assert "Meier" not in tab.content()
    assert errors == []


def test_a_hostile_name_becomes_neither_link_nor_markup(server, tab, errors, accept):
    tab.goto(f"{server}/predict")
    accept()
    name = "[x](www.a.com) **b** <img src=x> :smile: a@b.com.png"
    tab.locator("input[type=file]").set_input_files(
        {"name": name, "mimeType": "image/png", "buffer": b"text"}
    )
    alert = tab.get_by_test_id("stAlert")
    alert.wait_for()
    assert name in alert.inner_text().replace("\u2060", "")
    assert alert.locator("a, img, strong").count() == 0
    assert errors == []


def test_a_zip_becomes_a_worklist_whose_rows_open(
    server, tab, sideways, errors, phantom_png, accept
):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, own in (("bad.png", b"text"), ("a.png", phantom_png), ("b.png", phantom_png)):
            archive.writestr(name, own)
    tab.goto(f"{server}/predict")
    accept()
    tab.locator("input[type=file]").set_input_files(
        {"name": "ward.zip", "mimeType": "application/zip", "buffer": content.getvalue()}
    )
    tab.get_by_text("2 analyzed, 1 unreadable").wait_for()
    tab.get_by_role("img", name="a.png, input image", exact=True).wait_for()
    table = tab.get_by_test_id("stDataFrame").first
    tab.set_default_timeout(20_000)
    assert sideways() == 0
    table.click(position={"x": 200, "y": 38 + 48 + 24})  # the second row's name
    tab.get_by_role("img", name="b.png, input image", exact=True).wait_for()
    with tab.expect_download() as download:
        tab.get_by_role("button", name="All rows (CSV)").click()
    lines = download.value.path().read_text("utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "file",
        "ward.zip/a.png",
        "ward.zip/b.png",
        "ward.zip/bad.png",
    ]
    tab.get_by_text("Upload order").click()
    # Another order is another table, which opens its first row and is painted later.
    tab.get_by_role("img", name="a.png, input image", exact=True).wait_for()
    tab.locator("[data-test-script-state=notRunning]").wait_for(state="attached")
    tab.wait_for_timeout(1000)
    table.click(position={"x": 200, "y": 38 + 2 * 48 + 24})
    tab.get_by_test_id("stAlert").get_by_text("not a valid PNG").wait_for()
    assert errors == []
