"""The chapters tree and manifest: from a root to a sequence of bytes, and from the disk map to places on the disk.

Always true here: a walk ends after `MAX_DEPTH` levels, and a map covers each byte of the disk exactly once.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .base import Bytes, must
from .chunks import chunk_id

# ---- tree ---------------------------------------------------------------------------------------------------------------

MAX_DEPTH = 12
MAX_ENTRIES = 2048
ENTRY_LENGTH = 40


@dataclass(frozen=True)
class Root:
    span: int
    depth: int
    key: bytes | None


def read_root(record):
    root = Root(record.unsigned(0), record.unsigned(1), record.get(2, bytes, optional=True, size=32))
    must(root.depth <= MAX_DEPTH, f"{record.what}: depth")
    must((root.key is not None) == (root.span != 0) and (root.span or not root.depth), f"{record.what}: a root")
    return root


def read_node(data, level, span, what):
    """The keys and spans that a node lists."""
    node = Bytes(data, what)
    must(node.take(2) == b"SN" and node.number(1) == level, f"{what}: magic or level of a node")
    node.zeros(1)
    count = node.number(4)
    must(1 <= count <= MAX_ENTRIES and count * ENTRY_LENGTH == node.left(), f"{what}: count of a node")
    entries = [(node.take(32), node.number(8)) for _ in range(count)]
    must(all(size for _, size in entries) and sum(size for _, size in entries) == span < 1 << 64, f"{what}: spans of a node")
    return entries


def walk(chunks, secret, root, ids=None):
    """The chunks of a tree's sequence in order. The ids of chunks and nodes are added to `ids`."""

    def below(key, span, depth):
        identity = chunk_id(key)
        if ids is not None:
            ids.add(identity)
        if depth == 0:
            yield chunks.get(key, secret, span)
            return
        for entry in read_node(chunks.get(key, secret, None), depth - 1, span, f"node {identity.hex()}"):
            yield from below(*entry, depth - 1)

    if root.key is not None:
        yield from below(root.key, root.span, root.depth)


# ---- manifest -----------------------------------------------------------------------------------------------------------

RECORD = struct.Struct("<BBHIQQ")
MAX_RECORDS = 16777216
STREAM, EXTENT, HOLE = 1, 2, 3


def read_map(data, size, kept):
    """The extents of a disk map in the order of the kept bytes, as starts and lengths."""
    extents, holes = [], []
    due, left = 0, 0
    for tag, kind, reserved, count, start, length in RECORD.iter_unpack(data):
        if tag == STREAM:
            # Of a stream the two last fields are its length and a reserved one.
            must(kind <= 3 and reserved == 0 and length == 0, "disk map: a stream")
            must(due == 0, "disk map: a stream before the extents of the last one")
            due, left = count, start
            must(due or not left, "disk map: a stream without extents that has a length")
            continue
        must(reserved == count == 0 and 0 < length and start + length < 1 << 64, "disk map: a record")
        if tag == EXTENT:
            must(kind == 0 and due > 0 and length <= left, "disk map: an extent")
            due, left = due - 1, left - length
            must(due or not left, "disk map: the extents of a stream are shorter than it says")
            extents.append((start, length))
        else:
            must(tag == HOLE and kind <= 3 and due == 0, "disk map: a hole")
            holes.append((start, length))
    must(due == 0, "disk map: ends within a stream")
    at = 0
    for start, length in sorted(extents + holes):
        must(start == at, f"disk map: byte {min(start, at)} is covered not once")
        at += length
    must(at == size, "disk map: does not end where the disk ends")
    must(sum(length for _, length in extents) == kept, "disk map: keeps other bytes than the data tree has")
    return extents


def read_disk_map(chunks, keys, snapshot, ids):
    span = snapshot.map.span
    must(span % RECORD.size == 0 and span // RECORD.size <= MAX_RECORDS, "disk map: length")
    parts = []
    for part in walk(chunks, keys.every("dedup_secret"), snapshot.map, ids):
        must(len(part) % RECORD.size == 0, "disk map: a chunk without whole records")
        parts.append(part)
    return read_map(b"".join(parts), snapshot.size, snapshot.data.span)
