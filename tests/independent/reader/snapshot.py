"""The chapter snapshot: from an object to the roots of its trees.

Always true here: other chapters see `Snapshot` alone, whatever seals its parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from .base import ENCAPSULATED_LENGTH, HEADER_LENGTH, SEALED_LENGTH, Bytes, Record, Refused, hash_of, must
from .base import object_header, unseal, unseal_to
from .certificate import read_certificate
from .primitives import hpke_open, x25519_public
from .signature import SNAPSHOT, Signed, check_maker, read_signed
from .trees import Root, read_root, walk

SNAPSHOT_MAX = 16777216
MAX_RECIPIENTS = 1024
OPERATOR_INFO = b"sheaf v1 snapshot operator key"
CONTENT_KEY_INFO = b"sheaf v1 snapshot content key"


@dataclass
class Snapshot:
    """What a restore needs. The other chapters ask for these alone."""

    maker: bytes
    size: int
    references: Root
    data: Root
    map: Root


@dataclass
class Parts:
    """A snapshot cut into its parts, sealed as they are."""

    signed: Signed
    header: bytes
    operator: bytes
    slots: list
    private: bytes
    bound_hash: bytes


def split_snapshot(data, repository, keys, what):
    must(len(data) <= SNAPSHOT_MAX, f"{what}: too long")
    signed = read_signed(data, SNAPSHOT, repository, keys, what)
    source = Bytes(signed.data, what)
    header = source.take(HEADER_LENGTH)
    object_header(header, b"S", repository, what)
    operator = source.take(source.number(4))
    bound_hash = hash_of(signed.data[: source.at])
    recipients = source.number(2)
    must(recipients <= MAX_RECIPIENTS, f"{what}: recipients")
    source.zeros(2)
    slots = [(source.take(32), source.take(ENCAPSULATED_LENGTH), source.take(SEALED_LENGTH)) for _ in range(recipients)]
    private = source.take(source.number(4))
    source.end()
    return Parts(signed, header, operator, slots, private, bound_hash)


def unseal_operator_part(parts, keys, what):
    return unseal_to(keys.every("catalog_key"), parts.operator, OPERATOR_INFO, parts.header, f"{what}: operator part")


def content_key(parts, keys, what):
    """The content key, from the slot of the private key's holder."""
    must(keys.private_key is not None, f"{what}: this key opens no snapshots")
    privates = {x25519_public(private): private for private in keys.every("private_key")}
    for recipient, enc, sealed in parts.slots:
        if recipient in privates:
            return hpke_open(privates[recipient], enc, CONTENT_KEY_INFO, parts.bound_hash, sealed, f"{what}: slot")
    raise Refused(f"{what}: was not made for this key")


def unseal_private_part(parts, keys, what):
    return unseal(content_key(parts, keys, what), parts.private, parts.bound_hash, f"{what}: private part")


def read_operator_fields(operator):
    """The disk's size and the root of the references; the rest is for people."""
    operator.holds({0: str, 1: int, 2: int, 4: str, 8: str}, {3: str})
    operator.array(5, str)
    operator.map(9).holds({}, dict.fromkeys(range(15), int))
    if operator.value.get(10) is not None:
        origin = operator.map(10)
        origin.holds({3: str})
        for field, size in ((0, 16), (1, 32), (2, 32)):
            origin.get(field, bytes, size=size)
    references = read_root(operator.map(7))
    must(references.span % 32 == 0, f"{operator.what}: the reference list has no whole ids")
    return operator.unsigned(6), references


def check_disk(disk):
    """What is for people, and for another container of the same kind."""
    disk.holds({0: int, 1: str}, {2: str, 3: str, 4: str, 5: str, 6: dict, 7: list})
    if disk.value.get(7) is not None:
        for volume in disk.array(7, dict):
            required = {1: int, 2: int, 5: str, 8: bool, 9: int}
            Record(volume, f"{disk.what}, a volume").holds(required, {0: int, 3: str, 4: str, 6: str, 7: str, 10: str})
    if disk.value.get(6) is not None:
        container = disk.map(6)
        required = {0: str, 1: str, 2: bytes, 3: str}
        container.holds(required, {4: int, 5: str, 6: int, 7: int, 8: int, 9: int, 10: int, 11: bytes, 12: bytes})


def open_operator_part(parts, keys, what):
    operator = Record.decode(unseal_operator_part(parts, keys, what), f"{what}: operator part")
    read_operator_fields(operator)
    return operator


def with_values(value):
    """A record without the fields that have no value."""
    if isinstance(value, dict):
        return {key: with_values(field) for key, field in value.items() if field is not None}
    return value


def open_snapshot(data, config, keys, what):
    parts = split_snapshot(data, config.repository, keys, what)
    operator = open_operator_part(parts, keys, what) if keys.catalog_key else None
    private = Record.decode(unseal_private_part(parts, keys, what), f"{what}: private part")
    mine = private.map(3)
    size, references = read_operator_fields(mine)
    equal = operator is None or with_values(operator.value) == with_values(mine.value)
    must(equal, f"{what}: the operator records of both parts are not equal")
    certificate = read_certificate(private.get(4, bytes), keys.authority, config.repository, f"{what}: private part")
    check_maker(certificate, parts.signed.maker, SNAPSHOT, what)
    check_disk(private.map(2))
    return Snapshot(parts.signed.maker, size, references, read_root(private.map(0)), read_root(private.map(1)))


def read_references(chunks, keys, snapshot):
    ids = set()
    for part in walk(chunks, keys.every("reference_secret"), snapshot.references):
        must(len(part) % 32 == 0, "reference list: a chunk without whole ids")
        ids.update(part[at : at + 32] for at in range(0, len(part), 32))
    return ids
