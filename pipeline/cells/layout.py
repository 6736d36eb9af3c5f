"""Where the single-cell store keeps what, and the zarr array of a plate.

    features.json, features.zarr/               one feature table for the screen
    cells/<batch>/<plate>/zarr.json             group; attrs: batch, plate, wells, schema, ...
    cells/<batch>/<plate>/features/zarr.json    (well, cell, feature) float32
    cells/<batch>/<plate>/features/c/<w>/0/0    one object per well, w row-major: A01 = 0
    cells/<batch>/<plate>/{well,row,column}     written with the group, before any worker starts
    cells/<batch>/<plate>/{cell_count,...}      written when the plate is published
    plates/<batch>/<plate>.json                 the publication, written last
    image_measurements/<batch>/<plate>/<well>.parquet, <batch>/<plate>.parquet
    objects/<batch>/<plate>/<well>/<set>.parquet        object sets that make no cell

Bytes are made in memory, by zarr, and put by `pipeline.storage`: zarr's own stores read a shard before they write it,
and write it in parts. See docs/storage.md of the measurements behind the numbers here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import google_crc32c
import numcodecs
import numpy as np
import zarr
from zarr.abc.buffer import Buffer
from zarr.buffer import cpu
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, TransposeCodec
from zarr.storage import MemoryStore

from pipeline.screen import Plate

#: of the store's layout; another number means other bytes for the same cells
FORMAT = 1

#: cells and features of one block, the least that is read; the first block of columns is the index
BLOCK_CELLS, BLOCK_FEATURES = 2048, 100

#: float32 holds every integer below this
LARGEST_INTEGER = 2**24


def plate_folder(plate: Plate) -> str:
    return f"cells/{plate.key}"


def shard_key(plate: Plate, index: int) -> str:
    """Key of a well's shard; `index` counts the wells of the plate's format row by row."""
    return f"{plate_folder(plate)}/features/{_chunk(index)}"


def publication_key(plate: Plate) -> str:
    return f"plates/{plate.key}.json"


def object_table_key(plate: Plate, well: str, name: str) -> str:
    """Key of the objects of a set, in a well, that make no cell."""
    return f"objects/{plate.key}/{well}/{name}.parquet"


def image_table_key(plate: Plate, well: str | None = None) -> str:
    """Key of the image measurements of a well, or of the whole plate."""
    return (
        f"image_measurements/{plate.key}.parquet" if well is None else f"image_measurements/{plate.key}/{well}.parquet"
    )


def features_array(
    store: MemoryStore, wells: int, capacity: int, columns: int, name: str | None = None, **attributes: Any
) -> zarr.Array:
    """Create the array of `wells` wells in a store in memory.

    Blocks hold feature after feature, because one feature's values resemble each other, and end in a checksum,
    without which most damage reads as wrong numbers. One shard holds a well.
    """
    rows = min(BLOCK_CELLS, capacity)
    return zarr.create_array(
        store,
        name=name,
        shape=(wells, capacity, columns),
        dtype="float32",
        chunks=(1, rows, BLOCK_FEATURES),
        shards=(1, _ceil(capacity, rows), _ceil(columns, BLOCK_FEATURES)),
        filters=[TransposeCodec(order=(0, 2, 1))],
        serializer=BytesCodec(endian="little"),
        compressors=[BloscCodec(typesize=4, cname="zstd", clevel=3, shuffle="shuffle"), Crc32cCodec()],
        fill_value=np.nan,
        dimension_names=("well", "cell", "feature"),
        attributes=attributes,
    )


def encode_rows(values: np.ndarray, capacity: int) -> bytes:
    """The shard of a well: float32 (rows, columns) -> bytes, the same bytes always. At least one row."""
    objects: dict[str, Buffer] = {}
    array = features_array(MemoryStore(objects), 1, capacity, values.shape[1])
    array[0, : len(values)] = values
    return objects[_chunk(0)].to_bytes()


def open_shard(data: bytes, capacity: int, columns: int) -> zarr.Array:
    """The array (1, capacity, columns) of one well, read from the bytes of its shard.

    Reading from it raises `ValueError` or `RuntimeError` where the bytes are damaged.
    """
    objects: dict[str, Buffer] = {
        "zarr.json": cpu.Buffer.from_bytes(_metadata(capacity, columns)),
        _chunk(0): cpu.Buffer.from_bytes(data),
    }
    return zarr.open_array(MemoryStore(objects), mode="r")


class Blocks(NamedTuple):
    """How the shards of a plate are cut: the twin of `features_array`, for readers of a part of one."""

    capacity: int
    columns: int

    @property
    def rows(self) -> int:
        return min(BLOCK_CELLS, self.capacity)

    @property
    def index_size(self) -> int:
        """Bytes at the end of a shard that say where its blocks are."""
        return 16 * (-(-self.capacity // self.rows)) * (-(-self.columns // BLOCK_FEATURES)) + 4

    def places(self, end: bytes) -> np.ndarray:
        """int64 (blocks of rows, blocks of columns, 2): first byte and number of bytes of each block, -1 for one of
        nothing but NaN. `end`: the last `index_size` bytes of the shard. Raises `ValueError` where they are damaged."""
        if len(end) != self.index_size:
            raise ValueError(f"it has {len(end)} bytes, fewer than its index alone")
        return np.frombuffer(_checked(end), "<i8").reshape(-1, -(-self.columns // BLOCK_FEATURES), 2)

    def decode(self, data: bytes) -> np.ndarray:
        """A block as float32 (columns, rows). Raises `ValueError` or `RuntimeError` where it is damaged."""
        values = np.frombuffer(_BLOSC.decode(_checked(data)), "<f4")
        return values.reshape(BLOCK_FEATURES, self.rows)


_BLOSC = numcodecs.Blosc()


def _checked(data: bytes) -> bytes:
    """Bytes without the CRC-32C at their end."""
    if google_crc32c.value(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise ValueError("its checksum is another")
    return data[:-4]


def plain_array(
    store: MemoryStore, name: str, values: np.ndarray | list[str], *dimensions: str, **attributes: Any
) -> None:
    """Write a small array as one object beside the others of a group. Lists of text become variable-length strings."""
    is_text = isinstance(values, list)
    data = np.array(values, dtype=object if is_text else None)
    array = zarr.create_array(
        store,
        name=name,
        shape=data.shape,
        dtype="string" if is_text else data.dtype,
        chunks=data.shape,
        dimension_names=dimensions,
        attributes=attributes,
        # Coordinates of nothing but zeros must be objects too: what is not there cannot be told from what is lost.
        config={"write_empty_chunks": True},
    )
    array[...] = data


def encoded(objects: Mapping[str, Buffer], folder: str) -> dict[str, bytes]:
    """What zarr wrote to a store in memory, as keys below `folder` and bytes."""
    return {f"{folder}/{key}": value.to_bytes() for key, value in objects.items()}


@lru_cache(maxsize=8)
def _metadata(capacity: int, columns: int) -> bytes:
    objects: dict[str, Buffer] = {}
    features_array(MemoryStore(objects), 1, capacity, columns)
    return objects["zarr.json"].to_bytes()


def _chunk(index: int) -> str:
    return f"c/{index}/0/0"


def _ceil(number: int, step: int) -> int:
    return -(-number // step) * step
