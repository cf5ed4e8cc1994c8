"""Compares the reader with every example, constant and known answer that the chapters show.

Always true here:
- What is expected is read out of the chapters' text and stands nowhere here. What the reader would ask a real repository is
  asked of the example repository, made of the dumps alone.
- An example or a constant of the chapters that nothing here looks at is a failure, and so is a chapter without any.
"""

from __future__ import annotations

import os
import re
import struct
import tempfile

from . import audit, base, chunks, keys, parity, retired, session, signature, snapshot, trees
from .forged import (
    bounds, forged_bundles, forged_logs, forged_retirements, forged_segments, forged_sessions, forged_snapshots,
)
from .primitives import cbor
from .spec import Spec, example_config, example_keys, example_password, here, refusal
from .vectors_keys import block, bundle, certificates, derivations, printed_keys, small_orders

# At least so many comparisons, whatever the chapters look like.
FEWEST = 360

# The constants that have a meaning to a reader.
CONSTANTS = {
    "object::VERSION": base.VERSION,
    "object::KNOWN_REQUIRED": 0,
    "HEADER_LENGTH": base.HEADER_LENGTH,
    "object::SEALED_TO_PREFIX": base.SEALED_TO_PREFIX,
    "config::MAX_LENGTH": base.CONFIG_MAX,
    "CHUNKER_FASTCDC_2020": base.FASTCDC_2020,
    "Chunking::MAX": base.CHUNK_MAX,
    "Chunking::MIN": base.SMALLEST_MINIMUM,
    "Chunking::LARGEST_MIN": base.LARGEST_MINIMUM,
    "Chunking::LARGEST_AVERAGE": base.LARGEST_AVERAGE,
    "Chunking::SMALLEST_MAX": base.SMALLEST_MAXIMUM,
    "Config::MAX_PACK_SIZE": base.PACK_SIZE_MAX,
    "Config::LEAST_PARITY_RATIO": base.LEAST_PARITY_RATIO,
    "Config::LARGEST_PARITY_RATIO": base.LARGEST_PARITY_RATIO,
    "parity::HEAD_LENGTH": parity.HEAD_LENGTH,
    "parity::SUM_LENGTH": parity.SUM_LENGTH,
    "parity::SECTOR_LENGTH": parity.SECTOR_LENGTH,
    "parity::BLOCK_LENGTH": parity.BLOCK_LENGTH,
    "parity::PARITY_SECTORS": parity.PARITY_SECTORS,
    "parity::LEAST_DATA_SECTORS": parity.LEAST_DATA_SECTORS,
    "parity::MAX_DATA_SECTORS": parity.MAX_DATA_SECTORS,
    "parity::MAX_COVERED": parity.MAX_COVERED,
    "parity::MAX_LENGTH": parity.MAX_LENGTH,
    "keys::MAX_LENGTH": keys.BUNDLE_MAX,
    "keys::MAX_CARD_LENGTH": keys.CARD_MAX,
    "password::MAX_MEMORY_KIB": keys.MEMORY_MAX,
    "password::MAX_PASSES": keys.PASSES_MAX,
    "password::MAX_LANES": keys.LANES_MAX,
    "aead::NONCE_LENGTH": base.NONCE_LENGTH,
    "aead::TAG_LENGTH": base.TAG_LENGTH,
    "aead::OVERHEAD": base.NONCE_LENGTH + base.TAG_LENGTH,
    "pack::CHUNK_OVERHEAD": chunks.CHUNK_OVERHEAD,
    "pack::PACK_HEADER_LENGTH": chunks.PACK_HEADER_LENGTH,
    "pack::FOOTER_LENGTH": chunks.FOOTER_LENGTH,
    "pack::ENTRY_LENGTH": chunks.ENTRY_LENGTH,
    "pack::MAX_LENGTH": chunks.PACK_MAX,
    "index::MAX_LENGTH": chunks.SEGMENT_MAX,
    "tree::ENTRY_LENGTH": trees.ENTRY_LENGTH,
    "tree::MAX_DEPTH": trees.MAX_DEPTH,
    "tree::MAX_ENTRIES": trees.MAX_ENTRIES,
    "manifest::RECORD_LENGTH": trees.RECORD.size,
    "manifest::MAX_RECORDS": trees.MAX_RECORDS,
    "snapshot::MAX_LENGTH": snapshot.SNAPSHOT_MAX,
    "snapshot::MAX_RECIPIENTS": snapshot.MAX_RECIPIENTS,
    "recipient::ENCAPSULATED_LENGTH": base.ENCAPSULATED_LENGTH,
    "recipient::SEALED_LENGTH": base.SEALED_LENGTH,
    "signature::MAKER_LENGTH": signature.MAKER_LENGTH,
    "signature::MAX_BLOCK_LENGTH": signature.MAX_BLOCK_LENGTH,
    "audit::MAX_LENGTH": audit.ENTRY_MAX,
    "audit::MAX_PREVIOUS": audit.MAX_PREVIOUS,
    "session::MAX_LENGTH": session.SESSION_MAX,
    "retired::MAX_LENGTH": retired.RETIRED_MAX,
    "audit::MAX_SUBJECTS": audit.MAX_SUBJECTS,
    "audit::FACTS_LENGTH": audit.FACTS_LENGTH,
}
# Constants of writers. They are used by the known answers for building and cutting.
OF_WRITERS = {"Config::DEFAULT_PACK_SIZE", "Config::DEFAULT_PARITY_RATIO", "tree::MIN_ENTRIES", "tree::CLOSING_MASK"}


# ---- one function for each chapter --------------------------------------------------------------------------------------


def constants(spec):
    seen = set()
    for chapter, text in spec.chapters.items():
        for section in re.findall(r"^## Constants\n(.*?)^## ", text, re.M | re.S):
            for name, value in re.findall(r"^\| `([\w:]+)` \| (\S+) \|$", section, re.M):
                seen.add(name)
                if name not in OF_WRITERS:
                    spec.same(f"{chapter}: {name}", CONSTANTS.get(name), int(value))
    spec.same("constants that no chapter has", sorted(CONSTANTS.keys() - seen), [])


def names(spec):
    for line in spec.lines("names-example"):
        name = base.parse_name(line)
        spec.same(f"the name {line}", name is not None and base.name_of(*name), line)
    for line in spec.lines("names-strangers"):
        spec.same(f"the stranger {line}", base.parse_name(line), None)


def objects(spec):
    header = spec.hex("object-example")
    spec.same("object: repository id", base.object_header(header, b"I", None, "example"), spec.value("repository id"))
    spec.same("object: the header of the segment", header, spec.hex("index-object-example")[: len(header)])


def config(spec):
    record = example_config(spec).record
    created = spec.find("config", r"Created ((?:\d+ )+)ms").replace(" ", "")
    spec.same("config: created", record.get(0, int), int(created))
    sizes = spec.find("config", r"FastCDC 2020 with ([\d ]+, [\d ]+ and [\d ]+) bytes and normalization")
    chunking = [record.map(1).unsigned(key) for key in (1, 2, 3)]
    spec.same("config: chunking", chunking, [int(size.replace(" ", "")) for size in re.split(",|and", sizes)])
    pack_size = spec.find("config", r"; packs of ([\d ]+) bytes; zstd").replace(" ", "")
    spec.same("config: pack size", record.unsigned(2), int(pack_size))
    spec.same("config: tool", record.get(5, str), spec.find("config", r"made by `(.*?)`\."))


def parities(spec):
    stored, data = spec.hex("parity-example"), spec.hex("config-example")
    repository = spec.value("repository id")
    head = parity.check_parity(stored, data, "config", repository, "example")
    shape = [head.sectors, head.codewords, head.data, head.parity, head.sector_length]
    spec.same("parity: the example's shape", shape, [1, 1, 1, 1, 128])
    spec.same("parity: id of the config's", parity.id_of_config().hex(), spec.find("parity", r"which is `(\w+)`"))
    spec.same("parity: polynomial", f"{parity.POLYNOMIAL:x}", spec.find("parity", r"\((\w+)\): the number"))
    basis = " ".join(f"{element:04x}" for element in parity.BASIS)
    spec.same("parity: basis", basis, spec.find("parity", r"\n    (0001 [^\n]+)\n"))
    for at in range(len(stored)):
        changed = stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :]
        is_refused = parity.refused(parity.check_parity, changed, data, "config", repository, "example")
        spec.same(f"parity: byte {at} changed is refused", is_refused, True)


def chunk(spec):
    secret = spec.value("dedup secret")
    contents = [b"sheaf", b"a" * 2048 + b"b" * 2048]
    stored = [spec.hex("chunk-raw-example"), spec.hex("chunk-zstd-example")]
    columns = [spec.row("chunk", name) for name in ("K", "I", "plain length", "sealed length")]
    for number, (content, sealed) in enumerate(zip(contents, stored)):
        key = chunks.chunk_key(secret, content)
        found = [key.hex(), chunks.chunk_id(key).hex(), str(len(content)), str(len(sealed))]
        spec.same(f"chunk {number + 1}", found, [column[number].strip("`") for column in columns])
        opened = chunks.open_chunk(sealed, key, secret, len(content), "example")
        spec.same(f"chunk {number + 1}, opened", opened, content)
    packed = base.unseal(key, sealed, chunks.chunk_bound(key, 4096, len(sealed)), "example")
    spec.same("chunk 2, packed", packed, spec.hex("chunk-zstd-packed"))
    spec.same("chunk with other content under its key", other_content(key, secret), "refused")


def other_content(key, secret):
    """What a writer could make who knows the secrets: a seal that opens, around content that is not the key's."""
    nonce, content = bytes(base.NONCE_LENGTH), b"other"
    bound = chunks.chunk_bound(key, len(content), len(content) + chunks.CHUNK_OVERHEAD)
    stored = nonce + base.AESGCM(key).encrypt(nonce, b"\x00" + content, bound)
    found = refusal(chunks.open_chunk, stored, key, secret, len(content), "example")
    return "refused" if "is not the content of its key" in str(found) else found


def example_packs(spec):
    return {base.hash_of(spec.hex(name)): spec.hex(name) for name in ("pack-example", "pack-meta-example")}


def pack(spec):
    data, meta = spec.hex("pack-example"), spec.hex("pack-meta-example")
    spec.same("pack: name", base.hash_of(data).hex(), spec.find("pack", r"two chunks .*? Its name is `(\w+)`"))
    spec.same("pack: name of the meta pack", base.hash_of(meta).hex(), spec.find("pack", r"402\. Its name is `(\w+)`"))
    found = chunks.open_pack_bytes(meta, example_config(spec).repository, example_keys(spec), "meta pack")
    offsets = re.findall(r"\d+", spec.find("pack", r"chunks begin at ([\d, and]+)\."))
    spec.same("pack: offsets in the meta pack", [entry.offset for entry in found[2]], [int(at) for at in offsets])
    kind, size, entries = chunks.open_pack_bytes(data, example_config(spec).repository, example_keys(spec), "pack")
    listing = spec.hex("pack-listing-example")
    end = entries[-1].offset + entries[-1].sealed
    spec.same("pack: listing", entries, chunks.pack_listing(listing, end, "listing"))
    header, footer = data[: chunks.PACK_HEADER_LENGTH], chunks.FOOTER_LENGTH
    opened = base.unseal(example_keys(spec).pack_trailer, data[end:-footer], header, "trailer")
    spec.same("pack: listing, opened", opened, listing)
    bodies = [data[entry.offset : entry.offset + entry.sealed] for entry in entries]
    spec.same("pack: body", bodies, [spec.hex("chunk-raw-example"), spec.hex("chunk-zstd-example")])


def index(spec):
    stored, clear = spec.hex("index-object-example"), spec.hex("index-example")
    opened = chunks.unseal_segment(stored, example_config(spec).repository, example_keys(spec), "segment")
    spec.same("index: opened", opened, clear)
    block(spec, "index", stored, signature.SEGMENT)
    superseded, places = chunks.parse_segment(clear, "segment")
    word = spec.find("index", r"supersedes one \(an id of 32 bytes of `(\w\w)`\)")
    spec.same("index: superseded", superseded, [bytes.fromhex(word) * 32])
    packs = example_packs(spec)
    for place in places:
        data = packs.get(place.pack, b"")
        found = chunks.open_pack_bytes(data, example_config(spec).repository, example_keys(spec), "pack")
        spec.same("index: a pack", (place.kind, place.size, list(place.entries)), found)


def tree(spec):
    secret, node = spec.value("dedup secret"), spec.hex("tree-node-example")
    root = trees.read_root(base.Record.decode(spec.hex("tree-root-example"), "root"))
    says = spec.find("tree", r"The root of that tree, span (\d+ and depth \d+):")
    spec.same("tree: the root", f"{root.span} and depth {root.depth}", says)
    spec.same("tree: the key of the node", chunks.chunk_key(secret, node), root.key)
    spans = spec.find("tree", r"level 0, spans (\d+ and \d+):")
    entries = trees.read_node(node, root.depth - 1, root.span, "node")
    spec.same("tree: spans", " and ".join(str(span) for _, span in entries), spans)
    empty = bytes.fromhex(spec.find("tree", r"It is the record `([0-9a-f ]+)`"))
    spec.same("tree: an empty one", trees.read_root(base.Record.decode(empty, "root")), trees.Root(0, 0, None))


def build(secret, items, least, mask):
    """Builds a tree as a writer must. Gives the entries of the nodes that were closed on each level, the depth and the top."""
    open_nodes, closed = [[]], [[]]

    def close(level):
        entries = open_nodes[level]
        open_nodes[level] = []
        closed[level].append(len(entries))
        node = b"SN" + bytes([level, 0]) + struct.pack("<I", len(entries))
        node += b"".join(key + struct.pack("<Q", span) for key, span in entries)
        append(level + 1, chunks.chunk_key(secret, node), sum(span for _, span in entries))

    def append(level, key, span):
        if level == len(open_nodes):
            open_nodes.append([]), closed.append([])
        open_nodes[level].append((key, span))
        count, closes = len(open_nodes[level]), int.from_bytes(key[:4], "little") & mask == 0
        if count == trees.MAX_ENTRIES or (count >= least and closes):
            close(level)

    for item in items:
        append(0, chunks.chunk_key(secret, item), len(item))
    level = 0
    while len(open_nodes[level]) != 1 or any(open_nodes[level + 1 :]):
        if open_nodes[level]:
            close(level)
        level += 1
    (key, span), = open_nodes[level]
    return closed[:level], span, level, key


def trees_built(spec):
    secret, numbers = spec.value("dedup secret"), (lambda count: [struct.pack("<Q", at) for at in range(count)])
    found = []
    for title, items in [
        ("1 chunk", numbers(1)),
        ("2 chunks", numbers(2)),
        ("10000 chunks", numbers(10000)),
        ("5000 equal chunks", [struct.pack("<Q", 7)] * 5000),
    ]:
        least, mask = spec.constant("tree::MIN_ENTRIES"), spec.constant("tree::CLOSING_MASK")
        levels, span, depth, top = build(secret, items, least, mask)
        found.append(f"{title}: span {span}, depth {depth}")
        found += [f"  level {level}: {' '.join(map(str, counts))}" for level, counts in enumerate(levels)]
        found.append(f"  top {top.hex()}")
    for line, answer in zip(found, spec.lines("tree-known-answers")):
        spec.same("tree: built", line, answer)
    spec.same("tree: lines of known answers", len(found), len(spec.lines("tree-known-answers")))


def cuts(hashes):
    """How many records each chunk of a map or a reference list has."""
    counts, count = [], 0
    for value in hashes:
        count += 1
        if count == 4096 or (count >= 256 and int.from_bytes(value[:4], "little") & 1023 == 0):
            counts.append(count)
            count = 0
    return counts + [count] * (count > 0)


def manifest(spec):
    data = spec.hex("manifest-example")
    size = int(spec.find("manifest", r"example disk of ([\d ]+) bytes").replace(" ", ""))
    kept = int(spec.find("manifest", r"The kept bytes are (\d+)"))
    extents, at, offsets = trees.read_map(data, size, kept), 0, []
    for _, length in extents:
        offsets.append(at)
        at += length
    says = spec.find("manifest", r"kept offsets ([\d, and]+)\.")
    spec.same("manifest: kept offsets", offsets, [int(offset) for offset in re.findall(r"\d+", says)])
    holes = (trees.RECORD.pack(trees.HOLE, 0, 0, 0, 4096 * at, 4096) for at in range(20000))
    known = " ".join(map(str, cuts(base.hash_of(record) for record in holes)))
    spec.same("manifest: known cuts", [known], spec.lines("manifest-known-cuts"))


def snapshots(spec):
    data, mine = spec.hex("snapshot-example"), example_keys(spec)
    parts = snapshot.split_snapshot(data, example_config(spec).repository, mine, "example")
    spec.same("snapshot: h", parts.bound_hash, spec.hex("snapshot-bound-hash"))
    operator = snapshot.unseal_operator_part(parts, mine, "example")
    spec.same("snapshot: operator part", operator, spec.hex("snapshot-operator-example"))
    key = base.key_sealed_to(mine.catalog_key, parts.operator, snapshot.OPERATOR_INFO, parts.header, "example")
    spec.same("snapshot: key of the operator part", key, spec.value("key of its operator part"))
    content = snapshot.content_key(parts, mine, "example")
    spec.same("snapshot: content key", content, spec.value("content key of the snapshot"))
    private = snapshot.unseal_private_part(parts, mine, "example")
    spec.same("snapshot: private part", private, spec.hex("snapshot-private-example"))
    found = snapshot.open_snapshot(data, example_config(spec), mine, "example")
    spec.same("snapshot: the disk's size", found.size, cbor(operator, "operator part")[6])
    root = trees.read_root(base.Record.decode(spec.hex("tree-root-example"), "root"))
    spec.same("snapshot: the data's root", found.data, root)
    within = base.Record.decode(private, "private part")
    spec.same("snapshot: the operator's record in it", within.value[3], cbor(operator, "operator part"))
    spec.same("snapshot: the maker's certificate in it", within.value[4], spec.hex("certificate-example"))
    for name in ["catalog_key", "audit_key"]:
        # An owner's view.
        setattr(mine, name, None)
    spec.same("snapshot: without the catalog's key", snapshot.open_snapshot(data, example_config(spec), mine, "example"), found)
    block(spec, "snapshot", data, signature.SNAPSHOT)


def audits(spec):
    data, mine = spec.hex("audit-example"), example_keys(spec)
    key = bytes.fromhex(spec.find("audit", r"private key is 32 bytes of `(\w\w)`")) * 32
    spec.same("audit: the private key", mine.audit_key, key)
    entry = audit.split_entry(data, base.hash_of(data), example_config(spec).repository, mine, "example")
    spec.same("audit: previous", entry.previous, [])
    spec.same("audit: facts", audit.unseal_facts(entry, mine, "example"), spec.hex("audit-facts-example"))
    spec.same("audit: kind", entry.kind, audit.BACKUP)
    record = audit.unseal_record(entry, mine, "example")
    spec.same("audit: record", record, spec.hex("audit-record-example"))
    key = base.key_sealed_to(mine.audit_key, entry.sealed, audit.RECORD_INFO, entry.bound, "example")
    spec.same("audit: key of the record", key, spec.value("keys of the makers' certificates, and of the audit record"))
    audit.read_record(entry, record, "example")
    spec.same("audit: snapshots", entry.snapshots, (base.hash_of(spec.hex("snapshot-example")),))
    block(spec, "audit", data, signature.ENTRY)


def retirements(spec):
    stored, clear = spec.hex("retired-object-example"), spec.hex("retired-example")
    repository, mine = example_config(spec).repository, example_keys(spec)
    spec.same("retired: opened", retired.unseal_retirement(stored, repository, mine, "example"), clear)
    found = retired.open_retirement(stored, repository, mine, "example")
    time = spec.find("retired", r"A retirement of ((?:\d+ )+)ms")
    spec.same("retired: time", found.time, int("".join(time.split())))
    spec.find("retired", r"condemns the data pack of .*? and the (segment)")
    spec.same("retired: packs", found.packs, (base.hash_of(spec.hex("pack-example")),))
    spec.same("retired: segments", found.segments, (base.hash_of(spec.hex("index-object-example")),))
    block(spec, "retired", stored, signature.RETIREMENT)


def sessions(spec):
    stored, repository, mine = spec.hex("session-example"), example_config(spec).repository, example_keys(spec)
    clear = spec.hex("session-record-example")
    spec.same("session: opened", session.unseal_session(stored, repository, mine, "example"), clear)
    found, holder = session.open_session(stored, repository, mine, "example")
    word = spec.find("session", r"nonce is 32 bytes of `(\w\w)`")
    spec.same("session: nonce", found.nonce, bytes.fromhex(word) * 32)
    spec.same("session: renewal", found.renewal, ["never", "once", "twice"].index(spec.find("session", r"It was renewed (\w+),")))
    kind = spec.find("session", r"The lease of a session that (\w+)\.")
    for number, of in [(session.STORES, "stores"), (session.READS, "reads"), (session.PRUNES, "prunes")]:
        spec.same(f"session: the kind that {of}", number, int(spec.find("session", rf"(\d): it {of}")))
        spec.same(f"session: whether it {of}", found.kind == number, kind == of)
    spec.same("session: known", found.known, (base.hash_of(spec.hex("retired-object-example")),))
    spec.same("session: info of the holder", session.HOLDER_INFO.decode(), spec.find("session", r'`info` of the holder is `"(.*?)"`'))
    opened = session.unseal_holder(found, mine, "example")
    spec.same("session: holder", opened, spec.hex("session-holder-example"))
    key = base.key_sealed_to(mine.catalog_key, found.holder, session.HOLDER_INFO, found.nonce, "example")
    spec.same("session: key of the holder", key, spec.value("key of the session's holder"))
    spec.same("session: process", holder.process, int(spec.find("session", r"Process (\d+) on")))
    spec.same("session: host", holder.host, spec.find("session", r"on the machine `(.*?)`"))
    spec.same("session: command", holder.command, spec.find("session", r"does `(.*?)`"))
    began = spec.find("session", r"begun at ((?:\d+ )+)ms")
    spec.same("session: began", holder.began, int("".join(began.split())))


def reference_cuts(spec):
    secret = spec.value("dedup secret")
    ids = (chunks.chunk_id(chunks.chunk_key(secret, struct.pack("<Q", at))) for at in range(10000))
    known = " ".join(map(str, cuts(ids)))
    spec.same("snapshot: known cuts of references", [known], spec.lines("reference-known-cuts"))


def example_repository(spec):
    """The objects of the example repository by their names, and the snapshot's id."""
    kinds = {
        "keys": ["keys-example"],
        "packs": ["pack-example", "pack-meta-example"],
        "index": ["index-object-example"],
        "snapshots": ["snapshot-example"],
        "audit": ["audit-example"],
        "sessions": ["session-example"],
        "retired": ["retired-object-example"],
    }
    objects = {"config": spec.hex("config-example")}
    for kind, examples in kinds.items():
        for data in map(spec.hex, examples):
            objects[base.name_of(kind, base.hash_of(data))] = data
    return objects, base.hash_of(spec.hex("snapshot-example"))


def whole(spec):
    objects, identity = example_repository(spec)
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "disk")
        spec.restore(base.Memory(objects), identity.hex()[:8], out, example_password(spec))
        with open(out, "rb") as file:
            disk = file.read()
    spec.same("the disk", base.hash_of(disk).hex(), spec.find("README", r"BLAKE3 of the disk is `(\w+)`"))


PARTS = [constants, names, objects, config, certificates, small_orders, bundle, printed_keys, derivations, chunk, pack, index]
PARTS += [parities, tree, trees_built, manifest, snapshots, reference_cuts, audits, retirements, sessions, whole]
PARTS += [forged_bundles, forged_snapshots, forged_segments, forged_retirements, forged_sessions, forged_logs, bounds]


def compare(restore, folder=None):
    """Compares everything, says what differs, and gives the exit status."""
    spec = Spec(folder or here(), restore)
    for part in PARTS:
        try:
            part(spec)
        except Exception as error:
            spec.differences.append(f"{part.__name__}: {type(error).__name__}: {error}")
    unused = sorted(spec.blocks.keys() - spec.used)
    if unused:
        spec.differences.append(f"examples that nothing looks at: {' '.join(unused)}")
    if spec.count < FEWEST:
        spec.differences.append(f"only {spec.count} values were compared, {FEWEST} were expected")
    for difference in spec.differences:
        print(f"differs: {difference}")
    print(f"compared {spec.count} values and {len(spec.used)} examples of {len(spec.chapters)} chapters")
    return 1 if spec.differences else 0
