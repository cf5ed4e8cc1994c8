"""The chapter signature: who made an object.

Always true here: what is given out as signed has the signature of the key that is given out with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from .base import Bytes, hash_of, must, unseal, unseal_to
from .certificate import ROLES, Certificate, read_certificate
from .primitives import ed25519_verify

MAKER_LENGTH = 124
LENGTH_LENGTH = 4
LEAST_BLOCK_LENGTH, MAX_BLOCK_LENGTH = MAKER_LENGTH + LENGTH_LENGTH, 16384
MAKER_INFO = b"sheaf v1 maker"

SNAPSHOT = b"sheaf v1 signature: snapshot"
SEGMENT = b"sheaf v1 signature: index segment"
ENTRY = b"sheaf v1 signature: audit entry"
MAKERS = {SNAPSHOT: ("depositor", "owner", "admin"), SEGMENT: ("depositor", "owner", "operator", "admin"), ENTRY: ROLES}


@dataclass(frozen=True)
class Signed:
    """What stands before the block, and who signed it. The certificate is there for those who have the catalog's key."""

    data: bytes
    maker: bytes
    certificate: Certificate | None


def split_block(data, what):
    """What is signed, the sealed maker and the sealed certificate."""
    must(len(data) >= LENGTH_LENGTH, f"{what}: too short for a signature")
    length = Bytes(data[-LENGTH_LENGTH:], what).number(LENGTH_LENGTH)
    must(LEAST_BLOCK_LENGTH <= length <= min(MAX_BLOCK_LENGTH, len(data)), f"{what}: length of the signature's block")
    block = Bytes(data[-length:-LENGTH_LENGTH], f"{what}: signature")
    return data[:-length], block.take(MAKER_LENGTH), block.take(block.left())


def check_maker(certificate, maker, purpose, what):
    must(certificate.key == maker, f"{what}: the certificate is not that of the key that signed")
    must(certificate.role in MAKERS[purpose], f"{what}: is signed by a key of the role {certificate.role}")


def read_signed(data, purpose, repository, keys, what):
    signed, sealed_maker, sealed_certificate = split_block(data, what)
    bound = hash_of(signed)
    maker = Bytes(unseal(keys.every("signatures"), sealed_maker, bound, f"{what}: maker"), f"{what}: maker")
    public, signature = maker.take(32), maker.take(64)
    maker.end()
    ed25519_verify(public, signature, purpose + bound, what)
    certificate = None
    if keys.catalog_key:
        opened = unseal_to(keys.every("catalog_key"), sealed_certificate, MAKER_INFO, bound, f"{what}: the maker's certificate")
        certificate = read_certificate(opened, keys.authority, repository, what)
        check_maker(certificate, public, purpose, what)
    return Signed(signed, public, certificate)
