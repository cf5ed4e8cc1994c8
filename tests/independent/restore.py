#!/usr/bin/env python3
"""Restores a snapshot of a Sheaf repository, knowing nothing but the specification in `format-spec/`.

    restore.py REPOSITORY SNAPSHOT-ID-PREFIX OUT    writes the disk of a snapshot
    restore.py REPOSITORY --audit                   proves the log, and prints an entry a line, as JSON
    restore.py REPOSITORY --running                 proves sessions and retirements, and prints each as a line of JSON
    restore.py REPOSITORY --parity                  proves the parity of every object, and prints how each is cut
    restore.py --vectors [FORMAT-SPEC]              compares with the examples and known answers of the chapters
    restore.py --damage [FORMAT-SPEC]               changes every byte of the example repository and asks for its disk

SHEAF_PASSWORD has the password, or the text of a printed key; SHEAF_KEY_FILE, where it is set, names a file with such a text.
Needs the packages cryptography, blake3, argon2-cffi and zstandard. It shares no code with the program, so that what it reads
is what the chapters say. It is meant for small repositories. With a key that reads the log, a disk is restored only where the
log is whole and does not say that the key which made the snapshot had been taken away before.

Always true here:
- Each structure has one function in `reader/`, under its chapter's name, which makes the checks of that chapter.
- What breaks a "must" ends the run with status 1 and a line that names the object. OUT is there only when all went well.
"""

from __future__ import annotations

import datetime
import json
import os
import sys

sys.dont_write_bytecode = True

from reader.audit import open_log
from reader.base import CONFIG_MAX, Refused, Storage, must, name_of, open_config
from reader.chunks import Chunks
from reader.damage import damage
from reader.keys import find_keys, protection_of
from reader.retired import RETIRED_MAX, open_retirement
from reader.session import SESSION_MAX, open_session
from reader.parity import check_all
from reader.snapshot import SNAPSHOT_MAX, open_operator_part, open_snapshot, read_references, split_snapshot
from reader.trees import read_disk_map, walk
from reader.vectors import compare


def write_disk(chunks, keys, snapshot, extents, ids, out):
    """Writes the kept bytes to their places. What is not written stays a hole of the file, which reads as zeros."""
    places = iter(extents)
    start, length = 0, 0
    for part in walk(chunks, keys.every("dedup_secret"), snapshot.data, ids):
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


def restore(storage, prefix, out, mine):
    config = open_config(storage.read("config", CONFIG_MAX))
    keys = find_keys(storage, config, mine)
    identity = find_snapshot(storage, prefix)
    what = name_of("snapshots", identity)
    snapshot = open_snapshot(storage.read_named("snapshots", identity, SNAPSHOT_MAX), config, keys, what)
    must(keys.dedup_secret is not None, f"{what}: this key reads no disks")
    chunks = Chunks(storage, config, keys)
    ids = set()
    extents = read_disk_map(chunks, keys, snapshot, ids)
    if keys.audit_key and keys.catalog_key:
        open_log(storage, config, keys).believe(identity, snapshot.maker)
    with open(out, "xb") as file:
        try:
            write_disk(chunks, keys, snapshot, extents, ids, file)
            missing = ids - read_references(chunks, keys, snapshot)
            must(not missing, f"{what}: {len(missing)} chunks are not in the reference list")
        except BaseException:
            os.unlink(out)
            raise
    return f"restored {snapshot.size} bytes of snapshot {identity.hex()}, {snapshot.data.span} of them kept"


def instant(time):
    """Milliseconds since 1970 as text; a time of no year that has four digits stays a number."""
    try:
        start = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        return (start + datetime.timedelta(milliseconds=time)).isoformat(timespec="milliseconds")
    except OverflowError:
        return time


def audit(storage, mine):
    """The lines of the log, once all of it is proved: also that each snapshot is one that the log lets be there."""
    config = open_config(storage.read("config", CONFIG_MAX))
    keys = find_keys(storage, config, mine)
    log = open_log(storage, config, keys)
    snapshots = storage.list("snapshots")
    for identity in snapshots:
        what = name_of("snapshots", identity)
        parts = split_snapshot(storage.read_named("snapshots", identity, SNAPSHOT_MAX), config.repository, keys, what)
        open_operator_part(parts, keys, what)
        log.believe(identity, parts.signed.maker)
    log.all_there(snapshots)
    for entry in log.order:
        line = {"time": instant(entry.time), "label": entry.signed.certificate.label, "action": entry.action}
        line |= {"result": entry.result, "snapshots": [identity.hex() for identity in entry.snapshots]}
        yield json.dumps(line)


def running(storage, mine):
    """The leases and retirements that are there. A restore passes over both."""
    config = open_config(storage.read("config", CONFIG_MAX))
    keys = find_keys(storage, config, mine)
    for identity in storage.list("sessions"):
        what = name_of("sessions", identity)
        session, holder = open_session(storage.read_named("sessions", identity, SESSION_MAX), config.repository, keys, what)
        line = {"session": session.nonce.hex(), "renewal": session.renewal, "kind": session.kind}
        line["known"] = [known.hex() for known in session.known]
        if holder:
            line |= {"host": holder.host, "process": holder.process, "command": holder.command, "began": holder.began}
        yield json.dumps(line)
    for identity in storage.list("retired"):
        what = name_of("retired", identity)
        found = open_retirement(storage.read_named("retired", identity, RETIRED_MAX), config.repository, keys, what)
        condemned = {"packs": [pack.hex() for pack in found.packs], "segments": [segment.hex() for segment in found.segments]}
        yield json.dumps({"retirement": identity.hex(), "time": found.time} | condemned)


LISTS = {"--audit": audit, "--running": running}


def main(arguments):
    if arguments[:1] == ["--vectors"] and len(arguments) <= 2:
        return compare(restore, *arguments[1:])
    if arguments[:1] == ["--damage"] and len(arguments) <= 2:
        return damage(restore, audit, running, *arguments[1:])
    wanted = LISTS.get(arguments[1]) if len(arguments) == 2 else None
    wants_parity = len(arguments) == 2 and arguments[1] == "--parity"
    if len(arguments) != 3 and not wanted and not wants_parity:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        if wants_parity:
            # Without a key.
            storage = Storage(arguments[0])
            for line in list(check_all(storage, open_config(storage.read("config", CONFIG_MAX)))):
                print(line)
            return 0
        mine = protection_of(os.environb.get(b"SHEAF_PASSWORD", b""), os.environ.get("SHEAF_KEY_FILE"))
        storage = Storage(arguments[0])
        if wanted:
            lines = list(wanted(storage, mine))
        else:
            lines = [restore(storage, *arguments[1:], mine)]
        for line in lines:
            print(line)
        return 0
    except (Refused, OSError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
