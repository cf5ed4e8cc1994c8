"""The chapter audit: the log of who did what.

Always true here: a `Log` is whole, as far as it goes: every entry is signed, and each that another one names is there.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from .base import HEADER_LENGTH, Bytes, Record, hash_of, must, name_of, object_header, unseal, unseal_to
from .signature import ENTRY, Signed, read_signed

ENTRY_MAX = 4194304
MAX_PREVIOUS = 64
MAX_SUBJECTS = 65535
FACTS_LENGTH = 37
BACKUP, FORGET, FORGOTTEN, KEY_REVOKE = 1, 2, 3, 6
RECORD_INFO = b"sheaf v1 audit entry"
# Who lets snapshots go.
KEEPERS = ("operator", "admin")


@dataclass
class Entry:
    identity: bytes
    signed: Signed
    previous: list
    chain: bytes
    facts: bytes
    bound: bytes
    sealed: bytes
    kind: int = 0
    time: int = 0
    action: str = ""
    result: str = ""
    snapshots: tuple = ()
    key: bytes | None = None


def split_entry(data, identity, repository, keys, what):
    """An entry whose facts are read, and whose record is still sealed."""
    must(len(data) <= ENTRY_MAX, f"{what}: too long")
    signed = read_signed(data, ENTRY, repository, keys, what)
    object_header(signed.data, b"A", repository, what)
    source = Bytes(signed.data, what)
    source.take(HEADER_LENGTH)
    count = source.number(2)
    must(count <= MAX_PREVIOUS, f"{what}: count of the previous entries")
    subjects = source.number(2)
    previous = [source.take(32) for _ in range(count)]
    must(all(one < other for one, other in zip(previous, previous[1:])), f"{what}: the previous entries do not rise")
    chain = hash_of(signed.data[: source.at])
    facts = source.take(FACTS_LENGTH + 32 * subjects)
    bound = hash_of(signed.data[: source.at])
    entry = Entry(identity, signed, previous, chain, facts, bound, source.take(source.left()))
    read_facts(entry, unseal_facts(entry, keys, what), what)
    return entry


def unseal_facts(entry, keys, what):
    return unseal(keys.every("audit_facts"), entry.facts, entry.chain, f"{what}: facts")


def read_facts(entry, data, what):
    source = Bytes(data, f"{what}: facts")
    entry.kind = source.number(1)
    entry.time = int.from_bytes(source.take(8), "little", signed=True)
    must(source.left() % 32 == 0, f"{what}: facts")
    entry.snapshots = tuple(source.take(32) for _ in range(source.left() // 32))


def unseal_record(entry, keys, what):
    return unseal_to(keys.every("audit_key"), entry.sealed, RECORD_INFO, entry.bound, f"{what}: record")


def read_record(entry, data, what):
    record = Record.decode(data, what)
    record.holds({2: str}, {4: str})
    entry.action, entry.result = record.get(0, str), record.get(1, str)
    entry.key = record.get(3, bytes, optional=True, size=32)
    record.get(5, bytes, optional=True, size=32)


def in_order(entries):
    """The entries, each behind all that it names; of several the one with the lowest time comes first."""
    waits = {identity: len(entry.previous) for identity, entry in entries.items()}
    followers = {identity: [] for identity in entries}
    for identity, entry in entries.items():
        for previous in entry.previous:
            must(previous in entries, f"{name_of('audit', previous)}: is not there, though {identity.hex()} follows it")
            followers[previous].append(identity)
    ready = [(entries[identity].time, identity) for identity, count in waits.items() if count == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        identity = heapq.heappop(ready)[1]
        order.append(entries[identity])
        for follower in followers[identity]:
            waits[follower] -= 1
            if waits[follower] == 0:
                heapq.heappush(ready, (entries[follower].time, follower))
    # Names are hashes, so that nobody can make a circle.
    must(len(order) == len(entries), "audit: the entries run in a circle")
    return order


class Log:
    """What the entries say that a reader decides by."""

    def __init__(self, order):
        self.order = order
        self.made, self.forgotten, self.gone, self.revoked = {}, set(), {}, {}
        for entry in order:
            what = name_of("audit", entry.identity)
            if entry.kind == BACKUP:
                self.made.update(dict.fromkeys(entry.snapshots, what))
            elif entry.kind in (FORGET, FORGOTTEN) and entry.signed.certificate.role in KEEPERS:
                self.forgotten.update(entry.snapshots)
                if entry.kind == FORGOTTEN:
                    self.gone.update(dict.fromkeys(entry.snapshots, what))
            elif entry.kind == KEY_REVOKE and entry.signed.certificate.role == "admin":
                must(entry.key is not None, f"{what}: does not say which key it takes away")
                self.revoked.setdefault(entry.key, set()).update(entry.snapshots)

    def believe(self, identity, maker):
        """Refuses a snapshot that a key signed after it had been taken away."""
        known = self.revoked.get(maker)
        must(known is None or identity in known, f"{name_of('snapshots', identity)}: was made with a key that was revoked")

    def all_there(self, snapshots):
        for identity in sorted(self.made.keys() - self.forgotten - set(snapshots)):
            must(False, f"{name_of('snapshots', identity)}: is not there, though {self.made[identity]} says that it was made")
        for identity in sorted(self.gone.keys() & set(snapshots)):
            must(False, f"{name_of('snapshots', identity)}: is there, though {self.gone[identity]} says that it was forgotten")


def open_log(storage, config, keys):
    """The whole log. Whoever cannot open its records sees that it is whole, and is refused."""
    entries = {}
    for identity in storage.list("audit"):
        what = name_of("audit", identity)
        data = storage.read_named("audit", identity, ENTRY_MAX)
        entry = entries[identity] = split_entry(data, identity, config.repository, keys, what)
        if keys.audit_key:
            read_record(entry, unseal_record(entry, keys, what), what)
    order = in_order(entries)
    must(keys.audit_key and keys.catalog_key, f"audit: the log of {len(order)} entries is whole; this key does not read it")
    return Log(order)
