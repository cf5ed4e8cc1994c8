"""The conventions of the README, and the chapters names, object and config: what every other chapter stands on.

Always true here:
- What breaks a "must" raises `Refused`, with the object and the field.
- Nothing is taken from bytes before they are known to be that long.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .primitives import Refused, cbor, hpke_open

# ---- README: conventions ------------------------------------------------------------------------------------------------

def must(condition, what):
    if not condition:
        raise Refused(what)


def hash_of(data):
    return blake3(data).digest()


def derive(context, secret):
    return blake3(secret, derive_key_context=context).digest()


class Bytes:
    """Bytes that are read from the front, and that end where their structure ends."""

    def __init__(self, data, what):
        self.data, self.what, self.at = bytes(data), what, 0

    def take(self, count):
        must(count <= len(self.data) - self.at, f"{self.what}: ends within a field at byte {self.at}")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "little")

    def left(self):
        return len(self.data) - self.at

    def zeros(self, count):
        must(self.take(count) == bytes(count), f"{self.what}: reserved bytes before {self.at} are not zeros")

    def end(self):
        must(self.at == len(self.data), f"{self.what}: {len(self.data) - self.at} bytes too many")


class Record:
    """A CBOR record: one map with small unsigned integers as keys."""

    def __init__(self, value, what):
        must(isinstance(value, dict), f"{what}: no map")
        must(all(type(key) is int and key >= 0 for key in value), f"{what}: a key is no unsigned integer")
        self.value, self.what = value, what

    @classmethod
    def decode(cls, data, what):
        return cls(cbor(data, what), what)

    def get(self, key, kind, optional=False, size=None):
        value = self.value.get(key)
        if value is None and optional:
            return None
        must(type(value) is kind, f"{self.what}: field {key} is missing or not of its type")
        must(size is None or len(value) == size, f"{self.what}: field {key} is not of {size} bytes")
        return value

    def holds(self, required, optional=None):
        """Checks fields that are not used otherwise: key to type."""
        for key, kind in required.items():
            self.get(key, kind)
        for key, kind in (optional or {}).items():
            self.get(key, kind, optional=True)

    def unsigned(self, key):
        value = self.get(key, int)
        must(value >= 0, f"{self.what}: field {key} is negative")
        return value

    def map(self, key):
        return Record(self.get(key, dict), f"{self.what}, field {key}")

    def array(self, key, kind, size=None):
        values = self.get(key, list)
        fits = all(type(value) is kind and (size is None or len(value) == size) for value in values)
        must(fits, f"{self.what}: an element of field {key} is not of its type")
        return values


# ---- names --------------------------------------------------------------------------------------------------------------

KINDS = ["keys", "packs", "index", "snapshots", "sessions", "retired", "audit", "parity"]
FANNED_OUT = ["packs", "parity"]


def parse_name(path):
    """The kind and the id of a name; nothing when it is a stranger."""
    if path == "config":
        return "config", None
    match = re.fullmatch(r"(?:(packs|parity)/([0-9a-f]{2})/|(\w+)/)([0-9a-f]{64})", path, re.ASCII)
    if not match:
        return None
    kind, shard, identity = match[1] or match[3], match[2], match[4]
    if kind not in KINDS or (kind in FANNED_OUT) != (shard is not None) or (shard and not identity.startswith(shard)):
        return None
    return kind, bytes.fromhex(identity)


def name_of(kind, identity):
    if kind == "config":
        return kind
    shard = f"{identity.hex()[:2]}/" if kind in FANNED_OUT else ""
    return f"{kind}/{shard}{identity.hex()}"


class Storage:
    """A folder with objects."""

    def __init__(self, folder):
        self.folder = folder

    def list(self, kind):
        """The ids of all objects of a kind; strangers are passed over."""
        found = []
        for folder, _, files in os.walk(os.path.join(self.folder, kind)):
            for file in files:
                path = os.path.relpath(os.path.join(folder, file), self.folder).replace(os.sep, "/")
                name = parse_name(path)
                if name:
                    found.append(name[1])
        return sorted(found)

    def read(self, name, limit):
        with self.open(name) as file:
            data = file.read(limit + 1)
        must(len(data) <= limit, f"{name}: more than {limit} bytes")
        return data

    def read_named(self, kind, identity, limit):
        """A whole object whose name is the hash of its bytes."""
        name = name_of(kind, identity)
        data = self.read(name, limit)
        must(hash_of(data) == identity, f"{name}: the name is not the hash of the bytes")
        return data

    def open(self, name):
        return open(os.path.join(self.folder, *name.split("/")), "rb")


class Memory(Storage):
    """Objects in memory, by their names."""

    def __init__(self, objects):
        self.objects = objects

    def list(self, kind):
        names = filter(None, map(parse_name, self.objects))
        return sorted(identity for found, identity in names if found == kind)

    def open(self, name):
        if name not in self.objects:
            raise FileNotFoundError(name)
        return io.BytesIO(self.objects[name])


# ---- object -------------------------------------------------------------------------------------------------------------

VERSION = 1
HEADER_LENGTH = 32
NONCE_LENGTH, TAG_LENGTH = 12, 16
ENCAPSULATED_LENGTH, SEALED_LENGTH = 32, 48
SEALED_TO_PREFIX = ENCAPSULATED_LENGTH + SEALED_LENGTH


def object_header(data, kind, repository, what):
    """Checks the 32 bytes with which an object begins. `repository` is None for the config alone, which says what it is."""
    header = Bytes(data, what)
    must(header.take(6) == b"SHEAF" + kind, f"{what}: magic or kind")
    must(header.number(2) == VERSION, f"{what}: version")
    must(header.number(4) == 0, f"{what}: required features that nobody knows")
    header.number(4)
    found = header.take(16)
    must(repository is None or found == repository, f"{what}: is of another repository")
    return found


def each(keys):
    """One key, or several of which one will do: those of the rotations that there were."""
    return (keys,) if isinstance(keys, bytes) else keys


def unseal(keys, sealed, bound, what):
    """Opens a sealed text with its associated data, by a key or one of several."""
    must(len(sealed) >= NONCE_LENGTH + TAG_LENGTH, f"{what}: too short for a sealed text")
    for key in each(keys):
        try:
            return AESGCM(key).decrypt(sealed[:NONCE_LENGTH], sealed[NONCE_LENGTH:], bound)
        except InvalidTag:
            continue
    raise Refused(f"{what}: the seal does not open")


def key_sealed_to(privates, data, info, bound, what):
    """The key of a text that is sealed to the public key of `privates`, or of one of them."""
    source, refusals = Bytes(data, what), []
    enc, sealed = source.take(ENCAPSULATED_LENGTH), source.take(SEALED_LENGTH)
    for private in each(privates):
        try:
            return hpke_open(private, enc, info, bound, sealed, what)
        except Refused as refusal:
            refusals.append(refusal)
    raise refusals[0]


def unseal_to(private, data, info, bound, what):
    """Opens a text that is sealed to the public key of `private`."""
    return unseal(key_sealed_to(private, data, info, bound, what), data[SEALED_TO_PREFIX:], bound, what)


# ---- config -------------------------------------------------------------------------------------------------------------

CONFIG_MAX = 65536
FASTCDC_2020 = 1
SMALLEST_MINIMUM, LARGEST_MINIMUM = 256, 1048576
LARGEST_AVERAGE = 4194304
SMALLEST_MAXIMUM, CHUNK_MAX = 1024, 8388608
PACK_SIZE_MAX = 268435456
LEAST_PARITY_RATIO, LARGEST_PARITY_RATIO = 2, 62


@dataclass
class Config:
    repository: bytes
    stored: bytes
    record: Record


def open_config(data):
    must(len(data) <= CONFIG_MAX, "config: too long")
    repository = object_header(data, b"C", None, "config")
    must(len(data) >= HEADER_LENGTH + 32 and hash_of(data[:-32]) == data[-32:], "config: checksum")
    record = Record.decode(data[HEADER_LENGTH:-32], "config")
    record.holds({0: int, 5: str})
    chunking = record.map(1)
    algorithm, least, average, most, normalization = (chunking.unsigned(key) for key in range(5))
    must(algorithm == FASTCDC_2020, "config: chunking algorithm")
    must(least % 2 == average % 2 == most % 2 == 0 and least < average < most, "config: chunk sizes")
    must(SMALLEST_MINIMUM <= least <= LARGEST_MINIMUM, "config: smallest chunk")
    must(average <= LARGEST_AVERAGE and SMALLEST_MAXIMUM <= most <= CHUNK_MAX, "config: average or largest chunk")
    must(normalization <= 3, "config: normalization")
    must(most <= record.unsigned(2) <= PACK_SIZE_MAX, "config: pack size")
    must(1 <= record.unsigned(3) <= 22, "config: zstd level")
    most = LARGEST_PARITY_RATIO
    must(record.unsigned(4) == 0 or LEAST_PARITY_RATIO <= record.unsigned(4) <= most, "config: parity")
    return Config(repository, data, record)
