"""The chapter certificate: who a key is.

Always true here: a `Certificate` was signed by the authority, for the repository that is read, and has a known role.
"""

from __future__ import annotations

from dataclasses import dataclass

from .base import Record, hash_of, must
from .primitives import ed25519_verify

CERTIFICATE_PURPOSE = b"sheaf v1 signature: certificate"
ROLES = ("depositor", "owner", "operator", "auditor", "admin")


@dataclass(frozen=True)
class Certificate:
    key: bytes
    role: str
    label: str
    stored: bytes


def read_certificate(data, authority, repository, what):
    what = f"{what}: certificate"
    signed = Record.decode(data, what)
    stored, signature = signed.get(0, bytes), signed.get(1, bytes, size=64)
    ed25519_verify(authority, signature, CERTIFICATE_PURPOSE + hash_of(stored), what)
    record = Record.decode(stored, what)
    record.get(3, int)
    record.get(4, bytes, optional=True, size=32)
    must(record.get(5, bytes, size=16) == repository, f"{what}: is of another repository")
    role = record.get(1, str)
    must(role in ROLES, f"{what}: the role {role!r}")
    return Certificate(record.get(0, bytes, size=32), role, record.get(2, str), data)
