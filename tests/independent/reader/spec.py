"""The text of the chapters: its examples, tables and sentences, and how often something was compared with it.

Always true here: what is expected is read out of the chapters' text and stands nowhere here.
"""

from __future__ import annotations

import os
import re

from . import base, keys, primitives


def here():
    """The chapters that lie beside this reader."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "format-spec")


class Spec:
    """The text of the chapters, and what has been compared with it."""

    def __init__(self, folder, restore):
        self.restore = restore
        self.chapters = {}
        for file in sorted(os.listdir(folder)):
            if file.endswith(".md"):
                with open(os.path.join(folder, file), encoding="utf-8") as text:
                    self.chapters[file[:-3]] = text.read()
        self.blocks, self.used = {}, set()
        self.count, self.differences = 0, []
        for text in self.chapters.values():
            for language, name, body in re.findall(r"^```(\w+) name=(\S+)\n(.*?)^```$", text, re.M | re.S):
                if name in self.blocks:
                    self.differences.append(f"two examples have the name {name}")
                self.blocks[name] = (language, body)

    def same(self, what, found, expected):
        self.count += 1
        if found != expected:
            found, expected = (value.hex() if isinstance(value, bytes) else repr(value) for value in (found, expected))
            self.differences.append(f"{what}: the reader has {found[:300]}, the chapter {expected[:300]}")

    def hex(self, name):
        """The bytes of a dump."""
        self.used.add(name)
        data = b""
        for line in self.blocks[name][1].splitlines():
            offset, *words = line.split("#")[0].split()
            if int(offset, 16) != len(data):
                raise ValueError(f"{name}: the line {line} does not begin at its offset")
            data += bytes(int(word, 16) for word in words)
        return data

    def lines(self, name):
        self.used.add(name)
        return self.blocks[name][1].splitlines()

    def row(self, chapter, first):
        """The other cells of the table row that begins with a cell."""
        for line in self.chapters[chapter].splitlines():
            cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
            if line.startswith("|") and cells[0] == first:
                return cells[1:]
        raise KeyError(f"{chapter}: no row {first}")

    def find(self, chapter, pattern):
        """What a sentence of a chapter says; a space stands for any white space."""
        match = re.search(pattern.replace(" ", r"\s+"), self.chapters[chapter])
        if not match:
            raise KeyError(f"{chapter}: nothing like {pattern}")
        return match[1]

    def value(self, name):
        """A value of the README's table, where `32 bytes of 11` are so many."""
        cell = self.row("README", name)[0].replace("`", "")
        many = re.fullmatch(r"(\d+) bytes of ([0-9a-f]{2})", cell)
        return bytes.fromhex(many[2]) * int(many[1]) if many else bytes.fromhex(cell)

    def constant(self, name):
        for chapter in self.chapters:
            try:
                return int(self.row(chapter, name)[0])
            except KeyError:
                pass
        raise KeyError(name)


# ---- the example repository ---------------------------------------------------------------------------------------------


def example_config(spec):
    return base.open_config(spec.hex("config-example"))


def example_keys(spec):
    """As the README gives them, without the bundle."""
    authority = primitives.ed25519_public(spec.value("authority's seed"))
    names = ["index key", "dedup secret", "recipient's private key", "catalog's private key", "audit's private key"]
    return keys.Keys(authority, *map(spec.value, names))


def example_password(spec):
    return keys.Password(spec.row("README", "password")[0].encode())


def refusal(function, *arguments):
    """Why the reader refuses something, without the place; or what it takes it for."""
    try:
        return function(*arguments)
    except base.Refused as refused:
        return str(refused).partition(": ")[2]
