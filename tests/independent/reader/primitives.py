"""CBOR (RFC 8949), Ed25519 (RFC 8032) and HPKE (RFC 9180), as far as a reader of Sheaf's format needs them.

Always true here:
- Nothing of Sheaf's format stands here: a record is some CBOR value, and a slot some HPKE ciphertext.
- Whatever the input, a function gives its value or raises `Refused`.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import struct

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class Refused(Exception):
    """An object is not what the specification says."""


# ---- CBOR ---------------------------------------------------------------------------------------------------------------

UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, OTHER = range(8)
INDEFINITE = 31
BREAK = object()
DEEPEST = 32


def cbor(data, what):
    """The one value that these bytes are."""
    decoder = _Decoder(data, what)
    value = decoder.value(0)
    if value is BREAK or decoder.at != len(data):
        raise Refused(f"{what}: bytes behind the record, or a stray end")
    return value


class _Decoder:
    def __init__(self, data, what):
        self.data, self.what, self.at = data, what, 0

    def take(self, count):
        if count > len(self.data) - self.at:
            raise Refused(f"{self.what}: the record ends within a value")
        self.at += count
        return self.data[self.at - count : self.at]

    def head(self):
        """The major type and the argument; of floats and simple values the argument's bytes count, so they come as well."""
        first = self.take(1)[0]
        major, low = first >> 5, first & 31
        if low < 24:
            return major, low, b""
        if low <= 27:
            raw = self.take(1 << (low - 24))
            return major, int.from_bytes(raw, "big"), raw
        if low == INDEFINITE and major in (ARRAY, MAP, OTHER):
            return major, None, b""
        raise Refused(f"{self.what}: a value of a form that is not allowed at byte {self.at - 1}")

    def value(self, depth):
        if depth > DEEPEST:
            raise Refused(f"{self.what}: values are too deep in one another")
        major, argument, raw = self.head()
        if major == UNSIGNED:
            return argument
        if major == NEGATIVE:
            return -1 - argument
        if major == BYTES:
            return self.take(argument)
        if major == TEXT:
            try:
                return self.take(argument).decode("utf-8")
            except UnicodeDecodeError:
                raise Refused(f"{self.what}: a text is not UTF-8") from None
        if major == ARRAY:
            return list(self.items(argument, depth))
        if major == MAP:
            return self.pairs(argument, depth)
        if major == TAG:
            return ("tag", argument, self.inner(depth))
        if argument is None:
            return BREAK
        if len(raw) > 1:
            return struct.unpack({2: ">e", 4: ">f", 8: ">d"}[len(raw)], raw)[0]
        return {20: False, 21: True, 22: None}.get(argument, ("simple", argument))

    def inner(self, depth):
        value = self.value(depth + 1)
        if value is BREAK:
            raise Refused(f"{self.what}: a stray end at byte {self.at - 1}")
        return value

    def items(self, count, depth):
        while count is None or count > 0:
            value = self.value(depth + 1)
            if value is BREAK:
                if count is None:
                    return
                raise Refused(f"{self.what}: a stray end at byte {self.at - 1}")
            yield value
            count = None if count is None else count - 1

    def pairs(self, count, depth):
        pairs = {}
        for key in self.items(count, depth):
            value = self.inner(depth)
            # The last of two equal keys is taken. True is 1 to Python, and no key of a record is a flag.
            if type(key) not in (int, str, bytes):
                raise Refused(f"{self.what}: a key of a map is no integer or string")
            pairs[key] = value
        return pairs


# ---- Ed25519 ------------------------------------------------------------------------------------------------------------

PRIME = 2**255 - 19
CURVE_D = -121665 * pow(121666, -1, PRIME) % PRIME


def ed25519_public(seed):
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def of_small_order(public):
    """Whether a point's order divides 8. With a curve of -x^2 + y^2 = 1 + d x^2 y^2, y is then 1 (order 1), -1 (order 2), 0
    (order 4) or has d y^4 + 2 y^2 = 1 (order 8: doubling gives y = 0, so that x^2 = -y^2)."""
    y = int.from_bytes(public, "little") % 2**255 % PRIME
    return y * (y * y - 1) * (CURVE_D * y**4 + 2 * y * y - 1) % PRIME == 0


@functools.lru_cache(64)
def ed25519_verify(public, signature, message, what):
    if of_small_order(public):
        raise Refused(f"{what}: the public key is of small order")
    if of_small_order(signature[:32]):
        raise Refused(f"{what}: the signature's R is of small order")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Refused(f"{what}: the signature is not that of its key") from None


# ---- HPKE: base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM -----------------------------------------------

KEM_ID, KDF_ID, AEAD_ID = 0x0020, 0x0001, 0x0002
KEM_SUITE = b"KEM" + struct.pack(">H", KEM_ID)
HPKE_SUITE = b"HPKE" + struct.pack(">HHH", KEM_ID, KDF_ID, AEAD_ID)
MODE_BASE = b"\x00"


@functools.lru_cache(64)
def x25519_pair(private):
    """The private key, made ready, and the public one."""
    key = X25519PrivateKey.from_private_bytes(private)
    return key, key.public_key().public_bytes_raw()


def x25519_public(private):
    return x25519_pair(private)[1]


def labeled_extract(suite, salt, label, secret):
    # An empty salt is a block of zeros to HMAC, as HKDF wants it.
    return hmac.digest(salt, b"HPKE-v1" + suite + label + secret, hashlib.sha256)


def labeled_expand(suite, key, label, info, length):
    info = struct.pack(">H", length) + b"HPKE-v1" + suite + label + info
    block, out = b"", b""
    for count in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([count]), hashlib.sha256)
        out += block
    return out[:length]


def decapsulate(private, enc):
    """RFC 9180, section 4.1."""
    key, public = x25519_pair(private)
    shared = key.exchange(X25519PublicKey.from_public_bytes(enc))
    extracted = labeled_extract(KEM_SUITE, b"", b"eae_prk", shared)
    return labeled_expand(KEM_SUITE, extracted, b"shared_secret", enc + public, 32)


def key_schedule(shared_secret, info):
    """RFC 9180, section 5.1, in base mode: without a pre-shared key."""
    hashes = labeled_extract(HPKE_SUITE, b"", b"psk_id_hash", b"") + labeled_extract(HPKE_SUITE, b"", b"info_hash", info)
    secret = labeled_extract(HPKE_SUITE, shared_secret, b"secret", b"")
    context = MODE_BASE + hashes
    key = labeled_expand(HPKE_SUITE, secret, b"key", context, 32)
    return key, labeled_expand(HPKE_SUITE, secret, b"base_nonce", context, 12)


def hpke_open(private, enc, info, bound, sealed, what):
    """Single-shot Open: RFC 9180, section 6.1. The first nonce of a context is its base nonce."""
    try:
        key, nonce = key_schedule(decapsulate(private, enc), info)
        return AESGCM(key).decrypt(nonce, sealed, bound)
    except (InvalidTag, ValueError):
        # X25519 with a point of small order is a ValueError.
        raise Refused(f"{what}: does not open with this private key") from None
