"""The chapters chunk, pack and index: from the key of a chunk to its content.

Always true here: content is given out only when its key, computed again, is the key that was asked for.
"""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass

import zstandard
from blake3 import blake3

from .base import CHUNK_MAX, HEADER_LENGTH, Bytes, Refused, derive, each, must, name_of, object_header, unseal
from .keys import CHUNK_ID
from .signature import SEGMENT, read_signed

# ---- chunk --------------------------------------------------------------------------------------------------------------

CHUNK_OVERHEAD = 29


def chunk_key(secret, plain):
    return blake3(plain, key=secret).digest()


def chunk_id(key):
    return derive(CHUNK_ID, key)


def chunk_lengths(plain, sealed, what):
    must(1 <= plain <= CHUNK_MAX, f"{what}: plain length of a chunk")
    must(CHUNK_OVERHEAD < sealed <= CHUNK_OVERHEAD + plain, f"{what}: sealed length of a chunk")


def unpack(packed, length, what):
    """Undoes the compression of a chunk, with room for `length` bytes."""
    must(packed[:1] in (b"\x00", b"\x01"), f"{what}: compression")
    if packed[0] == 0:
        return packed[1:]
    frame = packed[1:]
    try:
        says = zstandard.get_frame_parameters(frame)
        must(says.dict_id == 0, f"{what}: compressed with a dictionary")
        must(says.content_size in (length, zstandard.CONTENTSIZE_UNKNOWN), f"{what}: content size of the frame")
        # Bytes behind the frame are refused by this as well.
        return zstandard.ZstdDecompressor().decompress(frame, max_output_size=length, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Refused(f"{what}: {error}") from None


def chunk_bound(key, plain_length, sealed_length):
    return chunk_id(key) + struct.pack("<II", plain_length, sealed_length)


def open_chunk(stored, key, secret, plain_length, what):
    bound = chunk_bound(key, plain_length, len(stored))
    plain = unpack(unseal(key, stored, bound, what), plain_length, what)
    must(len(plain) == plain_length, f"{what}: has not its plain length")
    must(any(chunk_key(one, plain) == key for one in each(secret)), f"{what}: is not the content of its key")
    return plain


# ---- pack ---------------------------------------------------------------------------------------------------------------

PACK_HEADER_LENGTH = 64
FOOTER_LENGTH = 32
ENTRY_LENGTH = 40
PACK_MAX = 1073741824
FOOTER = struct.Struct("<QIIQ8s")


@dataclass(frozen=True)
class Entry:
    """A chunk in a pack. Its offset follows from the lengths of those before it."""

    identity: bytes
    sealed: int
    plain: int
    offset: int


def read_entries(source, count, what):
    must(count * ENTRY_LENGTH <= source.left(), f"{what}: more entries than bytes")
    offset, entries = PACK_HEADER_LENGTH, []
    for _ in range(count):
        entry = Entry(source.take(32), source.number(4), source.number(4), offset)
        chunk_lengths(entry.plain, entry.sealed, what)
        offset += entry.sealed
        entries.append(entry)
    return entries, offset


def pack_listing(data, body_length, what):
    listing = Bytes(data, what)
    entries, end = read_entries(listing, listing.number(4), what)
    listing.end()
    must(end == body_length, f"{what}: the chunks are not as long as the body")
    return entries


def open_pack(file, repository, keys, what):
    """The kind, the size and the entries of a pack, from its header, trailer and footer."""
    size = file.seek(0, os.SEEK_END)
    must(PACK_HEADER_LENGTH + FOOTER_LENGTH <= size <= PACK_MAX, f"{what}: size")
    file.seek(size - FOOTER_LENGTH)
    body, trailer, parity_kind, parity, magic = FOOTER.unpack(file.read(FOOTER_LENGTH))
    must(magic == b"SHEAFEND" and parity_kind == parity == 0, f"{what}: footer")
    must(body >= PACK_HEADER_LENGTH and body + trailer + FOOTER_LENGTH == size, f"{what}: lengths in the footer")
    file.seek(0)
    header = file.read(PACK_HEADER_LENGTH)
    object_header(header, b"P", repository, what)
    rest = Bytes(header[HEADER_LENGTH:], what)
    kind = rest.number(1)
    must(kind in (1, 2), f"{what}: pack kind")
    rest.zeros(31)
    file.seek(body)
    listing = unseal(keys.every("pack_trailer"), file.read(trailer), header, f"{what}: trailer")
    return kind, size, pack_listing(listing, body, what)


def open_pack_bytes(data, repository, keys, what):
    return open_pack(io.BytesIO(data), repository, keys, what)


# ---- index --------------------------------------------------------------------------------------------------------------

SEGMENT_MAX = 268435456


@dataclass(frozen=True)
class Place:
    """What a segment claims of a pack."""

    pack: bytes
    size: int
    kind: int
    entries: tuple


def unseal_segment(data, repository, keys, what):
    must(len(data) <= SEGMENT_MAX, f"{what}: too long")
    segment = read_signed(data, SEGMENT, repository, keys, what).data
    object_header(segment, b"I", repository, what)
    return unseal(keys.every("index_segment"), segment[HEADER_LENGTH:], segment[:HEADER_LENGTH], what)


def parse_segment(data, what):
    """The superseded ids and the packs of a segment in the clear."""
    source = Bytes(data, what)
    superseded, count = source.number(4), source.number(4)
    superseded, packs = [source.take(32) for _ in range(superseded)], []
    for _ in range(count):
        pack, size, kind = source.take(32), source.number(8), source.number(1)
        source.zeros(3)
        entries, end = read_entries(source, source.number(4), what)
        must(kind in (1, 2) and end - PACK_HEADER_LENGTH < size <= PACK_MAX, f"{what}: kind or size of a pack")
        packs.append(Place(pack, size, kind, tuple(entries)))
    source.end()
    return superseded, packs


class Chunks:
    """All chunks of a repository, by their keys."""

    def __init__(self, storage, config, keys):
        self.storage, self.config, self.keys = storage, config, keys
        self.packs, self.places = {}, {}
        for identity in storage.list("index"):
            what = name_of("index", identity)
            data = storage.read_named("index", identity, SEGMENT_MAX)
            _, places = parse_segment(unseal_segment(data, config.repository, keys, what), what)
            for place in places:
                for entry in place.entries:
                    # A segment and one that supersedes it may list the same pack; they are used both.
                    found = self.places.setdefault(entry.identity, [])
                    if (place, entry) not in found:
                        found.append((place, entry))

    def file(self, place):
        """The open file of a pack, which is what the index claims."""
        if place.pack not in self.packs:
            what = name_of("packs", place.pack)
            try:
                file = self.storage.open(what)
            except FileNotFoundError:
                raise Refused(f"{what}: is not there") from None
            found = open_pack(file, self.config.repository, self.keys, what)
            must(found == (place.kind, place.size, list(place.entries)), f"{what}: is not what the index claims")
            self.packs[place.pack] = file
        return self.packs[place.pack]

    def get(self, key, secret, span):
        """The content of a key; `span` is its length where that is known. Where one copy is damaged the others are tried."""
        identity = chunk_id(key)
        refusals = [f"chunk {identity.hex()}: the index does not list it"]
        for place, entry in self.places.get(identity, []):
            what = f"{name_of('packs', place.pack)}, chunk {identity.hex()}"
            try:
                must(span is None or entry.plain == span, f"{what}: has not the length of its span")
                file = self.file(place)
                file.seek(entry.offset)
                return open_chunk(file.read(entry.sealed), key, secret, entry.plain, what)
            except Refused as refusal:
                refusals.append(str(refusal))
        raise Refused("; ".join(refusals[1:] or refusals))
