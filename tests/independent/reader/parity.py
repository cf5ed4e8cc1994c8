"""The chapter parity: the objects from which damaged ones are mended.

Always true here: the parity is computed as the chapter puts it, by finding the polynomial. That is slow and has nothing in common with the
transform by which the program does it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from .base import Bytes, Refused, derive, hash_of, must, name_of, object_header

HEAD_LENGTH, SUM_LENGTH = 128, 8
SECTOR_LENGTH, BLOCK_LENGTH = 4096, 64
PARITY_SECTORS = 4
LEAST_DATA_SECTORS, MAX_DATA_SECTORS = 5, 248
MAX_COVERED = MAX_LENGTH = 1073741824

LETTERS = {"config": b"C", "keys": b"K", "packs": b"P", "index": b"I", "snapshots": b"S", "audit": b"A"}
POLYNOMIAL = 0x1002D
BASIS = [0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012]
BASIS += [0x6C98, 0x10D8, 0x6A72, 0xB900, 0xFDB8, 0xFB34, 0xFF38, 0x991E]


def id_of_config():
    return derive("sheaf v1 2026-11 parity of the config", b"")


def divided(number, by):
    return -(-number // by)


@functools.cache
def tables():
    """The logarithm of each number that is not 0, and twice over the number of each logarithm."""
    elements = [0]
    for element in BASIS:
        elements += [other ^ element for other in elements]
    number_of = {element: number for number, element in enumerate(elements)}
    logarithms, numbers, element = [0] * 65536, [], 1
    for power in range(65535):
        logarithms[number_of[element]] = power
        numbers.append(number_of[element])
        element <<= 1
        element ^= POLYNOMIAL if element >> 16 else 0
    return logarithms, numbers * 2


def weights(m, places, row):
    """By what the number at each place is multiplied for parity `row`, as logarithms: Lagrange's polynomials at that point."""
    logarithms, _ = tables()
    n = 1
    while n < m + places:
        n *= 2
    found = []
    for place in range(m, m + places):
        others = [other for other in range(m, n) if other != place]
        found.append(sum(logarithms[row ^ other] - logarithms[place ^ other] for other in others) % 65535)
    return found


@dataclass
class Head:
    length: int
    sector_length: int
    codewords: int
    data: int
    parity: int
    letter: bytes
    hash: bytes

    @property
    def sectors(self):
        return divided(self.length, self.sector_length)

    @property
    def sums(self):
        return (self.sectors + self.parity * self.codewords) * SUM_LENGTH

    def sector(self, data, index):
        """A data sector, and the same filled with zeros."""
        part = data[index * self.sector_length : (index + 1) * self.sector_length]
        return part, part.ljust(self.sector_length, b"\0")


def open_head(data, repository, what):
    part = Bytes(data, what)
    part.take(32)
    object_header(data, b"R", repository, what)
    head = Head(*map(part.number, (8, 4, 4, 2, 2)), part.take(1), b"")
    part.zeros(11)
    head.hash = part.take(32)
    must(1 <= head.length <= MAX_COVERED, f"{what}: length")
    length = min(SECTOR_LENGTH, divided(head.length, BLOCK_LENGTH) * BLOCK_LENGTH)
    must(head.sector_length == length, f"{what}: sector length")
    must(head.codewords >= 1 and head.data == divided(head.sectors, head.codewords), f"{what}: codewords")
    must(head.parity == min(PARITY_SECTORS, head.sectors), f"{what}: parity sectors")
    small = head.sectors <= PARITY_SECTORS
    fits = head.codewords == 1 if small else LEAST_DATA_SECTORS <= head.data <= MAX_DATA_SECTORS
    must(fits, f"{what}: data sectors")
    must(head.letter in LETTERS.values(), f"{what}: kind")
    return head


def numbers(sector):
    """The 16-bit numbers of a sector."""
    found = []
    for at in range(0, len(sector), 64):
        found += [low | high << 8 for low, high in zip(sector[at : at + 32], sector[at + 32 : at + 64])]
    return found


def parity_of(head, data, word, row):
    """One parity sector, as numbers."""
    m = 1
    while m < head.parity:
        m *= 2
    logarithms, powers = tables()
    total = [0] * (head.sector_length // 2)
    for place, weight in enumerate(weights(m, head.data, row)):
        index = place * head.codewords + word
        if index < head.sectors:
            for at, number in enumerate(numbers(head.sector(data, index)[1])):
                if number:
                    total[at] ^= powers[logarithms[number] + weight]
    return total


def check_parity(stored, data, kind, repository, what):
    """Proves that a parity object is what the chapter says for the object with these bytes."""
    must(len(stored) <= MAX_LENGTH, f"{what}: too long")
    must(len(stored) >= 2 * HEAD_LENGTH, f"{what}: too short")
    front = stored[:HEAD_LENGTH]
    head = open_head(front, repository, what)
    parities = head.parity * head.codewords
    table = stored[HEAD_LENGTH : HEAD_LENGTH + head.sums]
    middle = HEAD_LENGTH + head.sums
    behind = middle + parities * head.sector_length
    must(stored[behind:] == table + front, f"{what}: the second copy")
    must(hash_of(front[:96] + table) == front[96:], f"{what}: checksum")
    must(head.letter == LETTERS[kind], f"{what}: of another kind")
    must(head.length == len(data) and head.hash == hash_of(data), f"{what}: of another object")
    sums = [table[at : at + SUM_LENGTH] for at in range(0, len(table), SUM_LENGTH)]
    for index in range(head.sectors):
        must(hash_of(head.sector(data, index)[0])[:SUM_LENGTH] == sums[index], f"{what}: hash of sector {index}")
    for index in range(parities):
        sector = stored[middle + index * head.sector_length :][: head.sector_length]
        must(hash_of(sector)[:SUM_LENGTH] == sums[head.sectors + index], f"{what}: hash of parity sector {index}")
        row, word = divmod(index, head.codewords)
        must(parity_of(head, data, word, row) == numbers(sector), f"{what}: parity sector {index}")
    return head


def check_all(storage, config):
    """Proves the parity of every object, and that each has some and nothing else has. The lines say how it is cut."""
    left = set(storage.list("parity"))
    for kind in LETTERS:
        for identity in [None] if kind == "config" else storage.list(kind):
            name = name_of(kind, identity)
            named = identity or id_of_config()
            what = name_of("parity", named)
            must(named in left, f"{name}: has no parity")
            left.remove(named)
            data = storage.read(name, MAX_COVERED)
            head = check_parity(storage.read(what, MAX_LENGTH), data, kind, config.repository, what)
            p = config.record.unsigned(4)
            words = 1 if head.sectors <= PARITY_SECTORS else divided(head.sectors, 4 * p)
            must(head.codewords == words, f"{what}: {head.codewords} codewords")
            yield f"{kind} {head.sectors} {head.codewords} {head.data}"
    must(not left, f"parity: {len(left)} of no object")


def refused(function, *arguments):
    try:
        function(*arguments)
    except Refused:
        return True
    return False
