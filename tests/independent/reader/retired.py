"""The chapter retired: what a prune has condemned.

Always true here: a `Retirement` is signed, and its ids rise. What it condemns is still there, and is read.
"""

from __future__ import annotations

from dataclasses import dataclass

from .base import HEADER_LENGTH, Bytes, must, object_header, unseal
from .signature import RETIREMENT, read_signed

RETIRED_MAX = 67108864


@dataclass(frozen=True)
class Retirement:
    time: int
    packs: tuple
    segments: tuple


def unseal_retirement(data, repository, keys, what):
    must(len(data) <= RETIRED_MAX, f"{what}: too long")
    table = read_signed(data, RETIREMENT, repository, keys, what).data
    object_header(table, b"D", repository, what)
    return unseal(keys.every("retirements"), table[HEADER_LENGTH:], table[:HEADER_LENGTH], f"{what}: table")


def parse_retirement(data, what):
    source = Bytes(data, what)
    time, packs, segments = source.number(8), source.number(4), source.number(4)
    must(source.left() == 32 * (packs + segments), f"{what}: the counts do not fit the bytes")
    condemned = []
    for kind, count in [("packs", packs), ("segments", segments)]:
        ids = tuple(source.take(32) for _ in range(count))
        must(all(one < other for one, other in zip(ids, ids[1:])), f"{what}: the {kind} do not rise")
        condemned.append(ids)
    source.end()
    return Retirement(time, *condemned)


def open_retirement(data, repository, keys, what):
    return parse_retirement(unseal_retirement(data, repository, keys, what), what)
