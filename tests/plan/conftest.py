"""Small screens in the gallery's folders: tiny images with real names."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml

from pipeline.config import Config, load_config
from pipeline.screen import well_position

FOLDER = "{plate}__2020-11-02T19_54_45-Measurement1"


def tiff(seed: int, shape: tuple[int, int] = (6, 8)) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.random.default_rng(seed).integers(0, 4096, shape, dtype=np.uint16))
    return buffer.getvalue()


def image_name(well: str, site: int, channel: int, plane: int = 1) -> str:
    row, column = well_position(well)
    return f"r{row:02d}c{column:02d}f{site:02d}p{plane:02d}-ch{channel}sk1fk1fl1.tiff"


class Screen:
    """A screen being put together in a folder. Channels: 1 Mito, 2 DNA."""

    def __init__(self, root: Path) -> None:
        self.root, self.images = root, root / "images"
        self.keys: dict[str, Any] = {"name": "small", "channels": {1: "Mito", 2: "DNA"}, "condition": []}

    def plate(
        self,
        plate: str,
        wells: Sequence[str] = ("A01", "A02"),
        sites: Iterable[int] = (1, 2),
        channels: Iterable[int] = (1, 2),
        batch: str = "B1",
        folder: str = FOLDER,
    ) -> Path:
        """The folder with the new plate's images."""
        place = self.images / "images" / batch / "images" / folder.format(plate=plate) / "Images"
        place.mkdir(parents=True)
        sites, channels = list(sites), list(channels)
        for number, well in enumerate(wells):
            for site in sites:
                for channel in channels:
                    data = tiff(1000 * number + 10 * site + channel)
                    (place / image_name(well, site, channel)).write_bytes(data)
        return place

    def table(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".tsv", ".txt"):
            text = "".join(line if "\t" in line else line.replace(" ", "\t") for line in text.splitlines(True))
        path.write_text(text)

    def metadata(self, plates: str, plate_map: str, perturbations: str = "", **keys: Any) -> None:
        """One plate map "map" and one annotation table; spaces separate the columns of lines without tabs."""
        self.table("plates.csv", plates)
        self.table("platemaps/map.txt", plate_map)
        self.keys |= {"plates": str(self.root / "plates.csv"), "platemaps": str(self.root / "platemaps")}
        if perturbations:
            self.table("perturbations.tsv", perturbations)
            self.keys["perturbations"] = [{"table": str(self.root / "perturbations.tsv"), **keys}]

    def config(self, images: Any = None, **keys: Any) -> Config:
        path = self.root / "config.yaml"
        pipeline = self.root / "analysis.cppipe"
        pipeline.touch()
        values = {"screen": self.keys, "images": images or str(self.images), "results": str(self.root / "results")}
        # Plates of three wells have too few negative controls for a MAD, which is a finding.
        values |= {"engine": {"cppipe": str(pipeline)}, "profiles": {"normalize": "standardize"}}
        path.write_text(yaml.safe_dump({**values, **keys}))
        return load_config(path)


@pytest.fixture
def screen(tmp_path: Path) -> Screen:
    return Screen(tmp_path)


@pytest.fixture
def kinds() -> Callable[[Any], list[str]]:
    return lambda plan: list(plan.findings["kind"])
