//! Makes programs that have headers and a version, and nothing that could run.
//!
//! Always true here: the file is as the loader wants it, with its sections on borders of 512 bytes; the resources stand elsewhere in
//! the file than in memory.

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Where the signature of a program stands, its optional header, its section table, and its resources.
pub(crate) const SIGNATURE: usize = 0x80;
pub(crate) const OPTIONAL: usize = SIGNATURE + 24;
pub(crate) const RESOURCES: usize = 0x400;
/// Where the resources would stand in memory.
pub(crate) const MEMORY: u32 = 0x3000;
/// The version's place among the resources.
pub(crate) const VERSION: usize = 0x100;

/// A program of 64 bits with this version.
pub(crate) fn program(version: [u16; 4]) -> Vec<u8> {
    of_width(version, true)
}

/// A program of 64 or 32 bits with this version.
pub(crate) fn of_width(version: [u16; 4], is_64: bool) -> Vec<u8> {
    let mut file = vec![0; 0x800];
    put(&mut file, 0, b"MZ");
    put(&mut file, 0x3c, &(SIGNATURE as u32).to_le_bytes());
    put(&mut file, SIGNATURE, b"PE\0\0");
    let (machine, magic, directories): (u16, u16, usize) =
        if is_64 { (0x8664, 0x20b, 112) } else { (0x14c, 0x10b, 96) };
    let optional = directories + 16 * 8;
    for (at, value) in [(4, machine), (6, 2), (20, optional as u16), (24, magic)] {
        put(&mut file, SIGNATURE + at, &value.to_le_bytes());
    }
    put(&mut file, OPTIONAL + directories - 4, &16_u32.to_le_bytes());
    put(&mut file, OPTIONAL + directories + 16, &MEMORY.to_le_bytes());
    put(&mut file, OPTIONAL + directories + 20, &0x400_u32.to_le_bytes());
    for (index, name, memory, place) in
        [(0, b".text\0", 0x1000_u32, 0x200_u32), (1, b".rsrc\0", MEMORY, RESOURCES as u32)]
    {
        let at = OPTIONAL + optional + index * 40;
        let length = if index == 0 { 0x200_u32 } else { 0x400 };
        put(&mut file, at, name);
        for (field, value) in [(8, length), (12, memory), (16, length), (20, place)] {
            put(&mut file, at + field, &value.to_le_bytes());
        }
    }
    let mut resource = |at: usize, value: &[u8]| put(&mut file, RESOURCES + at, value);
    // Folders: of types, with an icon before the version and one that has a name; of names; of languages.
    let entry = |number: u32, leads: u32| [number.to_le_bytes(), leads.to_le_bytes()].concat();
    resource(12, &[1, 0, 2, 0]);
    resource(16, &entry(0x8000_00f0, 0x8000_00e0));
    resource(24, &entry(3, 0x8000_00e0));
    resource(32, &entry(16, 0x8000_0040));
    resource(0x40 + 14, &[1, 0]);
    resource(0x40 + 16, &entry(1, 0x8000_0060));
    resource(0x60 + 14, &[1, 0]);
    resource(0x60 + 16, &entry(0x409, 0x80));
    resource(0x80, &[(MEMORY + VERSION as u32).to_le_bytes(), 92_u32.to_le_bytes()].concat());
    resource(VERSION, &[92, 0, 52, 0, 0, 0]);
    resource(VERSION + 6, &"VS_VERSION_INFO\0".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    resource(VERSION + 40, &[0xfeef_04bd_u32.to_le_bytes(), 0x1_0000_u32.to_le_bytes()].concat());
    let [major, minor, build, revision] = version;
    let parts = [minor, major, revision, build];
    resource(VERSION + 48, &parts.iter().flat_map(|part| part.to_le_bytes()).collect::<Vec<_>>());
    file
}
