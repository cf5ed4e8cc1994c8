"""The chapter keys, "Printed keys": a private key as text.

Always true here: a text gives a key of 32 bytes, all of whose checks fit.
"""

from __future__ import annotations

from .base import derive, must

PRINTED_KEY = "sheaf v1 2026-11 printed key"
BEGINNING = "SHEAF-KEY"
DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ALIKE = str.maketrans("OIL", "011")
GROUPS = 8


def is_printed(text):
    return text.upper().replace(" ", "-").startswith(BEGINNING + "-")


def read_printed(text):
    text = text.upper().replace(" ", "-")
    must(text.startswith(BEGINNING + "-"), f"printed key: does not begin with {BEGINNING}")
    groups = text[len(BEGINNING) + 1 :].translate(ALIKE).split("-")
    must(len(groups) == GROUPS, f"printed key: has {len(groups)} groups in place of {GROUPS}")
    key = b""
    for number, group in enumerate(groups, 1):
        what = f"printed key: group {number}"
        must(len(group) == 8 and all(digit in DIGITS for digit in group), f"{what} has not eight characters of base 32")
        value = 0
        for digit in group:
            value = value << 5 | DIGITS.index(digit)
        *part, check = value.to_bytes(5, "big")
        key += bytes(part)
        must(derive(PRINTED_KEY, BEGINNING.encode() + key)[0] == check, f"{what} is not what was printed")
    return key
