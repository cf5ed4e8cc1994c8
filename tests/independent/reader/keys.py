"""The chapter keys: bundles, the two protections, the card, and the derivations.

Always true here: other chapters see `Keys` alone, and neither bundles nor contexts beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import argon2.low_level

from .base import (
    ENCAPSULATED_LENGTH, HEADER_LENGTH, SEALED_LENGTH, Bytes, Record, Refused, derive, key_sealed_to, must, name_of, object_header,
    unseal, unseal_to,
)
from .certificate import Certificate, read_certificate
from .primitives import ed25519_public, hpke_open, x25519_public
from .printed import is_printed, read_printed

BUNDLE_MAX, CARD_MAX = 262144, 16384
PROTECTED_BY_PASSWORD, PROTECTED_BY_RECIPIENT = 1, 2
MEMORY_MAX, PASSES_MAX, LANES_MAX = 1048576, 32, 16
BUNDLE_INFO, CARD_INFO, ESCROW_INFO = b"sheaf v1 bundle key", b"sheaf v1 key card", b"sheaf v1 bundle escrow"
ESCROW_LENGTH = ENCAPSULATED_LENGTH + SEALED_LENGTH

CHUNK_ID = "sheaf v1 2026-11 chunk id"
REFERENCE_SECRET = "sheaf v1 2026-11 reference secret"
PACK_TRAILER = "sheaf v1 2026-11 pack trailer"
INDEX_SEGMENT = "sheaf v1 2026-11 index segment"
SIGNATURE = "sheaf v1 2026-11 signature"
SESSION = "sheaf v1 2026-11 session"
RETIREMENT = "sheaf v1 2026-11 retirement"
AUDIT_FACTS = "sheaf v1 2026-11 audit facts"


@dataclass
class Keys:
    """What an opened bundle gives, and the keys that follow from it. Other chapters ask for these alone."""

    authority: bytes
    index_key: bytes
    dedup_secret: bytes | None = None
    private_key: bytes | None = None
    catalog_key: bytes | None = None
    audit_key: bytes | None = None
    certificate: Certificate | None = None
    record: Record | None = None
    earlier: tuple = ()
    reference_secret: bytes = field(init=False)
    pack_trailer: bytes = field(init=False)
    index_segment: bytes = field(init=False)
    signatures: bytes = field(init=False)
    sessions: bytes = field(init=False)
    retirements: bytes = field(init=False)
    audit_facts: bytes = field(init=False)

    def __post_init__(self):
        self.reference_secret = derive(REFERENCE_SECRET, self.index_key)
        self.pack_trailer = derive(PACK_TRAILER, self.index_key)
        self.index_segment = derive(INDEX_SEGMENT, self.index_key)
        self.signatures = derive(SIGNATURE, self.index_key)
        self.sessions = derive(SESSION, self.index_key)
        self.retirements = derive(RETIREMENT, self.index_key)
        self.audit_facts = derive(AUDIT_FACTS, self.index_key)

    def every(self, name):
        """A key of this name, and those that it replaced in their order; of a role that has none, none."""
        return tuple(key for one in (self, *self.earlier) if (key := getattr(one, name)) is not None)

    def secrets(self):
        return self.authority, self.index_key, self.dedup_secret, self.private_key, self.catalog_key, self.audit_key


# ---- protections --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Password:
    """A password, which opens bundles of the first protection."""

    password: bytes
    kind = "a password"


@dataclass(frozen=True)
class Recipient:
    """A private key, which opens bundles of the second protection that are sealed to its public key."""

    private: bytes
    kind = "this key"


def protection_of(password, key_file=None):
    """What a person typed: a password, a printed key, or the name of a file with a line that is one."""
    if key_file is not None:
        with open(key_file, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if is_printed(line):
                    return Recipient(read_printed(line.strip()))
        raise Refused(f"{key_file}: has no line that begins with SHEAF-KEY")
    text = password.decode("utf-8", "replace").strip()
    return Recipient(read_printed(text)) if is_printed(text) else Password(password)


def password_key(password, salt, memory, passes, lanes):
    kind = argon2.low_level.Type.ID
    return argon2.low_level.hash_secret_raw(password, salt, passes, memory, lanes, 32, kind, version=0x13)


def key_of_password(source, mine, what):
    memory, passes, lanes, salt = source.number(4), source.number(4), source.number(4), source.take(16)
    if not isinstance(mine, Password):
        return None
    must(1 <= lanes <= LANES_MAX and 1 <= passes <= PASSES_MAX, f"{what}: lanes or passes of the password")
    must(8 * lanes <= memory <= MEMORY_MAX, f"{what}: memory of the password")
    return password_key(mine.password, salt, memory, passes, lanes)


def key_of_recipient(source, repository, mine, what):
    public, enc, sealed = source.take(32), source.take(ENCAPSULATED_LENGTH), source.take(SEALED_LENGTH)
    if not isinstance(mine, Recipient) or public != x25519_public(mine.private):
        return None
    return hpke_open(mine.private, enc, BUNDLE_INFO, repository, sealed, f"{what}: key of the bundle")


# ---- the bundle ---------------------------------------------------------------------------------------------------------


@dataclass
class Opened:
    """A bundle whose seal has been opened."""

    header: bytes
    card: bytes
    escrow: bytes
    key: bytes
    record: bytes


def open_bundle(data, repository, mine, what):
    """An opened bundle; nothing when it is passed over, since it is for others or of an unknown protection."""
    must(len(data) <= BUNDLE_MAX, f"{what}: too long")
    object_header(data, b"K", repository, what)
    source = Bytes(data, what)
    header, protection = source.take(HEADER_LENGTH), source.number(4)
    if protection == PROTECTED_BY_PASSWORD:
        key = key_of_password(source, mine, what)
    elif protection == PROTECTED_BY_RECIPIENT:
        key = key_of_recipient(source, repository, mine, what)
    else:
        return None
    length = source.number(4)
    must(length <= CARD_MAX, f"{what}: length of the card")
    card, escrow = source.take(length), source.take(ESCROW_LENGTH)
    if key is None:
        return None
    return Opened(header, card, escrow, key, unseal(key, data[source.at :], data[: source.at], what))


def keys_of_record(data, config, what):
    record = Record.decode(data, what)
    must(record.get(1, bytes) == config.stored, f"{what}: holds another config than the stored one")
    authority, seed, index_key, _, _ = (record.get(key, bytes, size=32) for key in (2, 3, 4, 5, 11))
    record.array(6, bytes, 32)
    dedup, private, catalog, _, audit = (record.get(key, bytes, optional=True, size=32) for key in (7, 8, 9, 10, 12))
    certificate = read_certificate(record.get(0, bytes), authority, config.repository, what)
    must(certificate.key == ed25519_public(seed), f"{what}: the certificate is not that of the signing key")
    earlier = tuple(keys_of_epoch(Record(epoch, f"{what}: earlier"), authority) for epoch in record.value.get(13) or ())
    return Keys(authority, index_key, dedup, private, catalog, audit, certificate, record, earlier)


def keys_of_epoch(record, authority):
    """What a rotation replaced."""
    others = (record.get(key, bytes, optional=True, size=32) for key in (1, 2, 3, 4))
    return Keys(authority, record.get(0, bytes, size=32), *others)


def unseal_card(opened, catalog_key, what):
    return unseal_to(catalog_key, opened.card, CARD_INFO, opened.header, f"{what}: card")


def unseal_escrow(opened, private_keys, what):
    return key_sealed_to(private_keys, opened.escrow, ESCROW_INFO, opened.header, f"{what}: escrow")


def keys_of_bundle(opened, config, what):
    keys = keys_of_record(opened.record, config, what)
    if keys.catalog_key:
        card = unseal_card(opened, keys.every("catalog_key"), what)
        must(card == keys.certificate.stored, f"{what}: the card is not the certificate of the bundle's key")
    if keys.certificate.role == "admin":
        escrow = unseal_escrow(opened, keys.every("private_key"), what)
        must(escrow == opened.key, f"{what}: the escrow has not the key of the record")
    return keys


def find_keys(storage, config, mine):
    """Tries a password or a private key on every bundle."""
    refusals = []
    for identity in storage.list("keys"):
        what = name_of("keys", identity)
        try:
            opened = open_bundle(storage.read_named("keys", identity, BUNDLE_MAX), config.repository, mine, what)
        except Refused as refusal:
            refusals.append(str(refusal))
            continue
        if opened is not None:
            return keys_of_bundle(opened, config, what)
    raise Refused("; ".join(refusals) or f"keys: there is no bundle for {mine.kind}")
