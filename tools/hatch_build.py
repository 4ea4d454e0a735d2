"""What the wheel contains besides the package: the app's scripts and the bundled models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SITE = ("streamlit_app.py", "pages", "docs/icon.png", ".streamlit/config.toml")
"""What the app needs besides the package, from the root of the repository."""


class BundleHook(BuildHookInterface[Any]):
    """Adds the app and the bundled models, and refuses weights that the manifest does not list."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """List the files to add. An editable install needs none: it uses the checkout."""
        if version == "editable":
            return
        root, included = Path(self.root), build_data["force_include"]
        manifest = json.loads((root / "covidxr/models/manifest.json").read_text("utf-8"))
        for model in manifest["models"]:
            for file in model["files"] if model["bundled"] else ():
                path = root / "weights" / model["model_id"] / file["name"]
                if hashlib.sha256(path.read_bytes()).hexdigest() != file["sha256"]:
                    raise ValueError(
                        f"{path} differs from covidxr/models/manifest.json; "
                        "run `make manifest` after an intended change"
                    )
                included[str(path)] = f"covidxr/weights/{model['model_id']}/{file['name']}"
        included[str(root / "weights/protocols.json")] = "covidxr/weights/protocols.json"
        for name in SITE:
            included[str(root / name)] = f"covidxr/site/{name}"
