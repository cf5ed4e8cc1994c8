"""The chapter session: who is reading and writing now.

Always true here: a `Session` was sealed by a holder of the index key, and what it knows are whole ids that rise.
"""

from __future__ import annotations

from dataclasses import dataclass

from .base import HEADER_LENGTH, Record, must, object_header, unseal, unseal_to

SESSION_MAX = 4194304
HOLDER_INFO = b"sheaf v1 session holder"
STORES, READS, PRUNES = 1, 2, 3


@dataclass(frozen=True)
class Session:
    """What everybody with the index key reads of a lease. The holder is still sealed."""

    nonce: bytes
    renewal: int
    kind: int
    known: tuple
    holder: bytes


@dataclass(frozen=True)
class Holder:
    host: str
    process: int
    command: str
    began: int


def rising(known, what):
    """The ids that stand in these bytes."""
    must(len(known) % 32 == 0, f"{what}: what it knows are not whole ids")
    ids = tuple(known[at : at + 32] for at in range(0, len(known), 32))
    must(all(one < other for one, other in zip(ids, ids[1:])), f"{what}: the ids that it knows do not rise")
    return ids


def unseal_session(data, repository, keys, what):
    must(len(data) <= SESSION_MAX, f"{what}: too long")
    object_header(data, b"L", repository, what)
    return unseal(keys.every("sessions"), data[HEADER_LENGTH:], data[:HEADER_LENGTH], f"{what}: record")


def read_session(data, what):
    record = Record.decode(data, what)
    nonce, renewal, kind = record.get(0, bytes, size=32), record.unsigned(1), record.unsigned(2)
    must(kind <= 255, f"{what}: kind")
    kind = kind if kind in (STORES, READS, PRUNES) else STORES
    return Session(nonce, renewal, kind, rising(record.get(3, bytes), what), record.get(4, bytes))


def unseal_holder(session, keys, what):
    return unseal_to(keys.every("catalog_key"), session.holder, HOLDER_INFO, session.nonce, f"{what}: holder")


def read_holder(data, what):
    record = Record.decode(data, f"{what}: holder")
    process = record.unsigned(1)
    must(process < 1 << 32, f"{what}: holder: process")
    return Holder(record.get(0, str), process, record.get(2, str), record.get(3, int))


def open_session(data, repository, keys, what):
    """A lease, and who holds it for those who have the catalog's key."""
    session = read_session(unseal_session(data, repository, keys, what), what)
    holder = read_holder(unseal_holder(session, keys, what), what) if keys.catalog_key else None
    return session, holder
