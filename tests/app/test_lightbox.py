"""Messages to the viewer; what it does with them is tested in a browser."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from covidxr.app.lightbox import pack, png, sheet
from covidxr.images.levels import Levels, levels_of_gray
from tests.app.conftest import panes, unpack


def pixels(packed) -> np.ndarray:
    """The levels as decoded by the browser: inflated, then summed from the left."""
    header, parts = unpack(packed.message)
    kind = np.dtype("<u2" if header["depth"] == 2 else "u1")
    assert (packed.height, packed.width) == (header["height"], header["width"])
    return np.cumsum(
        np.frombuffer(zlib.decompress(parts["values"]), kind).reshape(packed.height, -1),
        axis=1,
        dtype=kind,
    )


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_every_pixel_arrives_as_it_was(kind):
    values = np.random.default_rng(0).integers(0, np.iinfo(kind).max + 1, (37, 53)).astype(kind)
    grays = np.arange(np.iinfo(kind).max + 1) // (1 if kind == np.uint8 else 256)
    packed = sheet(Levels(values, grays.astype(np.uint8), 0, 1, (0, 1)), "a")
    assert np.array_equal(pixels(packed), values)
    assert np.array_equal(np.frombuffer(unpack(packed.message)[1]["grays"], np.uint8), grays)
    assert np.array_equal(
        pixels(sheet(levels_of_gray(np.asfortranarray(values[::2].astype(np.uint8))), "b")),
        values[::2].astype(np.uint8),
    )


def test_a_message_is_its_header_and_its_parts():
    header, parts = unpack(pack({"id": "Zoë"}, {"a": b"", "b": b"\x00\xff", "c": b"{"}))
    assert header["id"] == "Zoë"
    assert parts == {"a": b"", "b": b"\x00\xff", "c": b"{"}


def test_a_layer_s_png_is_the_layer():
    layer = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(layer)))), layer)


def test_a_pane_names_its_layers_and_texts_remain_data():
    def page():
        import numpy as np

        from covidxr.app.lightbox import Pane, lightbox, sheet
        from covidxr.images.levels import levels_of_gray

        image = sheet(levels_of_gray(np.zeros((32, 40), np.uint8)), "a")
        lightbox(
            image,
            [Pane("<b>", "</script>"), Pane("y", "z", {"Lines": b"1"})],
            {"Lines": "thin"},
            b"2",
            key="k",
        )

    app = AppTest.from_function(page).run()
    assert not app.exception
    viewer, image = app.get("bidi_component")
    assert panes(app) == [
        {"alt": "<b>", "caption": "</script>", "layers": {}},
        {"alt": "y", "caption": "z", "layers": {"Lines": "Lines 1"}},
    ]
    _, parts = unpack(viewer.proto.bytes)
    assert unpack(image.proto.bytes)[0]["id"] == "a"
    assert (parts["Lines 1"], parts["outline"]) == (b"1", b"2")
    assert "script" not in viewer.proto.html_content
