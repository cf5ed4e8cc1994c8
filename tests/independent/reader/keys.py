"""The chapter keys: bundles, the password, and the derivations.

Always true here: other chapters see `Keys` alone, and neither secrets nor contexts beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import argon2.low_level

from .base import HEADER_LENGTH, Bytes, Record, Refused, derive, must, name_of, object_header, unseal

BUNDLE_MAX = 262144
OUTER_LENGTH = 64
PROTECTED_BY_PASSWORD = 1
MEMORY_MAX, PASSES_MAX, LANES_MAX = 1048576, 32, 16

CHUNK_ID = "sheaf v1 2026-11 chunk id"
REFERENCE_SECRET = "sheaf v1 2026-11 reference secret"
PACK_TRAILER = "sheaf v1 2026-11 pack trailer"
INDEX_SEGMENT = "sheaf v1 2026-11 index segment"
OPERATOR_PART = "sheaf v1 2026-11 snapshot operator part"


@dataclass
class Keys:
    """What an opened bundle gives, and the keys that follow from it. Other chapters ask for these alone."""

    index_key: bytes
    dedup_secret: bytes
    private_key: bytes
    record: Record | None = None
    reference_secret: bytes = field(init=False)
    pack_trailer: bytes = field(init=False)
    index_segment: bytes = field(init=False)
    operator_part: bytes = field(init=False)

    def __post_init__(self):
        self.reference_secret = derive(REFERENCE_SECRET, self.index_key)
        self.pack_trailer = derive(PACK_TRAILER, self.index_key)
        self.index_segment = derive(INDEX_SEGMENT, self.index_key)
        self.operator_part = derive(OPERATOR_PART, self.index_key)

    def secrets(self):
        return self.index_key, self.dedup_secret, self.private_key


def password_key(password, salt, memory, passes, lanes):
    kind = argon2.low_level.Type.ID
    return argon2.low_level.hash_secret_raw(password, salt, passes, memory, lanes, 32, kind, version=0x13)


def bundle_key(outer, password, what):
    """The key of a bundle's seal; nothing when it is protected by something that this reader does not know."""
    protection = outer.number(4)
    if protection != PROTECTED_BY_PASSWORD:
        return None
    memory, passes, lanes, salt = outer.number(4), outer.number(4), outer.number(4), outer.take(16)
    must(1 <= lanes <= LANES_MAX and 1 <= passes <= PASSES_MAX, f"{what}: lanes or passes of the password")
    must(8 * lanes <= memory <= MEMORY_MAX, f"{what}: memory of the password")
    return password_key(password, salt, memory, passes, lanes)


def bundle_record(data, repository, password, what):
    """The bytes of the record that is sealed in a bundle; nothing when the bundle is passed over."""
    must(len(data) <= BUNDLE_MAX, f"{what}: too long")
    object_header(data, b"K", repository, what)
    outer = Bytes(data[HEADER_LENGTH:OUTER_LENGTH], what)
    key = bundle_key(outer, password, what)
    if key is None:
        return None
    outer.end()
    return unseal(key, data[OUTER_LENGTH:], data[:OUTER_LENGTH], what)


def keys_of_record(data, config, what):
    record = Record.decode(data, what)
    record.holds({0: str, 1: str, 2: int})
    must(record.get(3, bytes) == config.stored, f"{what}: holds another config than the stored one")
    record.array(6, bytes, 32)
    # A restore needs all of them, whatever the table calls optional.
    return Keys(*(record.get(key, bytes, size=32) for key in (4, 5, 7)), record)


def find_keys(storage, config, password):
    """Tries the password on every bundle."""
    refusals = []
    for identity in storage.list("keys"):
        what = name_of("keys", identity)
        try:
            opened = bundle_record(storage.read_named("keys", identity, BUNDLE_MAX), config.repository, password, what)
        except Refused as refusal:
            refusals.append(str(refusal))
            continue
        if opened is not None:
            return keys_of_record(opened, config, what)
    raise Refused("; ".join(refusals) or "keys: there is no bundle for a password")
