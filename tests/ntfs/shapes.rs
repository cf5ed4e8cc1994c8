//! Volumes whose files, or whose MFT, are spread over several records.

use crate::build::{Attr, BITMAP, Build, DATA, LIST, ROOT, Rec, entry, file_name, reference};
use crate::judge::bytes;

/// A file in three records, by a list in the base record or in clusters of its own.
pub fn split(build: &mut Build, is_list_there: bool) -> Vec<u8> {
    let cluster = build.cluster;
    let part = cluster as usize;
    let (a, _, b, c) = (build.take(2), build.take(1), build.take(3), build.take(1));
    let content = bytes(9, 6 * part - 9);
    build.content.push((a.0, content[..2 * part].to_vec()));
    build.content.push((b.0, content[2 * part..5 * part].to_vec()));
    build.content.push((c.0, content[5 * part..].to_vec()));
    let mut first = Attr::there(DATA, 1, &[a], cluster).sized(content.len() as u64, content.len() as u64);
    first.clusters().allocated = 6 * cluster;
    let (mut second, mut third) = (Attr::there(DATA, 0, &[b], cluster), Attr::there(DATA, 0, &[c], cluster));
    (second.clusters().lowest, third.clusters().lowest) = (2, 5);
    // The later part stands in the earlier record.
    let list = [
        entry(0x10, "", 0, reference(50, 1), 0),
        entry(DATA, "", 0, reference(50, 1), 1),
        entry(DATA, "", 2, reference(52, 1), 0),
        entry(DATA, "", 5, reference(45, 1), 0),
    ]
    .concat();
    let list = if is_list_there {
        let run = build.take(1);
        build.content.push((run.0, list.clone()));
        Attr::there(LIST, 7, &[run], cluster).sized(list.len() as u64, list.len() as u64)
    } else {
        Attr::here(LIST, 7, list)
    };
    build.add(50, vec![Attr::here(0x10, 0, [0; 48]), list, file_name(ROOT, "split"), first]);
    build.records.insert(52, Rec::of(50, vec![second]));
    build.records.insert(45, Rec::of(50, vec![third]));
    content
}

/// A volume whose MFT is in three parts, told by a list: record 15 tells of the second, which holds record 20, which tells
/// of the third.
pub fn scattered(cluster: u64, clusters: u64) -> Build {
    let mut build = Build::new(cluster, 1024, clusters);
    let (first, _, second, _, third) =
        (build.mft[0], build.take(3), build.take(16384 / cluster), build.take(1), build.take(32768 / cluster));
    build.mft = vec![(first.0, 16384 / cluster), second, third];
    let mut parts: Vec<Attr> = build.mft.clone().iter().map(|run| Attr::there(DATA, 1, &[*run], cluster)).collect();
    parts[0] = parts[0].clone().sized(16 * 4096, 16 * 4096);
    parts[0].clusters().allocated = 16 * 4096;
    (parts[1].clusters().lowest, parts[2].clusters().lowest) = (16384 / cluster, 32768 / cluster);
    let bitmap = build.records[&0].attrs[1].clone();
    let list = [
        entry(DATA, "", 0, reference(0, 1), 1),
        entry(DATA, "", 16384 / cluster, reference(15, 1), 1),
        entry(DATA, "", 32768 / cluster, reference(20, 1), 1),
        entry(BITMAP, "", 0, reference(0, 1), 3),
    ]
    .concat();
    let [one, two, three] = parts.try_into().unwrap();
    build.add(0, vec![Attr::here(LIST, 9, list), one, bitmap]);
    build.records.insert(15, Rec::of(0, vec![two]));
    build.records.insert(20, Rec::of(0, vec![three]));
    build
}
