"""Compares the reader with the chapters certificate, keys and signature.

Always true here: as in `vectors.py`, what is expected is read out of the chapters. The points of small order alone stand here,
of which no chapter has a list.
"""

from __future__ import annotations

from . import base, certificate, chunks, keys, primitives, printed, signature
from .spec import example_config, example_keys, example_password, refusal

# The values of y of the points of order 8 of Ed25519's curve.
EIGHTH_ORDER = [
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
]
PURPOSES = {
    signature.SNAPSHOT: "snapshot",
    signature.SEGMENT: "index segment",
    signature.ENTRY: "audit entry",
    signature.RETIREMENT: "retirement",
}


def derivations(spec):
    secret = bytes([0x11]) * 32
    example = keys.Keys(secret, secret)
    key = chunks.chunk_key(secret, b"sheaf")
    answers = {
        'chunk key K of `"sheaf"': key,
        "chunk id I of that key": chunks.chunk_id(key),
        "reference secret": example.reference_secret,
        "key of pack trailers": example.pack_trailer,
        "key of index segments": example.index_segment,
        "key of signatures": example.signatures,
        "key of sessions": example.sessions,
        "key of retirements": example.retirements,
        "key of the facts of audit entries": example.audit_facts,
    }
    for what in ("index key", "dedup secret", "admins' key", "catalog key", "audit key"):
        answers[f"rotated {what}"] = base.derive(f"sheaf v1 2026-11 rotation: {what}", secret + secret)
    table = spec.find("keys", r"(?s)(\| derived \| context \|.*?)\n\n")
    for line in table.splitlines()[2:]:
        name, _, answer = (cell.strip().strip("`") for cell in line.strip("|").split("|"))
        spec.same(f"keys: {name}", answers.pop(name, b"").hex(), answer)
    spec.same("keys: derivations that the chapter has not", sorted(answers), [])


def certificates(spec):
    data, authority = spec.hex("certificate-example"), primitives.ed25519_public(spec.value("authority's seed"))
    spec.same("certificate: the authority", authority.hex(), spec.find("certificate", r"its public key is `(\w+)`"))
    for name, chapter in [("authority's seed", "authority's seed"), ("seed of the signing key", "holder's seed")]:
        word = spec.find("certificate", rf"[Tt]he {chapter} is 32 bytes of `(\w\w)`")
        spec.same(f"certificate: the {chapter}", spec.value(name), bytes.fromhex(word) * 32)
    repository = example_config(spec).repository
    found = certificate.read_certificate(data, authority, repository, "example")
    spec.same("certificate: record", base.Record.decode(data, "example").get(0, bytes), spec.hex("certificate-record-example"))
    spec.same("certificate: key", found.key, primitives.ed25519_public(spec.value("seed of the signing key")))
    mine = keys.keys_of_record(spec.hex("keys-record-example"), example_config(spec), "example")
    spec.same("certificate: in the bundle", mine.certificate, found)
    read = certificate.read_certificate
    other = "certificate: is of another repository"
    spec.same("certificate of another repository", refusal(read, data, authority, bytes(16), "example"), other)
    forged = "certificate: the signature is not that of its key"
    spec.same("certificate of another authority", refusal(read, data, found.key, repository, "example"), forged)


def small_orders(spec):
    """A key of small order, for which some signature fits any message: here that of 1, whose multiples are all 1."""
    one = (1).to_bytes(32, "little")
    verify = primitives.ed25519_verify
    found = refusal(verify, one, one + bytes(32), b"any message", "example")
    spec.same("signature: a key of small order", found, "the public key is of small order")
    spec.find("signature", r"A public key and an `R` of small\s+order are (refused)")
    # RFC 8032's base point, and what seeds give, are of large order.
    points = [(4 * pow(5, -1, primitives.PRIME) % primitives.PRIME).to_bytes(32, "little")]
    points += [primitives.ed25519_public(bytes([at]) * 32) for at in range(100)]
    spec.same("signature: keys of large order", any(map(primitives.of_small_order, points)), False)
    # There are eight points of small order, with five values of y, two of which can be written in another way.
    orders = [0, 1, primitives.PRIME - 1, primitives.PRIME, primitives.PRIME + 1]
    orders += [int.from_bytes(bytes.fromhex(y), "little") for y in EIGHTH_ORDER]
    found = [primitives.of_small_order((y | sign << 255).to_bytes(32, "little")) for y in orders for sign in (0, 1)]
    spec.same("signature: all keys of small order", found, [True] * 2 * len(orders))


def bundle(spec):
    data, config, mine = spec.hex("keys-example"), example_config(spec), example_password(spec)
    source = base.Bytes(data, "example")
    source.take(base.HEADER_LENGTH)
    spec.same("keys: protection", source.number(4), int(spec.find("keys", r"protection \| (\d): a password")))
    answer = spec.find("keys", r"The password's key is `([0-9a-f]{64})`")
    spec.same("keys: the password's key", keys.key_of_password(source, mine, "example").hex(), answer)
    opened = keys.open_bundle(data, config.repository, mine, "example")
    spec.same("keys: the record", opened.record, spec.hex("keys-record-example"))
    found, wanted = keys.keys_of_bundle(opened, config, "example"), example_keys(spec)
    spec.same("keys: what the bundle gives", found.secrets(), wanted.secrets())
    card = keys.unseal_card(opened, wanted.catalog_key, "example")
    spec.same("keys: the card", card, spec.hex("certificate-example"))
    key = base.key_sealed_to(wanted.catalog_key, opened.card, keys.CARD_INFO, opened.header, "example")
    spec.same("keys: key of the card", key, spec.value("key of the bundle's card"))
    escrow = keys.unseal_escrow(opened, wanted.private_key, "example")
    spec.same("keys: the escrow", escrow.hex(), answer)
    public = spec.value("recipient's public key")
    spec.same("keys: recipients", found.record.array(6, bytes, 32), [public])
    for field, private in [(5, found.catalog_key), (11, found.audit_key)]:
        spec.same(f"keys: field {field}", found.record.get(field, bytes), primitives.x25519_public(private))
    spec.same("keys: public key", primitives.x25519_public(found.private_key), public)
    spec.same("keys: signing key", found.record.get(3, bytes), spec.value("seed of the signing key"))
    spec.same("keys: authority key", found.record.get(10, bytes), spec.value("authority's seed"))


def printed_keys(spec):
    step = [int(byte, 16) for byte in spec.find("keys", r"bytes `([0-9a-f ]+) …`, each seven more").split()]
    key = bytes(at * step[1] % 256 for at in range(32))
    text = spec.find("keys", r"are the private key (SHEAF-KEY-[0-9A-Z-]+)\n")
    spec.same("keys: the first bytes of the printed key", list(key[: len(step)]), step)
    spec.same("keys: the printed key", printed.read_printed(text), key)
    spec.same("keys: base 32", printed.DIGITS, spec.find("keys", r"base 32 \(`(\w+)`\)"))
    typed = text.lower().replace("-", " ").replace("1", "l").replace("0", "o")
    spec.same("keys: the printed key, typed", printed.read_printed(typed), key)
    groups = text.split("-")
    for at in range(2, len(groups)):
        other = "-".join(groups[:at] + [groups[at][:-1] + ("3" if groups[at][-1] == "2" else "2")] + groups[at + 1 :])
        wrong = f"group {at - 1} is not what was printed"
        spec.same(f"keys: a printed key with a wrong group {at - 1}", refusal(printed.read_printed, other), wrong)
    spec.same("keys: as a password", keys.protection_of(text.encode()), keys.Recipient(key))


def block(spec, chapter, data, purpose):
    """The signature of an example, by the key of its bundle."""
    mine, repository = example_keys(spec), example_config(spec).repository
    found = signature.read_signed(data, purpose, repository, mine, "example")
    spec.same(f"{chapter}: maker", found.maker, primitives.ed25519_public(spec.value("seed of the signing key")))
    spec.same(f"{chapter}: the maker's certificate", found.certificate.stored, spec.hex("certificate-example"))
    signed, sealed, of_maker = signature.split_block(data, "example")
    spec.same(f"{chapter}: maker length", len(sealed), int(spec.find("signature", r"\| 0 \| (\d+) \| maker")))
    key = base.key_sealed_to(mine.catalog_key, of_maker, signature.MAKER_INFO, base.hash_of(signed), "example")
    wanted = spec.value("keys of the makers' certificates, and of the audit record")
    spec.same(f"{chapter}: key of the certificate", key, wanted)
    text = spec.find("signature", rf'\| {PURPOSES[purpose]} \| `"(.*?)"` \|')
    spec.same(f"{chapter}: purpose", purpose.decode(), text)
    for other in PURPOSES.keys() - {purpose}:
        found = refusal(signature.read_signed, data, other, repository, mine, "example")
        spec.same(f"{chapter}: as another object", found, "the signature is not that of its key")
