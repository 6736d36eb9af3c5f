"""The single-cell store: features by name and meaning, one shard a well, plates that are published or not."""

from pipeline.cells.accessor import Cells
from pipeline.cells.assemble import SiteCells, assemble_site
from pipeline.cells.check import Damage, check_plate
from pipeline.cells.commit import put_well
from pipeline.cells.compartments import compartments_of
from pipeline.cells.create import create_plate, read_schema, write_schema
from pipeline.cells.encode import EncodedWell, encode_well
from pipeline.cells.frame import cells_frame
from pipeline.cells.image_table import encode_image_table, open_image_measurements, put_image_measurements
from pipeline.cells.object_tables import OtherObjects, open_objects, other_objects, put_object_measurements
from pipeline.cells.plates import is_published, is_readable, published_plates, read_publication
from pipeline.cells.publish import publication_standing, publish, publish_plate
from pipeline.cells.read import open_cells, read_well
from pipeline.cells.schema import Schema

__all__ = [
    "Cells",
    "Damage",
    "EncodedWell",
    "OtherObjects",
    "Schema",
    "SiteCells",
    "assemble_site",
    "cells_frame",
    "check_plate",
    "compartments_of",
    "create_plate",
    "encode_image_table",
    "encode_well",
    "is_published",
    "is_readable",
    "open_cells",
    "open_image_measurements",
    "open_objects",
    "other_objects",
    "publication_standing",
    "publish",
    "publish_plate",
    "published_plates",
    "put_image_measurements",
    "put_object_measurements",
    "put_well",
    "read_publication",
    "read_schema",
    "read_well",
    "write_schema",
]
