"""The viewer on Predict, in a real browser, pixel by pixel against numpy."""

import base64
import io
import re
import socket

import numpy as np
import pytest
from PIL import Image

from covidxr.prediction.cases import sample_phantom
from tests.browser.conftest import serve
from tests.browser.test_heat_maps import choose

pytestmark = [pytest.mark.browser, pytest.mark.slow]


class Viewer:
    """A page with an image in its viewer."""

    def __init__(self, tab, address: str) -> None:
        self.tab, self.address = tab, address
        self.sent: list[str | bytes] = []
        tab.on(
            "websocket",
            lambda socket: socket.on("framesent", lambda frame: self.sent.append(frame)),
        )

    def open(self, name: str, image: np.ndarray) -> None:
        content = io.BytesIO()
        Image.fromarray(image).save(content, "PNG")
        self.tab.locator("input[type=file]").set_input_files(
            {"name": name, "mimeType": "image/png", "buffer": content.getvalue()}
        )
        self.tab.get_by_role("img", name=f"{name}, input image").wait_for()
        self.rest()

    def rest(self) -> None:
        self.tab.locator("[data-test-script-state=notRunning]").wait_for(state="attached")
        self.tab.locator(".stage[aria-busy=false]").wait_for()
        self.frame()

    def frame(self) -> None:
        """Wait until the requested frame is drawn."""
        self.tab.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def canvas(self, k: int = 0):
        return self.tab.locator(".lightbox canvas").nth(k)

    def colors(self, k: int = 0) -> np.ndarray:
        """The pixels of a pane, (H, W, 3)."""
        self.frame()
        address = self.canvas(k).evaluate("canvas => canvas.toDataURL()")
        return np.asarray(
            Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB")
        )

    def grays(self, k: int = 0) -> np.ndarray:
        colors = self.colors(k)
        assert not np.ptp(colors, axis=2).any()
        return colors[..., 0]

    def press(self, *keys: str) -> None:
        self.tab.locator(".stage").focus()
        for key in keys:
            self.tab.keyboard.press(key)
        self.frame()

    def zoom(self) -> str:
        self.frame()
        text: str = self.tab.locator(".zoom").inner_text()
        return text

    def window(self, level: float, width: float) -> None:
        for label, value in (("WL", level), ("WW", width)):
            field = self.tab.get_by_label(label, exact=True)
            field.fill(f"{value}")
            field.press("Enter")


@pytest.fixture(scope="module")
def opened(browser, two_models, tmp_path_factory):
    """One page for all tests; each starts where the last one left it, reset."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    errors = []
    with serve(
        port, tmp_path_factory.mktemp("viewer") / "server.log", COVIDXR_WEIGHTS=two_models
    ) as address:
        tab = browser.new_page(viewport={"width": 1440, "height": 900})
        tab.set_default_timeout(60_000)
        tab.on("pageerror", lambda error: errors.append(str(error)))
        viewer = Viewer(tab, address)  # first, to record what the page sends
        tab.goto(f"{address}/predict")
        tab.get_by_role("button", name="I understand").click()
        viewer.open("case.png", sample_phantom("COVID"))
        yield viewer
        tab.close()
        assert errors == []


@pytest.fixture
def viewer(opened):
    opened.tab.get_by_role("slider", name="Opacity").fill("60")
    opened.press("r")
    opened.rest()
    opened.sent.clear()
    return opened


def part(canvas: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The part of a canvas that shows a centered image at 100%."""
    top, left = ((canvas.shape[i] / 2 - image.shape[i] / 2) for i in (0, 1))
    top, left = int(np.floor(top + 0.5)), int(np.floor(left + 0.5))
    return canvas[top : top + image.shape[0], left : left + image.shape[1]]


def test_at_100_percent_a_pixel_is_a_pixel_and_at_200_four(viewer):
    image = sample_phantom("COVID")
    viewer.press("1", "o")
    assert viewer.zoom() == "100%"
    for k in (0, 1):
        assert np.array_equal(part(viewer.grays(k), image), image)
    viewer.tab.get_by_role("button", name="Zoom in").click()
    viewer.tab.get_by_role("button", name="Zoom in").click()
    assert viewer.zoom() == "200%"
    shown = viewer.grays()
    height, width = (size // 4 * 2 for size in shown.shape)
    doubled = image.repeat(2, axis=0).repeat(2, axis=1)
    middle = doubled[256 - height // 2 : 256 + height // 2, 256 - width // 2 : 256 + width // 2]
    assert np.array_equal(part(shown, middle), middle)
    assert viewer.sent == []


def test_window_invert_and_reset_map_every_gray_value(viewer):
    image = sample_phantom("COVID").astype(float)
    viewer.press("1", "o")
    viewer.window(100, 50)  # from 75 to 124
    expected = np.floor(((image - 75) / 49).clip(0, 1) * 255 + 0.5)
    assert np.array_equal(part(viewer.grays(), image), expected)
    viewer.press("i")
    assert np.array_equal(part(viewer.grays(1), image), 255 - expected)
    viewer.press("w", "C")  # a fiftieth of 255 each
    assert viewer.tab.get_by_label("WW", exact=True).input_value() == "45"
    assert viewer.tab.get_by_label("WL", exact=True).input_value() == "105"
    viewer.press("r")
    assert viewer.tab.get_by_role("button", name="Fit").get_attribute("aria-pressed") == "true"
    viewer.press("1")
    assert np.array_equal(part(viewer.grays(), image), image)
    box = viewer.canvas().bounding_box()
    viewer.tab.mouse.move(box["x"] + 100, box["y"] + 100)
    viewer.tab.mouse.down(button="right")
    viewer.tab.mouse.move(box["x"] + 60, box["y"] + 140)  # 40 pixels are a tenth of 255
    viewer.tab.mouse.up(button="right")
    low, high = 127.5 + 25.5 - 114.75, 127.5 + 25.5 + 114.75
    assert np.array_equal(
        part(viewer.grays(), image),
        np.floor(((image - low) / (high - low)).clip(0, 1) * 255 + 0.5),
    )
    assert viewer.sent == []


def test_the_wheel_scrolls_until_the_image_is_clicked_and_zooms_at_the_pointer(viewer):
    viewer.tab.get_by_role("slider", name="Opacity").focus()
    # Position of the center of an image pixel at 1,131%.
    image, zoom = sample_phantom("COVID").astype(int), 2**3.5
    alone = [
        (row, column)
        for row in range(118, 138)
        for column in range(118, 138)
        if (image[row - 1 : row + 2, column - 1 : column + 2] == image[row, column]).sum() == 1
    ]
    row, column = alone[0]
    box = viewer.canvas().bounding_box()
    right, down = (
        round(box[side] / 2 - 128 * zoom + (i + 0.5) * zoom)
        for side, i in (("width", column), ("height", row))
    )
    x, y = box["x"] + right, box["y"] + down
    viewer.tab.mouse.move(x, y)
    fit = viewer.zoom()
    viewer.tab.mouse.wheel(0, 200)
    viewer.tab.wait_for_function(
        "() => document.querySelector('[data-testid=stMain]').scrollTop > 0"
    )
    assert viewer.zoom() == fit
    viewer.tab.get_by_test_id("stMain").evaluate(
        "main => main.scrollTo({top: 0, behavior: 'instant'})"
    )
    viewer.tab.mouse.click(x, y)
    viewer.press(*"+++++++")
    assert viewer.zoom() == "1131%"
    before = viewer.grays()
    assert before[down, right] == image[row, column]
    for turn in (-300, -150, 600, 200):
        viewer.tab.mouse.wheel(0, turn)
        viewer.tab.wait_for_timeout(50)
        assert viewer.grays()[down, right] == image[row, column], turn
    viewer.tab.mouse.wheel(0, -350)
    viewer.tab.wait_for_timeout(50)
    assert np.array_equal(viewer.grays(), before), "there and back"
    viewer.tab.mouse.dblclick(x, y)
    assert viewer.zoom() == fit
    viewer.tab.mouse.dblclick(x, y)
    assert viewer.zoom() == "100%"


def test_panes_move_together_by_mouse_and_keys(viewer):
    viewer.press("o", "1", "+", "+", "+")
    still = viewer.grays()
    box = viewer.canvas(1).bounding_box()
    viewer.tab.mouse.move(box["x"] + 200, box["y"] + 200)
    viewer.tab.mouse.down()
    viewer.tab.mouse.move(box["x"] + 170, box["y"] + 180)
    viewer.tab.mouse.up()
    moved = viewer.grays()
    assert np.array_equal(moved[:-20, :-30], still[20:, 30:])
    assert np.array_equal(moved, viewer.grays(1))
    viewer.press("ArrowRight")
    assert np.array_equal(viewer.grays(1)[:, :-40], moved[:, 40:])
    assert np.array_equal(viewer.grays(1), viewer.grays())
    assert viewer.sent == []


def test_opacity_is_live_and_the_overlays_differ(viewer):
    slider = viewer.tab.get_by_role("slider", name="Opacity")
    seen = {}
    for opacity in (0, 50, 100):
        slider.fill(f"{opacity}")
        seen[opacity] = viewer.colors(1).astype(int)
    assert np.array_equal(seen[0], viewer.colors())
    assert np.ptp(seen[100], axis=2).max() > 50
    assert np.abs(2 * seen[50] - seen[0] - seen[100]).max() <= 4
    viewer.press("]", "[", "[")
    assert slider.input_value() == "90"
    drawn = [viewer.colors(1)]
    for name in ("Contours", "Native grid"):
        viewer.tab.get_by_label("Overlay").select_option(name)
        drawn.append(viewer.colors(1))
    assert not any(np.array_equal(drawn[i], drawn[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    viewer.press("d")
    assert np.array_equal(viewer.colors(1), drawn[0])
    assert viewer.sent == []


def test_the_divider_separates_image_and_heat_map(viewer):
    viewer.press("1")
    viewer.tab.get_by_role("button", name="Compare slider").click()
    assert viewer.tab.locator(".lightbox canvas").count() == 1
    viewer.press("o")
    plain = viewer.colors()
    viewer.press("o")
    divider = viewer.tab.get_by_role("slider", name="Divider")
    box, grip = viewer.canvas().bounding_box(), divider.bounding_box()
    viewer.tab.mouse.move(grip["x"] + 22, grip["y"] + 200)
    viewer.tab.mouse.down()
    viewer.tab.mouse.move(box["x"] + 0.45 * box["width"], grip["y"] + 210)
    viewer.tab.mouse.up()
    assert divider.get_attribute("aria-valuenow") == "45"
    shown, split = viewer.colors(), round(0.45 * plain.shape[1])
    assert np.array_equal(shown[:, :split], plain[:, :split])
    divider.press("Home")
    mapped = viewer.colors()
    assert not np.array_equal(mapped, plain)
    assert np.array_equal(shown[:, split:], mapped[:, split:])
    divider.press("ArrowRight")
    viewer.press(".")
    assert divider.get_attribute("aria-valuenow") == "4"
    viewer.press("s")
    assert viewer.tab.locator(".lightbox canvas").count() == 2
    assert viewer.sent == []


def test_every_control_has_a_name_and_is_reached_by_tab(viewer):
    tab = viewer.tab
    tab.get_by_role("button", name="Zoom out").focus()
    names = []
    for _ in range(30):
        names.append(
            tab.evaluate("""() => {
                let at = document.activeElement;
                while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
                const label = at.labels?.[0] ?? at;
                return at.getAttribute("aria-label") || label.textContent.trim();
            }""")
        )
        if names[-1].startswith("Mouse"):
            break
        tab.keyboard.press("Tab")
    assert [name for name in names if not name] == []
    for name in (
        "Zoom in",
        "Fit",
        "Full screen",
        "Invert",
        "Reset",
        "Side by side",
        "Compare slider",
        "Opacity",
        "Image viewer",
    ):
        assert name in names, names
    # The status is announced once the image is at rest.
    tab.locator(".status").filter(has_text=re.compile("Zoom .* level .* width")).wait_for(
        state="attached"
    )


def test_a_second_class_keeps_zoom_and_window(viewer):
    viewer.press("1", "+", "i")
    viewer.window(90, 80)
    before = viewer.grays()
    predicted = viewer.tab.get_by_label("Explain class", exact=True).input_value()
    choose(viewer.tab, "Compare with class", "Normal" if predicted != "Normal" else "COVID-19")
    viewer.canvas(2).wait_for()
    viewer.rest()
    assert viewer.zoom() == "141%"
    after = viewer.grays()
    width = min(after.shape[1], before.shape[1]) - 20  # panes are narrower now
    assert viewer.tab.get_by_label("WL", exact=True).input_value() == "90"
    crop = [
        a[a.shape[0] // 2 - 60 : a.shape[0] // 2 + 60, a.shape[1] // 2 - 60 :][:, :120]
        for a in (before, after)
    ]
    assert width > 120
    assert any(
        np.array_equal(crop[0][1 + i : -1 + i or None, 1:-1], crop[1][1:-1, 1:-1])
        for i in (-1, 0, 1)
    )
    assert viewer.sent != []


def test_sixteen_bits_are_windowed_at_their_own_depth(viewer):
    fine = np.random.default_rng(0).integers(0, 150, (256, 256))
    deep = (1000 + 150 * sample_phantom("COVID").astype(int) + fine).astype(np.uint16)
    viewer.open("deep.png", deep)
    viewer.press("1", "o")
    low, high = int(deep.min()), int(deep.max())
    assert viewer.tab.get_by_label("WW", exact=True).input_value() == str(high - low + 1)
    seen = np.s_[28:228, 28:228]  # the panes are narrower than the image
    as_read = np.rint((deep.astype(float) - low) / (high - low) * 255)
    assert np.array_equal(part(viewer.grays(), as_read[seen]), as_read[seen])
    viewer.window(20128, 256)  # no wider than two of the 8-bit gray values
    expected = (deep.astype(int) - 20000).clip(0, 255)
    assert len(np.unique(expected[seen])) > 100
    assert np.array_equal(part(viewer.grays(), expected[seen]), expected[seen])
    viewer.press("a")
    assert viewer.tab.get_by_label("WW", exact=True).input_value() == str(high - low + 1)


def test_a_phone_shows_one_pane_scrolls_the_page_and_zooms_with_two_fingers(opened, browser):
    context = browser.new_context(
        viewport={"width": 400, "height": 850},
        device_scale_factor=2,
        has_touch=True,
        is_mobile=True,
    )
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    tab.goto(f"{opened.address}/predict")
    tab.get_by_role("button", name="I understand").click()
    phone, image = Viewer(tab, opened.address), sample_phantom("Normal")
    phone.open("phone.png", image)
    fingers = context.new_cdp_session(tab)

    def drag(*paths: tuple[tuple[float, float], tuple[float, float]]) -> None:
        """Move fingers in ten steps, each from one place to another."""
        for step in range(11):
            points = [
                {"id": i, "x": x + (to_x - x) * step / 10, "y": y + (to_y - y) * step / 10}
                for i, ((x, y), (to_x, to_y)) in enumerate(paths)
            ]
            fingers.send(
                "Input.dispatchTouchEvent",
                {"type": "touchMove" if step else "touchStart", "touchPoints": points},
            )
        fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        tab.wait_for_timeout(100)

    def middle() -> tuple[float, float]:
        box = tab.locator(".frame").bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    assert tab.locator(".lightbox canvas").count() == 1
    assert tab.evaluate("() => document.documentElement.scrollWidth") == 400
    tab.locator(".lightbox").evaluate(
        "box => box.scrollIntoView({block: 'center', behavior: 'instant'})"
    )
    scrolled = tab.get_by_test_id("stMain").evaluate("main => main.scrollTop")
    x, y = middle()
    drag(((x, y), (x, y - 100)))
    assert tab.get_by_test_id("stMain").evaluate("main => main.scrollTop") > scrolled + 50
    fit, (x, y) = float(phone.zoom().rstrip("%")), middle()
    drag(((x - 20, y), (x - 60, y)), ((x + 20, y), (x + 60, y)))
    assert float(phone.zoom().rstrip("%")) == pytest.approx(3 * fit, rel=0.1)
    scrolled = tab.get_by_test_id("stMain").evaluate("main => main.scrollTop")
    phone.press("o")
    shown = phone.grays()
    drag(((x, y), (x, y - 40)))
    assert tab.get_by_test_id("stMain").evaluate("main => main.scrollTop") == scrolled, (
        "a pan of the zoomed image scrolls the page"
    )
    assert np.array_equal(phone.grays()[:-80], shown[80:])
    phone.press("r", "1")
    assert np.array_equal(part(phone.grays(), image), image), (
        "an image pixel is not one screen pixel, of which a CSS pixel has four"
    )
    context.close()
