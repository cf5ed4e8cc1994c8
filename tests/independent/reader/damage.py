"""Changes each byte of each object of the example repository, and asks for the disk.

Always true here: an object is changed under its name, and once more with the name or the checksum that goes with its changed
bytes, so that these prove nothing and the seals and signatures have to. The log says that the snapshot was made, which would
refuse another one in its place; so it is there only when it is damaged itself. A restore passes over sessions and retirements; whoever
asks for these is refused.
"""

from __future__ import annotations

import os
import tempfile

from .base import Memory, Refused, hash_of, name_of, parse_name
from .spec import Spec, example_password, here
from .vectors import example_repository

# What a restore passes over.
BESIDE = ("sessions/", "retired/")


def read(spec, objects, snapshot, out, mine):
    """The disk, or None when the reader refuses. Any other exception ends the run."""
    try:
        spec.restore(Memory(objects), snapshot.hex(), out, mine)
    except Refused:
        assert not os.path.exists(out), "there is a file though the reader refused"
        return None
    with open(out, "rb") as file:
        disk = file.read()
    os.unlink(out)
    return disk


def read_all(lines, objects, mine):
    """The lines of a log or a list, or None when the reader refuses."""
    try:
        return list(lines(Memory(objects), mine))
    except Refused:
        return None


def damaged(objects, snapshot):
    """What was done, the repository after it, and the snapshot to ask for."""
    for name, data in objects.items():
        kind, _ = parse_name(name)
        others = {other: bytes for other, bytes in objects.items() if other != name and not other.startswith("audit/")}
        for at in range(len(data)):
            changed = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
            yield f"{name}, byte {at}", {**others, name: changed}, snapshot
            if kind == "config":
                # Its name does not depend on its bytes, but its checksum does, which undoes a change of its own.
                if at >= len(data) - 32:
                    continue
                forged = {**others, name: changed[:-32] + hash_of(changed[:-32])}
                yield f"{name}, byte {at}, forged", forged, snapshot
            else:
                identity = hash_of(changed)
                forged = {**others, name_of(kind, identity): changed}
                yield f"{name}, byte {at}, forged", forged, identity if kind == "snapshots" else snapshot


def damage(restore, audit, running, folder=None):
    """Says how many damages were refused, and gives the exit status."""
    spec = Spec(folder or here(), restore)
    objects, snapshot = example_repository(spec)
    mine, refused, accepted = example_password(spec), 0, 0
    with tempfile.TemporaryDirectory() as place:
        out = os.path.join(place, "disk")
        disk, log, beside = read(spec, objects, snapshot, out, mine), read_all(audit, objects, mine), read_all(running, objects, mine)
        assert disk and log and len(beside) == 2, "the example is refused before any damage"
        for what, changed, asked in damaged(objects, snapshot):
            found = read(spec, changed, asked, out, mine)
            # A damaged log is refused by a restore with this key, and by whoever asks for the log.
            if what.startswith("audit/") and found is None and read_all(audit, changed, mine) is not None:
                found = disk
            if what.startswith(BESIDE):
                assert found == disk, f"{what}: a restore does not pass over it"
                found = disk if read_all(running, changed, mine) is not None else None
            if found is None:
                refused += 1
            else:
                accepted += 1
                print(f"{'not noticed' if found == disk else 'wrong bytes'}: {what}")
    print(f"refused {refused} damages")
    return 1 if accepted or not refused else 0
