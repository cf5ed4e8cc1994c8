"""Objects that a holder of some keys could make, and what the reader makes of them: bundles, snapshots, segments, entries, and
what a session and a prune leave.

Always true here: what is made differs in one thing from what is sound, and the sound one is accepted.
"""

from __future__ import annotations

import dataclasses
import os
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from . import audit, base, certificate, chunks, keys, primitives, printed, retired, session, signature, snapshot
from .spec import example_config, example_keys, refusal

AUTHORITY, OTHER_AUTHORITY, SEED, OTHER_SEED = (bytes([at]) * 32 for at in (0x66, 0x67, 0x77, 0x78))


# ---- what a writer does -------------------------------------------------------------------------------------------------


def head(major, number):
    if number < 24:
        return bytes([major << 5 | number])
    size = next(size for size in range(4) if number < 1 << (8 << size))
    return bytes([major << 5 | 24 + size]) + number.to_bytes(1 << size, "big")


def encode(value):
    """CBOR, for what records have."""
    if isinstance(value, int):
        return head(primitives.UNSIGNED, value)
    if isinstance(value, bytes):
        return head(primitives.BYTES, len(value)) + value
    if isinstance(value, str):
        return head(primitives.TEXT, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(primitives.ARRAY, len(value)) + b"".join(map(encode, value))
    return head(primitives.MAP, len(value)) + b"".join(encode(key) + encode(value[key]) for key in sorted(value))


def seal(key, bound, plain):
    nonce = os.urandom(base.NONCE_LENGTH)
    return nonce + base.AESGCM(key).encrypt(nonce, plain, bound)


def hpke_seal(public, info, bound, plain):
    """RFC 9180: Encap of section 4.1, and single-shot Seal of section 6.1."""
    ephemeral = X25519PrivateKey.generate()
    enc = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    extracted = primitives.labeled_extract(primitives.KEM_SUITE, b"", b"eae_prk", shared)
    shared = primitives.labeled_expand(primitives.KEM_SUITE, extracted, b"shared_secret", enc + public, 32)
    key, nonce = primitives.key_schedule(shared, info)
    return enc + base.AESGCM(key).encrypt(nonce, plain, bound)


def seal_to(private, info, bound, plain):
    key = os.urandom(32)
    return hpke_seal(primitives.x25519_public(private), info, bound, key) + seal(key, bound, plain)


def certify(role, seed=SEED, authority=AUTHORITY, repository=None):
    record = {0: primitives.ed25519_public(seed), 1: role, 2: "forged", 3: 0, 5: repository or bytes(range(16))}
    message = certificate.CERTIFICATE_PURPOSE + base.hash_of(encode(record))
    return encode({0: encode(record), 1: Ed25519PrivateKey.from_private_bytes(authority).sign(message)})


def sign(mine, data, purpose, of_maker, seed=SEED):
    bound = base.hash_of(data)
    made = Ed25519PrivateKey.from_private_bytes(seed).sign(purpose + bound)
    maker = seal(mine.signatures, bound, primitives.ed25519_public(seed) + made)
    maker += seal_to(mine.catalog_key, signature.MAKER_INFO, bound, of_maker)
    return data + maker + struct.pack("<I", len(maker) + signature.LENGTH_LENGTH)


# ---- snapshots, segments and entries ------------------------------------------------------------------------------------


def make_snapshot(spec, mine, of_maker, within=None, seed=SEED, recipient=None, size=None):
    """A snapshot like the example's; `within` is the certificate in its private part, `size` that of the disk there."""
    header = spec.hex("snapshot-example")[: base.HEADER_LENGTH]
    operator = primitives.cbor(spec.hex("snapshot-operator-example"), "example")
    sealed = seal_to(mine.catalog_key, snapshot.OPERATOR_INFO, header, encode(operator))
    data = header + struct.pack("<I", len(sealed)) + sealed
    bound, content = base.hash_of(data), os.urandom(32)
    public = primitives.x25519_public(recipient or mine.private_key)
    private = primitives.cbor(spec.hex("snapshot-private-example"), "example")
    private[3] = operator | {6: size or operator[6]}
    private[4] = within or of_maker
    sealed = seal(content, bound, encode(private))
    data += struct.pack("<HH", 1, 0) + public + hpke_seal(public, snapshot.CONTENT_KEY_INFO, bound, content)
    return sign(mine, data + struct.pack("<I", len(sealed)) + sealed, signature.SNAPSHOT, of_maker, seed)


KINDS = {"backup": audit.BACKUP, "forget": audit.FORGET, "forgotten": audit.FORGOTTEN, "key revoke": audit.KEY_REVOKE}


def make_entry(mine, previous, action, result="done", snapshots=(), key=None, role="admin", time=0):
    header = b"SHEAFA" + struct.pack("<HII", base.VERSION, 0, 0) + bytes(range(16))
    data = header + struct.pack("<HH", len(previous), len(snapshots)) + b"".join(previous)
    facts = struct.pack("<Bq", KINDS.get(action, 99), time) + b"".join(snapshots)
    data += seal(mine.audit_facts, base.hash_of(data), facts)
    record = {0: action, 1: result, 2: "desk"} | ({3: key} if key else {})
    data += seal_to(mine.audit_key, audit.RECORD_INFO, base.hash_of(data), encode(record))
    return sign(mine, data, signature.ENTRY, certify(role))


def forged_snapshots(spec):
    config, admin, owner = example_config(spec), example_keys(spec), example_keys(spec)
    owner.catalog_key = owner.audit_key = None
    made, foreign, other = certify("owner"), certify("owner", authority=OTHER_AUTHORITY), certify("owner", OTHER_SEED)
    unknown, not_its = "the signature is not that of its key", "the certificate is not that of the key that signed"

    def says(what, data, of_admin, of_owner):
        for name, mine, wanted in [("an admin", admin, of_admin), ("an owner", owner, of_owner)]:
            found = refusal(snapshot.open_snapshot, data, config, mine, "forged")
            found = found.rpartition("certificate: ")[2] if isinstance(found, str) else "accepted"
            spec.same(f"forged snapshot: {what}, for {name}", found, wanted)

    for role in certificate.ROLES:
        fits = role in spec.find("signature", r"one that makes such objects: ([\w, ]+) for snapshots, ")
        answer = "accepted" if fits else f"is signed by a key of the role {role}"
        says(role, make_snapshot(spec, admin, certify(role)), answer, answer)
    says("another authority", make_snapshot(spec, admin, foreign), unknown, unknown)
    says("another authority within", make_snapshot(spec, admin, made, foreign), unknown, unknown)
    says("another's certificate", make_snapshot(spec, admin, other), not_its, not_its)
    says("another's certificate, seen by admins", make_snapshot(spec, admin, other, made), not_its, "accepted")
    says("a role that is none", make_snapshot(spec, admin, certify("king")), "the role 'king'", "the role 'king'")
    elsewhere = make_snapshot(spec, admin, certify("owner", repository=bytes(16)))
    says("another repository's certificate", elsewhere, "is of another repository", "is of another repository")
    unequal = "the operator records of both parts are not equal"
    says("two sizes", make_snapshot(spec, admin, made, size=16385), unequal, "accepted")
    says("for another", make_snapshot(spec, admin, made, recipient=SEED), *["was not made for this key"] * 2)


def forged_segments(spec):
    repository, mine = example_config(spec).repository, example_keys(spec)
    data = signature.split_block(spec.hex("index-object-example"), "example")[0]
    makes_none = spec.find("signature", r"any role but an (\w+) for segments")
    for role in certificate.ROLES:
        stored = sign(mine, data, signature.SEGMENT, certify(role))
        found = refusal(chunks.unseal_segment, stored, repository, mine, "forged")
        fits = role != makes_none
        wanted = spec.hex("index-example") if fits else f"is signed by a key of the role {role}"
        spec.same(f"forged segment: {role}", found, wanted)


def forged_retirements(spec):
    repository, mine, clear = example_config(spec).repository, example_keys(spec), spec.hex("retired-example")
    data = signature.split_block(spec.hex("retired-object-example"), "example")[0]
    prunes = spec.find("signature", r"for segments, an ([\w, ]+) for retirements")
    for role in certificate.ROLES:
        stored = sign(mine, data, signature.RETIREMENT, certify(role))
        found = refusal(retired.unseal_retirement, stored, repository, mine, "forged")
        wanted = clear if role in prunes else f"is signed by a key of the role {role}"
        spec.same(f"forged retirement: {role}", found, wanted)
    unseen = example_keys(spec)
    unseen.catalog_key = None
    stored = sign(mine, data, signature.RETIREMENT, certify("depositor"))
    found = refusal(retired.unseal_retirement, stored, repository, unseen, "forged")
    spec.same("forged retirement: a depositor's, without the catalog's key", found, clear)
    found = refusal(retired.unseal_retirement, bytes(retired.RETIRED_MAX + 1), repository, mine, "forged")
    spec.same("forged retirement: a long one", found, "too long")
    for what, at, byte, says in [("kind", 5, b"I", "magic or kind"), ("repository", 16, b"x", "is of another repository")]:
        other = sign(mine, data[:at] + byte + data[at + 1 :], signature.RETIREMENT, certify("admin"))
        found = refusal(retired.unseal_retirement, other, repository, mine, "forged")
        spec.same(f"forged retirement: another {what}", found, says)

    ids = [bytes([at]) * 32 for at in (1, 2)]

    def says(what, packs, segments, ids, wanted):
        found = refusal(retired.parse_retirement, struct.pack("<QII", 7, packs, segments) + b"".join(ids), "forged")
        spec.same(f"forged retirement: {what}", found, wanted)

    says("of two packs", 2, 0, ids, retired.Retirement(7, tuple(ids), ()))
    says("of one each", 1, 1, ids[::-1], retired.Retirement(7, (ids[1],), (ids[0],)))
    says("of nothing", 0, 0, [], retired.Retirement(7, (), ()))
    says("packs that fall", 2, 0, ids[::-1], "the packs do not rise")
    says("a pack twice", 2, 0, ids[:1] * 2, "the packs do not rise")
    says("segments that fall", 0, 2, ids[::-1], "the segments do not rise")
    for counts in [(1, 0), (3, 0), (1, 2), (0xFFFFFFFF, 0xFFFFFFFF)]:
        says(f"counts {counts}", *counts, ids, "the counts do not fit the bytes")
    says("a byte too many", 1, 1, [*ids, b"x"], "the counts do not fit the bytes")
    found = refusal(retired.parse_retirement, bytes(15), "forged")
    spec.same("forged retirement: too short", found, "ends within a field at byte 12")


def forged_sessions(spec):
    repository, mine, stored = example_config(spec).repository, example_keys(spec), spec.hex("session-example")
    record, ids = primitives.cbor(spec.hex("session-record-example"), "example"), [bytes([at]) * 32 for at in (1, 2)]

    def says(what, change, wanted):
        fields = {field: value for field, value in {**record, **change}.items() if value is not None}
        found = refusal(session.read_session, encode(fields), "forged")
        spec.same(f"forged session: {what}", found, wanted)

    as_it_is = session.read_session(encode(record), "example")

    def like(**change):
        return dataclasses.replace(as_it_is, **change)

    says("as it is", {}, as_it_is)
    says("with a field that is not known", {9: b"more"}, as_it_is)
    says("that knows nothing", {3: b""}, like(known=()))
    says("that knows two", {3: ids[0] + ids[1]}, like(known=tuple(ids)))
    for name, kind in [("STORES", 1), ("READS", 2), ("PRUNES", 3)]:
        says(f"of the kind {kind}", {2: kind}, like(kind=getattr(session, name)))
    says("of a kind that is not known", {2: 4}, like(kind=session.STORES))
    says("of a kind that is too large", {2: 256}, "kind")
    says("with a part of an id", {3: ids[0][:31]}, "what it knows are not whole ids")
    for what, known in [("fall", ids[1] + ids[0]), ("are equal", ids[0] * 2)]:
        says(f"with ids that {what}", {3: known}, "the ids that it knows do not rise")
    says("with a short nonce", {0: bytes(31)}, "field 0 is not of 32 bytes")
    says("with a renewal that is text", {1: "1"}, "field 1 is missing or not of its type")
    for field in range(5):
        says(f"without field {field}", {field: None}, f"field {field} is missing or not of its type")

    def opened(data, whose=mine):
        return refusal(session.open_session, data, repository, whose, "forged")

    def lease(change, header=stored[: base.HEADER_LENGTH]):
        return header + seal(mine.sessions, header, encode({**record, **change}))

    holder = session.read_holder(spec.hex("session-holder-example"), "example")
    spec.same("forged session: sealed again", opened(lease({})), (as_it_is, holder))
    unseen = example_keys(spec)
    unseen.catalog_key = None
    spec.same("forged session: without the catalog's key", opened(stored, unseen), (as_it_is, None))
    spec.same("forged session: another's nonce", opened(lease({0: ids[0]})), "holder: does not open with this private key")
    spec.same("forged session: a long one", opened(bytes(session.SESSION_MAX + 1)), "too long")
    header = stored[: base.HEADER_LENGTH]
    spec.same("forged session: another kind", opened(lease({}, header[:5] + b"D" + header[6:])), "magic or kind")
    spec.same("forged session: another repository", opened(lease({}, header[:16] + bytes(16))), "is of another repository")
    sealed = seal_to(mine.catalog_key, session.HOLDER_INFO, as_it_is.nonce, encode({0: "desk", 1: 1 << 32, 2: "", 3: 0}))
    spec.same("forged session: a process that is too large", opened(lease({4: sealed})), "holder: process")


def forged_logs(spec):
    config, mine = example_config(spec), example_keys(spec)
    one, two = bytes([1]) * 32, bytes([2]) * 32
    maker, names = primitives.ed25519_public(SEED), {}

    def add(objects, name, previous, *entry, **more):
        data = make_entry(mine, sorted(names[other] for other in previous), *entry, **more)
        names[name] = base.hash_of(data)
        objects[base.name_of("audit", names[name])] = data

    def log_of(objects):
        return audit.open_log(base.Memory(objects), config, mine)

    objects = {}
    add(objects, "first", [], "backup", snapshots=[one, two], role="depositor", time=50)
    add(objects, "left", ["first"], "forget", snapshots=[one], role="auditor", time=40)
    add(objects, "right", ["first"], "key add", role="operator", time=30)
    add(objects, "last", ["left", "right"], "key revoke", snapshots=[one], key=maker, role="auditor", time=20)
    order = [entry.identity for entry in log_of(objects).order]
    spec.same("log: order", order, [names[name] for name in ("first", "right", "left", "last")])
    spec.same("log: all there", refusal(log_of(objects).all_there, [one, two]), None)
    missing = f"is not there, though {base.name_of('audit', names['first'])} says that it was made"
    spec.same("log: a forget by an auditor", refusal(log_of(objects).all_there, [two]), missing)
    spec.same("log: taken away by an auditor", refusal(log_of(objects).believe, two, maker), None)
    for name in ("first", "left", "right"):
        gone = {path: data for path, data in objects.items() if not path.endswith(names[name].hex())}
        spec.same(f"log: without {name}", str(refusal(log_of, gone))[:13], "is not there,")

    add(objects, "forget", ["last"], "forget", snapshots=[two])
    add(objects, "revoke", ["forget"], "key revoke", snapshots=[one], key=maker)
    log = log_of(objects)
    spec.same("log: a forget", refusal(log.all_there, [one]), None)
    spec.same("log: a forget that was cut short", refusal(log.all_there, [one, two]), None)
    add(objects, "forgotten", ["revoke"], "forgotten", snapshots=[two])
    returned = f"is there, though {base.name_of('audit', names['forgotten'])} says that it was forgotten"
    spec.same("log: back again", refusal(log_of(objects).all_there, [one, two]), returned)
    spec.same("log: forgotten", refusal(log_of(objects).all_there, [one]), None)
    spec.same("log: made before it was taken away", refusal(log.believe, one, maker), None)
    spec.same("log: made later", refusal(log.believe, two, maker), "was made with a key that was revoked")
    spec.same("log: made by another", refusal(log.believe, two, one), None)

    falling = make_entry(mine, [two, one], "check")
    found = refusal(audit.split_entry, falling, one, config.repository, mine, "forged")
    spec.same("log: previous entries that fall", found, "the previous entries do not rise")
    many = make_entry(mine, [struct.pack(">32xI", at)[4:] for at in range(audit.MAX_PREVIOUS + 1)], "check")
    found = refusal(audit.split_entry, many, one, config.repository, mine, "forged")
    spec.same("log: too many previous entries", found, "count of the previous entries")


def make_bundle(spec, mine, change=None, card=None, protection=2):
    """The example's record, with changed fields, sealed to the example's recipient."""
    header, repository = spec.hex("keys-example")[: base.HEADER_LENGTH], example_config(spec).repository
    public, key = primitives.x25519_public(mine.private_key), os.urandom(32)
    data = header + struct.pack("<I", protection) + public + hpke_seal(public, keys.BUNDLE_INFO, repository, key)
    if card is None:
        card = seal_to(mine.catalog_key, keys.CARD_INFO, header, spec.hex("certificate-example"))
    data += struct.pack("<I", len(card)) + card
    data += hpke_seal(public, keys.ESCROW_INFO, header, key)
    record = primitives.cbor(spec.hex("keys-record-example"), "example") | (change or {})
    return data + seal(key, data, encode({field: value for field, value in record.items() if value is not None}))


def forged_bundles(spec):
    config, mine = example_config(spec), example_keys(spec)
    recipient, header = keys.Recipient(mine.private_key), spec.hex("keys-example")[: base.HEADER_LENGTH]

    def opened(data, whose=recipient):
        found = keys.find_keys(base.Memory({base.name_of("keys", base.hash_of(data)): data}), config, whose)
        return found.secrets()

    def says(what, wanted, *arguments, whose=recipient):
        found = refusal(opened, make_bundle(spec, mine, *arguments), whose)
        spec.same(f"forged bundle: {what}", found.rpartition(": ")[2] if isinstance(found, str) else found, wanted)

    says("as it is", mine.secrets())
    says("for another", "there is no bundle for this key", whose=keys.Recipient(SEED))
    says("for a password", "there is no bundle for a password", whose=keys.Password(b"password"))
    says("of another protection", "there is no bundle for this key", None, None, 3)
    says("of another config", "holds another config than the stored one", {1: config.stored[:-1]})
    says("of another authority", "the signature is not that of its key", {2: primitives.ed25519_public(OTHER_AUTHORITY)})
    says("with another signing key", "the certificate is not that of the signing key", {3: OTHER_SEED})
    for field in (2, 3, 4, 5, 7, 8, 9, 11, 12):
        says(f"with a short field {field}", f"field {field} is not of 32 bytes", {field: bytes(31)})
    for field in (0, 1, 2, 3, 4, 5, 6, 11):
        says(f"without field {field}", f"field {field} is missing or not of its type", {field: None})
    says("with a long card", "length of the card", None, bytes(keys.CARD_MAX + 1))
    another = "the card is not the certificate of the bundle's key"
    other = seal_to(mine.catalog_key, keys.CARD_INFO, header, certify("owner"))
    says("with another's card", another, None, other)
    unseen = tuple(None if secret == mine.catalog_key else secret for secret in mine.secrets())
    says("with another's card, without the catalog's key", unseen, {9: None}, other)


def bounds(spec):
    """Lengths, counts, costs and headers at which a reader must stop."""
    config, mine, data = example_config(spec), example_keys(spec), spec.hex("audit-example")

    def entry(stored):
        return refusal(audit.split_entry, stored, bytes(32), config.repository, mine, "example")

    body, least, most = data[:-4], signature.LEAST_BLOCK_LENGTH, signature.MAX_BLOCK_LENGTH
    for length in (0, 4, least - 1, len(data) + 1, most + 1, 0xFFFFFFFF):
        found = entry(body + struct.pack("<I", length))
        spec.same(f"bounds: a block of {length}", found, "length of the signature's block")
    long = bytes(most) + struct.pack("<I", most + 1)
    spec.same("bounds: a block that is long and there", entry(long), "length of the signature's block")
    spec.same("bounds: no block", entry(data[:3]), "too short for a signature")
    spec.same("bounds: a long entry", entry(bytes(audit.ENTRY_MAX + 1)), "too long")
    signed = signature.split_block(data, "example")[0]
    for at, says in [(5, "magic or kind"), (6, "version"), (8, "required features that nobody knows")]:
        changed = sign(mine, signed[:at] + bytes([9]) + signed[at + 1 :], signature.ENTRY, certify("admin"))
        spec.same(f"bounds: byte {at} of a header", entry(changed), says)
    moved = sign(mine, signed[:16] + bytes(16) + signed[32:], signature.ENTRY, certify("admin"))
    spec.same("bounds: an entry of another repository", entry(moved), "is of another repository")

    stored = make_entry(mine, [], "key revoke")
    found = refusal(audit.open_log, base.Memory({base.name_of("audit", base.hash_of(stored)): stored}), config, mine)
    spec.same("bounds: whose key was revoked", found, "does not say which key it takes away")

    memory, passes, lanes = keys.MEMORY_MAX, keys.PASSES_MAX, keys.LANES_MAX
    costs = [(memory + 1, 1, 1), (7, 1, 1), (15, 1, 2)]
    costs += [(64, 0, 1), (64, passes + 1, 1), (64, 1, 0), (8 * lanes + 8, 1, lanes + 1)]
    for cost in costs:
        source = base.Bytes(struct.pack("<III16x", *cost), "example")
        found = str(refusal(keys.key_of_password, source, keys.Password(b"password"), "example"))
        spec.same(f"bounds: costs {cost}", found.endswith("of the password"), True)
    for text, says in [
        ("SHEAF-PUB-00000000", "does not begin with SHEAF-KEY"),
        ("SHEAF-KEY-00000000", "has 1 groups in place of 8"),
        ("SHEAF-KEY-0000000U" + "-00000000" * 7, "group 1 has not eight characters of base 32"),
        ("SHEAF-KEY-0000000" + "-00000000" * 7, "group 1 has not eight characters of base 32"),
    ]:
        spec.same(f"bounds: {text[:20]}", refusal(printed.read_printed, text), says)
