//! Recipes for volumes that are not sound.
//!
//! Blind bytes pass no boot sector, so an input is a recipe: which sound volume is taken, what its records say instead, and what is
//! written over its structures. Fix-ups are made right again where the recipe asks for it, so that what lies behind them is reached.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | bits 0 and 1: which volume; 2: leave fix-ups wrong; 3: for the target; 4: some sectors cannot be read |
//! | 1 and more, repeated | an operation; see [`operate`] |

use crate::build::{
    self, Attr, Body, Build, DATA, HOLE, INDEX, LIST, ROOT, Rec, Run, entry, file_name, protect, put, reference,
};
use crate::judge;
use crate::shapes::{scattered, split};
use sheaf::disk::{DiskOffset, ReadAt, ReadError};

/// Sound volumes, with so many more clusters of 512 bytes than their files need.
pub fn volumes(room: u64) -> [Build; 4] {
    let fill = |mut build: Build| {
        build.file(40, ROOT, "a", &judge::bytes(1, 3000));
        build.file(41, ROOT, "pagefile.sys", &judge::bytes(2, 3000));
        build.file(42, ROOT, "hiberfil.sys", b"hibr");
        split(&mut build, true);
        let (index, journal) = (build.take(2), build.take(2));
        let cluster = build.cluster;
        build.add(43, vec![file_name(ROOT, "folder"), Attr::there(INDEX, 1, &[index], cluster).named("$I30")]);
        let journal = Attr::there(DATA, 1, &[(HOLE, 9), journal], cluster).named("$J");
        build.add(44, vec![file_name(11, "$UsnJrnl"), journal]);
        build
    };
    [
        fill(Build::new(1024, 1024, 320 + room / 2)),
        fill(scattered(512, 900 + room)),
        fill(Build::new(4096, 4096, 200 + room / 8)),
        fill(Build::new(512, 4096, 1100 + room)),
    ]
}

/// Follows a recipe: `follow` makes one operation of it. `None` where no volume comes of it.
pub fn cook(
    volumes: &[Build; 4],
    data: &[u8],
    follow: impl Fn(&mut Build, &mut Recipe<'_>, &mut Vec<Patch>) -> Option<()>,
) -> Option<(u8, Vec<u8>)> {
    let (choices, rest) = data.split_first()?;
    let mut build = volumes[usize::from(choices & 3)].clone();
    let (mut recipe, mut patches) = (Recipe(rest), Vec::new());
    for _ in 0..64 {
        if recipe.0.is_empty() {
            break;
        }
        let _ = follow(&mut build, &mut recipe, &mut patches);
    }
    // A record of the builder must fit.
    let room = build.record - 128;
    build.records.retain(|number, rec| rec.encode_length() <= room || *number == 0);
    if build.records.get(&0).is_none_or(|rec| rec.encode_length() > room) {
        return None;
    }
    let mut image = build.image();
    patch(&mut image, &build, &patches, choices & 4 != 0);
    Some((*choices, image))
}

/// The rest of a recipe.
pub struct Recipe<'a>(pub &'a [u8]);

impl Recipe<'_> {
    pub fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    pub fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    /// A number of any magnitude: a byte, shifted, with a byte added.
    pub fn number(&mut self) -> Option<u64> {
        let [value, shift, add] = self.take::<3>()?;
        Some((u64::from(value) << (shift % 64)).wrapping_add_signed(i64::from(add.cast_signed())))
    }
}

/// What is written over the image in the end.
pub type Patch = (u64, usize, Vec<u8>);

/// Follows one operation of a recipe.
pub fn operate(build: &mut Build, recipe: &mut Recipe<'_>, patches: &mut Vec<Patch>) -> Option<()> {
    let operation = recipe.byte()?;
    let number = u64::from(recipe.byte()? % 64);
    match operation % 8 {
        // Bytes of a record, or, beyond the records, of the volume.
        0 | 1 => {
            let at = usize::from(u16::from_le_bytes(recipe.take()?));
            let count = usize::from(recipe.byte()? % 17).min(recipe.0.len());
            let (bytes, rest) = recipe.0.split_at(count);
            recipe.0 = rest;
            patches.push((if operation % 8 == 0 { number } else { 64 + number }, at, bytes.to_vec()));
        }
        2 => {
            let runs: Vec<Run> = (0..recipe.byte()? % 8)
                .map_while(|_| Some((recipe.number()?.min(HOLE / 4), recipe.number()? & 0xffff_ffff)))
                .map(|(lcn, count)| (if lcn > HOLE / 8 { HOLE } else { lcn }, count))
                .collect();
            let index = usize::from(recipe.byte()?);
            let clusters = clusters(build, number, index)?;
            let all = runs.iter().map(|run| run.1).sum::<u64>();
            clusters.runs = runs;
            // Sound sizes, as often as not.
            if operation & 8 != 0 {
                let bytes = all.saturating_mul(build.cluster);
                let clusters = self::clusters(build, number, index)?;
                (clusters.allocated, clusters.data, clusters.valid) = (bytes, bytes, bytes);
            }
        }
        3 => {
            let (index, lowest) = (usize::from(recipe.byte()?), recipe.number()? >> 1);
            let sizes = [recipe.number()?, recipe.number()?, recipe.number()?];
            let clusters = clusters(build, number, index)?;
            clusters.lowest = lowest.min(1 << 60);
            [clusters.allocated, clusters.data, clusters.valid] = sizes;
        }
        4 => {
            let rec = build.records.get_mut(&number)?;
            let [flags, sequence, base] = recipe.take()?;
            (rec.flags, rec.sequence) = (flags.into(), (sequence % 4).into());
            rec.base = if base == 0 { 0 } else { reference(u64::from(base % 64), u16::from(base / 64)) };
        }
        // Entries of a list.
        5 => {
            let entries: Vec<u8> = (0..recipe.byte()? % 16)
                .map_while(|_| {
                    let [lowest, record, id] = recipe.take()?;
                    let reference = reference(u64::from(record % 64), 1);
                    Some(entry(if id > 99 { LIST } else { DATA }, "", lowest.into(), reference, (id % 4).into()))
                })
                .flatten()
                .collect();
            let attrs = &mut build.records.get_mut(&number)?.attrs;
            attrs.retain(|attr| attr.kind != LIST);
            attrs.insert(0, Attr::here(LIST, 7, entries));
        }
        // A further part of an attribute.
        6 => {
            let [of, lowest, id, count] = recipe.take()?;
            let mut part =
                Attr::there(DATA, (id % 4).into(), &[(recipe.number()? & 0xffff, count.into())], build.cluster);
            part.clusters().lowest = lowest.into();
            build.records.insert(number, Rec::of(u64::from(of % 64), vec![part]));
        }
        _ => {
            let name = ["hiberfil.sys", "pagefile.sys", "swapfile.sys", "x"][usize::from(recipe.byte()? % 4)];
            let rec = build.records.get_mut(&number)?;
            rec.attrs.insert(0, file_name(u64::from(recipe.byte()? % 12), name));
        }
    }
    Some(())
}

/// The clusters of an attribute of a record.
pub fn clusters(build: &mut Build, number: u64, index: usize) -> Option<&mut build::Clusters> {
    let attrs = &mut build.records.get_mut(&number)?.attrs;
    let count = attrs.len().max(1);
    match &mut attrs.get_mut(index % count)?.body {
        Body::There(clusters) => Some(clusters),
        Body::Here(_) => None,
    }
}

/// Takes the fix-ups out of a record that has them.
fn unprotect(bytes: &mut [u8]) {
    let at = usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
    if at + bytes.len() / 512 * 2 + 2 > 510 {
        return;
    }
    for block in 0..bytes.len() / 512 {
        let own = [bytes[at + 2 + block * 2], bytes[at + 3 + block * 2]];
        put(bytes, block * 512 + 510, &own);
    }
}

fn patch(image: &mut [u8], build: &Build, patches: &[Patch], is_torn: bool) {
    for (number, at, bytes) in patches {
        let size = build.record;
        let record = build.place(*number).and_then(|place| image.get_mut(place..place + size));
        match record {
            Some(record) => {
                if !is_torn {
                    unprotect(record);
                }
                let at = at % size;
                let count = bytes.len().min(size - at);
                put(record, at, &bytes[..count]);
                if !is_torn {
                    protect(record);
                }
            }
            None => {
                // The boot sector mostly, and else the log and the maps.
                let at = at % if number % 2 == 0 { 512 } else { image.len() };
                let count = bytes.len().min(image.len() - at);
                put(image, at, &bytes[..count]);
            }
        }
    }
}

/// A volume of which a sector in every 37 cannot be read.
pub struct Worn(pub Vec<u8>);

impl ReadAt for Worn {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
        let length = buffer.len() as u64;
        let sectors = offset.0 / 512..offset.0.saturating_add(length).div_ceil(512);
        if sectors.end / 37 > sectors.start / 37 {
            return Err(ReadError::Unreadable { offset, length, source: std::io::Error::other("worn") });
        }
        self.0.read_at(offset, buffer)
    }
}
