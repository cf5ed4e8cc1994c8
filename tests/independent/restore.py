#!/usr/bin/env python3
"""Restores a snapshot of a Sheaf repository, knowing nothing but the specification in `format-spec/`.

    restore.py REPOSITORY SNAPSHOT-ID-PREFIX OUT    the password stands in SHEAF_PASSWORD
    restore.py --vectors [FORMAT-SPEC]              compares with the examples and known answers of the chapters
    restore.py --damage [FORMAT-SPEC]               changes every byte of the example repository and asks for its disk

Needs the packages cryptography, blake3, argon2-cffi and zstandard. It shares no code with the program, so that what it reads
is what the chapters say. It is meant for small repositories.

Always true here:
- Each structure has one function in `reader/`, under its chapter's name, which makes the checks of that chapter.
- What breaks a "must" ends the run with status 1 and a line that names the object. OUT is there only when all went well.
"""

from __future__ import annotations

import os
import sys

sys.dont_write_bytecode = True

from reader.base import CONFIG_MAX, Refused, Storage, must, name_of, open_config
from reader.chunks import Chunks
from reader.damage import damage
from reader.keys import find_keys
from reader.snapshot import SNAPSHOT_MAX, open_snapshot, read_references
from reader.trees import read_disk_map, walk
from reader.vectors import compare


def write_disk(chunks, keys, snapshot, extents, ids, out):
    """Writes the kept bytes to their places. What is not written stays a hole of the file, which reads as zeros."""
    places = iter(extents)
    start, length = 0, 0
    for part in walk(chunks, keys.dedup_secret, snapshot.data, ids):
        part = memoryview(part)
        while part:
            if not length:
                start, length = next(places)
            count = min(length, len(part))
            out.seek(start)
            out.write(part[:count])
            part, start, length = part[count:], start + count, length - count
    out.truncate(snapshot.size)


def find_snapshot(storage, prefix):
    found = [identity for identity in storage.list("snapshots") if identity.hex().startswith(prefix)]
    must(len(found) == 1, f"snapshots: {len(found)} begin with {prefix}")
    return found[0]


def restore(storage, prefix, out, password):
    config = open_config(storage.read("config", CONFIG_MAX))
    keys = find_keys(storage, config, password)
    identity = find_snapshot(storage, prefix)
    what = name_of("snapshots", identity)
    snapshot = open_snapshot(storage.read_named("snapshots", identity, SNAPSHOT_MAX), config, keys, what)
    chunks = Chunks(storage, config, keys)
    ids = set()
    extents = read_disk_map(chunks, keys, snapshot, ids)
    with open(out, "xb") as file:
        try:
            write_disk(chunks, keys, snapshot, extents, ids, file)
            missing = ids - read_references(chunks, keys, snapshot)
            must(not missing, f"{what}: {len(missing)} chunks are not in the reference list")
        except BaseException:
            os.unlink(out)
            raise
    return f"restored {snapshot.size} bytes of snapshot {identity.hex()}, {snapshot.data.span} of them kept"


def main(arguments):
    if arguments[:1] == ["--vectors"] and len(arguments) <= 2:
        return compare(restore, *arguments[1:])
    if arguments[:1] == ["--damage"] and len(arguments) <= 2:
        return damage(restore, *arguments[1:])
    if len(arguments) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        repository, snapshot, out = arguments
        print(restore(Storage(repository), snapshot, out, os.environb.get(b"SHEAF_PASSWORD", b"")))
        return 0
    except (Refused, OSError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
