"""What a file must be to become a number."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image as Pillow

from pipeline.errors import ImageError, StorageError
from pipeline.images import ImageFile, decode, planned_files, read_images, read_site
from pipeline.storage import Location, Storage, md5, open_storage

REAL_SITE = Path(__file__).parents[1] / "data" / "real_site" / "images"


def tiff(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **({"photometric": "minisblack", "compression": "lzw"} | options))
    return file.getvalue()


def noise(shape=(40, 60), dtype=np.uint16) -> np.ndarray:
    return np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.fixture
def storage(tmp_path) -> Storage:
    return open_storage(Location(url=str(tmp_path)))


def planned(storage: Storage, key: str, data: bytes) -> ImageFile:
    storage.put(key, data)
    return ImageFile(key, len(data), md5(data))


def real_files() -> list[Path]:
    return sorted(REAL_SITE.rglob("*.tiff"))


def test_the_pixels_of_a_real_site_are_those_another_reader_finds():
    storage = open_storage(Location(url=str(REAL_SITE)))
    files = {
        path.name: ImageFile(path.relative_to(REAL_SITE).as_posix(), path.stat().st_size, md5(path.read_bytes()))
        for path in real_files()
    }
    images = read_site(storage, files, shape=(360, 360), dtype=np.uint16)
    assert list(images) == list(files)
    assert len(files) == 8
    for path in real_files():
        np.testing.assert_array_equal(images[path.name], np.asarray(Pillow.open(path)))


@pytest.mark.real_data
def test_every_image_of_the_gallery_is_read_as_another_reader_reads_it(shared_data):
    for path in sorted((shared_data / "gallery").rglob("*.tiff")):
        np.testing.assert_array_equal(decode(path.read_bytes(), (1080, 1080), np.uint16), np.asarray(Pillow.open(path)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"compression": None}, {"rowsperstrip": 7}])
def test_whole_numbers_stay_as_they_are(dtype, options):
    pixels = noise(dtype=dtype)
    image = decode(tiff(pixels, **options))
    assert image.dtype == dtype
    np.testing.assert_array_equal(image, pixels)


def test_floating_point_stays_as_it_is():
    pixels = np.random.default_rng(1).random((12, 30)).astype(np.float32)
    np.testing.assert_array_equal(decode(tiff(pixels)), pixels)


def test_a_file_that_names_its_own_maximum_is_divided_by_it():
    pixels = noise() % 4096
    image = decode(tiff(pixels, extratags=[(281, "H", 1, 4095, True)]), dtype=np.uint16)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, pixels.astype(np.float32) / np.float32(4095))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a TIFF file"),
        (b"<html><body>503 Slow Down</body></html>", "begins with b'<html>"),
        (tiff(noise((3, 40, 60))), "3 pages"),
        (tiff(noise((40, 60, 3)), photometric="rgb"), r"array of shape \(40, 60, 3\)"),
        (tiff(noise((60, 40))), r"60 x 40 pixels \(y, x\) where 40 x 60"),
        (tiff(noise(dtype=np.uint8)), "uint8 pixels where uint16"),
        (tiff(noise(dtype=np.uint16).astype(np.int32)), "int32 pixels; uint8"),
    ],
)
def test_a_file_that_is_something_else_is_refused_with_the_reason(data, reason):
    with pytest.raises(ImageError, match=reason):
        decode(data, shape=(40, 60), dtype=np.uint16)


def test_pixels_that_are_no_numbers_are_refused():
    pixels = np.ones((12, 30), np.float32)
    pixels[3, 4] = np.nan
    with pytest.raises(ImageError, match="NaN or infinite"):
        decode(tiff(pixels))


def test_a_file_cut_short_anywhere_is_refused():
    data = real_files()[0].read_bytes()
    for length in [0, 1, 8, 100, 176, 177, 1000, len(data) // 2, len(data) - 4096, len(data) - 1]:
        with pytest.raises(ImageError):
            decode(data[:length], shape=(360, 360), dtype=np.uint16)


def test_a_file_whose_directory_comes_last_and_is_cut_short_is_refused():
    """As Opera Phenix writes them; tifffile reads such a file as an empty array."""
    pixels = noise((40, 60))
    body, inline = tiff(pixels, compression=None), []
    with tifffile.TiffFile(io.BytesIO(body)) as file:
        page = file.pages.first
        begin, count = page.dataoffsets[0], page.databytecounts[0]
        for tag in page.tags:
            if tag.code in (256, 257, 258, 259, 262, 277, 278):
                inline.append((tag.code, int(tag.value)))
    tags = sorted([*inline, (273, 8), (279, count)])
    directory = b"".join(
        code.to_bytes(2, "little") + (4).to_bytes(2, "little") + (1).to_bytes(4, "little") + value.to_bytes(4, "little")
        for code, value in tags
    )
    data = (
        b"II*\0"
        + (8 + count).to_bytes(4, "little")
        + body[begin : begin + count]
        + len(tags).to_bytes(2, "little")
        + directory
        + b"\0\0\0\0"
    )
    np.testing.assert_array_equal(decode(data), pixels)
    assert tifffile.imread(io.BytesIO(data[: 8 + count])).size == 0
    for length in (8 + count, 8 + count // 2):
        with pytest.raises(ImageError, match="cut short: it ends before the directory"):
            decode(data[:length])
    for length in (8 + count + 1, len(data) - 20):
        with pytest.raises(ImageError):
            decode(data[:length])


def test_a_block_of_zeros_in_the_pixels_is_noticed():
    data = bytearray(real_files()[0].read_bytes())
    data[100_000:104_096] = bytes(4096)
    with pytest.raises(ImageError, match="damaged"):
        decode(bytes(data))


def test_every_bad_file_of_a_site_is_named_with_its_channel_and_reason(storage):
    good = planned(storage, "good.tiff", tiff(noise()))
    wrong = planned(storage, "wrong.tiff", tiff(noise((7, 9))))
    html = planned(storage, "html.tiff", b"<?xml version='1.0'?><Error/>")
    gone = ImageFile("gone.tiff", 10, None)
    files = {"OrigDNA": good, "OrigER": wrong, "OrigRNA": html, "OrigAGP": gone, "OrigMito": None}
    with pytest.raises(ImageError) as caught:
        read_site(storage, files, shape=(40, 60))
    message = str(caught.value)
    assert message.startswith("4 of 5 images cannot be used.")
    assert "OrigER (wrong.tiff) is 7 x 9" in message
    assert "OrigRNA (html.tiff) is not a TIFF" in message
    assert "OrigAGP (gone.tiff) is missing" in message
    assert "OrigMito is missing" in message
    assert "OrigDNA" not in message
    assert not caught.value.retry
    images, reasons = read_images(storage, files, shape=(40, 60))
    assert list(images) == ["OrigDNA"]
    assert list(reasons) == ["OrigER", "OrigRNA", "OrigAGP", "OrigMito"]


def test_a_flipped_bit_does_not_become_a_number(storage):
    data = bytearray(real_files()[0].read_bytes())
    file = planned(storage, "a.tiff", bytes(data))
    data[90_000] ^= 1
    storage.put("a.tiff", bytes(data))
    decode(bytes(data))  # LZW has no checksum: nothing in the file itself tells
    with pytest.raises(ImageError, match=r"OrigDNA \(a.tiff\) is not the file that was planned"):
        read_site(storage, {"OrigDNA": file})


def test_without_an_etag_the_size_still_tells(storage):
    file = planned(storage, "a.tiff", tiff(noise()))._replace(etag=None)
    storage.put("a.tiff", tiff(noise((40, 61))))
    with pytest.raises(ImageError, match="bytes where the plan says"):
        read_site(storage, {"OrigDNA": file})


@pytest.mark.parametrize("retry", [True, False])
def test_what_is_wrong_with_the_store_is_not_blamed_on_the_image(retry):
    class Throttled:
        def get(self, key, *, etag=None):
            raise StorageError("SlowDown", retry=retry)

    with pytest.raises(StorageError) as caught:
        read_site(Throttled(), {"OrigDNA": ImageFile("a.tiff")})
    assert caught.value.retry == retry


def test_each_image_is_fetched_once_with_its_planned_etag():
    data, asked = tiff(noise()), []

    class Counting:
        def get(self, key, *, etag=None):
            asked.append((key, etag))
            return data

    read_site(Counting(), {f"Orig{k}": ImageFile(f"{k}.tiff", len(data), f"{k}") for k in range(8)})
    assert sorted(asked) == [(f"{k}.tiff", f"{k}") for k in range(8)]


def test_the_files_of_a_site_are_read_from_the_plan():
    table = pd.DataFrame(
        {
            "Key_OrigDNA": ["a/1.tiff", None],
            "Size_OrigDNA": pd.array([123, None], "Int64"),
            "ETag_OrigDNA": ["abc", None],
            "Key_OrigER": ["a/2.tiff", ""],
            "Size_OrigER": pd.array([None, None], "Int64"),
            "ETag_OrigER": [None, ""],
        }
    )
    first, second = table.to_dict("records")
    assert planned_files(first, ["OrigDNA", "OrigER", "OrigAGP"]) == {
        "OrigDNA": ImageFile("a/1.tiff", 123, "abc"),
        "OrigER": ImageFile("a/2.tiff", None, None),
        "OrigAGP": None,
    }
    assert planned_files(second, ["OrigDNA", "OrigER"]) == {"OrigDNA": None, "OrigER": None}
