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
from pipeline.images import decode, read_images, read_site
from pipeline.results.plan import ImageFile, planned_files
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
    images = read_site(storage, files, shape=(360, 360), dtypes=dict.fromkeys(files, np.uint16))
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
        (b"", "is an empty file"),
        (b"<html><body>503 Slow Down</body></html>", "is a page of HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a git-lfs pointer"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "is not a TIFF file .* begins with b'.x89PNG"),
        (tiff(noise((3, 40, 60))), "3 pages"),
        (tiff(noise((40, 60, 3)), photometric="rgb"), r"array of shape \(40, 60, 3\)"),
        (tiff(noise((60, 40))), r"60 x 40 pixels \(y, x\) where 40 x 60"),
        (tiff(noise(dtype=np.uint8)), "uint8 pixels where uint16"),
        (tiff(noise(dtype=np.uint16).astype(np.int32)), "int32 pixels; uint8"),
        (tiff(noise(dtype=np.uint16).astype(np.uint32)), "uint32 pixels; uint8"),
        (tiff(noise() > 9), "bool pixels; uint8"),
        (tiff(noise((3, 40, 60)), photometric="rgb", planarconfig="separate"), r"array of shape \(3, 40, 60\)"),
        (tiff(noise(), photometric="cfa"), r"not known here \(32803\) whether black or white is zero"),
        (tiff(np.ones((40, 60), np.float32), photometric="miniswhite"), "white is zero, which has no meaning"),
    ],
)
def test_a_file_that_is_something_else_is_refused_with_the_reason(data, reason):
    with pytest.raises(ImageError, match=reason):
        decode(data, shape=(40, 60), dtype=np.uint16)


@pytest.mark.parametrize("options", [{"tile": (16, 16)}, {"compression": "zlib", "predictor": True}, {"bigtiff": True}])
def test_however_pixels_are_laid_out_they_are_the_same(options):
    pixels = noise()
    np.testing.assert_array_equal(decode(tiff(pixels, **options), (40, 60), np.uint16), pixels)


@pytest.mark.parametrize(
    ("dtype", "bits", "largest"), [(np.uint8, 8, 255), (np.uint16, 16, 65535), (np.uint16, 12, 4095)]
)
def test_where_white_is_zero_pixels_are_turned_around(dtype, bits, largest):
    """As Bio-Formats does: the value is taken from the largest one that fits into the bits of a sample."""
    stored = np.array([[0, 1, 100], [largest, largest - 1, 7]], dtype)
    data = tiff(stored, photometric="miniswhite", compression=None, bitspersample=bits)
    image = decode(data)
    assert image.dtype == dtype
    assert image.tolist() == [[largest, largest - 1, largest - 100], [0, 1, largest - 7]]


def test_twelve_bits_that_are_packed_keep_their_values():
    """CellProfiler divides them by 65535 unless the file names its maximum, as it does 12 bits in 16."""
    pixels = noise() % 4096
    np.testing.assert_array_equal(decode(tiff(pixels, compression=None, bitspersample=12), dtype=np.uint16), pixels)


def coloured(table: np.ndarray) -> bytes:
    return tiff(np.arange(256, dtype=np.uint8).reshape(8, 32), photometric="palette", colormap=table.astype(np.uint16))


def test_an_image_with_a_colour_table_is_refused():
    green = np.zeros((3, 256))
    green[1] = np.arange(256) * 257
    inverted = np.tile(np.arange(255, -1, -1) * 257, (3, 1))
    for table in (green, inverted):
        with pytest.raises(ImageError, match="has a colour table"):
            decode(coloured(table))


@pytest.mark.parametrize("unit", [1, 256, 257])
def test_a_colour_table_that_gives_each_value_its_own_grey_changes_nothing(unit):
    grey = np.tile(np.arange(256) * unit, (3, 1))
    assert decode(coloured(grey)).ravel().tolist() == list(range(256))


def test_an_image_that_does_not_say_which_end_is_black_is_refused():
    """Readers differ there: libtiff takes black for zero, Pillow white."""
    data = bytearray(tiff(noise()))
    place = data.index((262).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    data[place : place + 2] = (263).to_bytes(2, "little")  # Threshholding, which says nothing of pixels
    with pytest.raises(ImageError, match="does not say whether black or white is zero"):
        decode(bytes(data))


def test_a_small_file_that_inflates_to_a_huge_image_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr("imagecodecs.tiff_decode", lambda data: pytest.fail("it was decoded"))
    data = tiff(np.zeros((20_000, 20_000), np.uint8), compression="zlib", rowsperstrip=20_000)
    assert len(data) < 1_000_000
    with pytest.raises(
        ImageError, match=r"20000 x 20000 pixels .* uint8, which would take 381 MiB; at most 256 are read"
    ):
        decode(data)
    tiled = bytearray(tiff(noise(), tile=(16, 16), compression=None))
    for tag in (322, 323):  # the sides of a tile
        place = tiled.index(tag.to_bytes(2, "little"))
        tiled[place + 8 : place + 12] = (30_000).to_bytes(4, "little")
    with pytest.raises(ImageError, match="at most 256 are read"):
        decode(bytes(tiled))


NAMES_4095 = {"extratags": [(281, "H", 1, 4095, True)]}


@pytest.mark.parametrize(
    ("options", "full_scale", "divisor"),
    [
        (NAMES_4095, "metadata", 4095),
        (NAMES_4095, "bit depth", None),
        (NAMES_4095, 1000.0, 1000),
        ({}, "metadata", None),
        ({}, "bit depth", None),
        ({}, "bit depth only", None),
        ({}, 4095.0, 4095),
    ],
)
def test_pixels_are_divided_by_what_the_pipeline_and_the_file_say(options, full_scale, divisor):
    """`divisor` None: they stay whole numbers, and the engine divides them by 65535."""
    pixels = noise() % 4096
    image = decode(tiff(pixels, **options), full_scale=full_scale)
    expected = pixels if divisor is None else pixels.astype(np.float32) / np.float32(divisor)
    assert image.dtype == expected.dtype
    np.testing.assert_array_equal(image, expected)


def test_a_maximum_that_cannot_be_followed_is_refused():
    with pytest.raises(ImageError, match=r"names 4095 as its largest pixel value .* Costes"):
        decode(tiff(noise(), **NAMES_4095), full_scale="bit depth only")
    with pytest.raises(ImageError, match=r"names 4095 as its largest pixel value .* floating point"):
        decode(tiff(np.ones((12, 30), np.float32), **NAMES_4095))


def test_each_channel_is_held_to_its_own_type(storage):
    files = {
        "OrigDNA": planned(storage, "dna.tiff", tiff(noise())),
        "OrigBrightfield": planned(storage, "bf.tiff", tiff(noise(dtype=np.uint8))),
    }
    images = read_site(storage, files, (40, 60), {"OrigDNA": "uint16", "OrigBrightfield": "uint8"})
    assert {name: image.dtype for name, image in images.items()} == {"OrigDNA": np.uint16, "OrigBrightfield": np.uint8}
    with pytest.raises(ImageError, match=r"1 of 2 .* OrigBrightfield \(bf.tiff\) holds uint8 pixels where uint16"):
        read_site(storage, files, (40, 60), {"OrigDNA": "uint16", "OrigBrightfield": "uint16"})


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
