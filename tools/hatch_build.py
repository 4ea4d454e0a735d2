"""What the wheel holds besides the package: the app's scripts and the bundled models of the manifest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BundleHook(BuildHookInterface[Any]):
    """Adds the bundled models to the wheel, and refuses weights that are not those of the manifest."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """List the files to add. An editable install needs none: it uses the checkout."""
        if version == "editable":
            return
        root = Path(self.root)
        manifest = json.loads((root / "covidxr/models/manifest.json").read_text("utf-8"))
        for model in manifest["models"]:
            for file in model["files"] if model["bundled"] else ():
                name = f"{model['model_id']}/{file['name']}"
                content = (root / "weights" / name).read_bytes()
                if hashlib.sha256(content).hexdigest() != file["sha256"]:
                    raise ValueError(
                        f"weights/{name} differs from covidxr/models/manifest.json; run `make manifest` if that is meant"
                    )
                build_data["force_include"][str(root / "weights" / name)] = f"covidxr/weights/{name}"
        for source, target in (
            ("streamlit_app.py", "streamlit_app.py"),
            ("pages", "pages"),
            ("docs/icon.png", "docs/icon.png"),
            (".streamlit/config.toml", ".streamlit/config.toml"),
        ):
            build_data["force_include"][str(root / source)] = f"covidxr/site/{target}"
        build_data["force_include"][str(root / "weights/protocols.json")] = (
            "covidxr/weights/protocols.json"
        )
