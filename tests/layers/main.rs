//! Rules of the source that no compiler holds: the layers, and what keeps files readable.
//!
//! Always true here:
//! - The table of layers is that of `src/lib.rs` in words; a module that stands in neither fails the test.
//! - Exceptions stand in this file with their reason, and one that is no longer needed fails the test.
//! - Each rule is tried on source that breaks it, so that a checker that finds nothing is noticed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scan;

use scan::{Placed, Token, imports, inline_modules, module_of, tokens};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The modules of the root and their layers. Imports point down.
const LAYERS: [(&str, u8); 14] = [
    ("ids", 0),
    ("names", 0),
    ("disk", 0),
    ("codec", 0),
    ("image", 1),
    ("layout", 1),
    ("chunk", 1),
    ("crypto", 1),
    ("format", 1),
    ("storage", 1),
    ("repo", 2),
    ("ops", 3),
    ("serve", 4),
    // The command line: `crate` is the binary there, and the library is `sheaf`, of which the compiler shows what is public.
    ("cli", 5),
];

/// What the serving layer sees of those below: disks and file systems. That they come from a repository is nothing to it.
const SERVED: [&str; 2] = ["disk", "layout"];

/// Lines that a file has at most.
const LINES: usize = 500;

/// Words that name an operating system.
const SYSTEM_WORDS: [&str; 8] =
    ["target_os", "target_family", "rustix", "libc", "unix", "windows", "windows_sys", "linux"];

/// Files that may name an operating system. All others run wherever the standard library does.
const SYSTEM_FILES: [(&str, &str); 19] = [
    ("disk.rs", "reading and writing at an offset has a name of its own in each system"),
    ("image/mod.rs", "chooses the module of the system"),
    ("image/linux.rs", "Linux: sizes, holes, exclusive use, zeroing"),
    ("image/parents.rs", "its test makes a symbolic link, which has a call of its own in each system"),
    ("image/linux_sysfs.rs", "Linux: what /sys and /proc tell about a disk"),
    ("storage/codes.rs", "numbers of failures that the standard library has no name for"),
    ("storage/local.rs", "making a name durable"),
    ("storage/local/temporary.rs", "locks are another matter on Windows"),
    ("ops/browse/links.rs", "making a symbolic link"),
    ("serve/nbd/overlay/system.rs", "who may read a new file, and making a hole in one"),
    ("serve/nbd/socket.rs", "sockets in the file system, which not every system has"),
    ("serve/mod.rs", "a mount is made by the kernel of Linux"),
    ("serve/mount/mod.rs", "Linux: mounting, and who mounts"),
    ("serve/mount/point.rs", "Linux: taking mounts away, also dead ones"),
    ("cli/args.rs", "a command that only Linux has"),
    ("cli/commands/mod.rs", "a command that only Linux has"),
    ("cli/context.rs", "where caches lie"),
    ("cli/key_file.rs", "the mode of a new key file"),
    ("cli/password.rs", "the shell of a password command, and who can read a password file"),
];

/// What breaks the layers in one file.
fn layering(file: &str, text: &str) -> Vec<String> {
    let layer = |name: &str| LAYERS.iter().find(|(module, _)| *module == name).map(|(_, layer)| *layer);
    let Some(own) = module_of(file).first().cloned() else { return Vec::new() };
    let Some(own_layer) = layer(&own) else {
        return vec![format!("{file}: the module `{own}` has no layer: give it one in the table of tests/layers")];
    };
    let tokens = tokens(text);
    let mut found = Vec::new();
    for import in imports(file, &tokens) {
        let Some(other) = import.path.first() else { continue };
        let allowed = *other == own
            || layer(other).is_some_and(|layer| own != "cli" && (layer < own_layer || layer == 0 && own_layer == 0))
                && (own != "serve" || SERVED.contains(&other.as_str()));
        if !allowed {
            let path = import.path.join("::");
            found.push(format!("{file}:{}: `{own}` (layer {own_layer}) names {path}", import.line));
        }
    }
    found
}

/// Uses of other crates in the lowest layer, which has the standard library alone; its tests may.
fn foreign(file: &str, text: &str, dependencies: &BTreeSet<String>) -> Vec<String> {
    let is_lowest = |name: &String| LAYERS.contains(&(name.as_str(), 0));
    if !module_of(file).first().is_some_and(is_lowest) {
        return Vec::new();
    }
    let tokens = tokens(text);
    let inline = inline_modules(&tokens);
    let named = |index: usize, (line, token): &Placed| match token {
        Token::Word(word) if dependencies.contains(word) && !in_tests(&inline[index]) => {
            matches!(tokens.get(index + 1), Some((_, Token::Colons)))
                .then(|| format!("{file}:{line}: `{word}` is named, but layer 0 has the standard library alone"))
        }
        _ => None,
    };
    tokens.iter().enumerate().filter_map(|(index, token)| named(index, token)).collect()
}

fn in_tests(modules: &[String]) -> bool {
    modules.iter().any(|name| name == "tests")
}

/// What breaks a rule of tidiness in one file.
fn untidy(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//! ") {
        found.push(format!("{file}: does not begin with `//!`: what is it for, and what always holds in it?"));
    }
    let lines = text.lines().count();
    if lines > LINES {
        found.push(format!("{file}: {lines} lines, at most {LINES} were agreed upon"));
    }
    let tokens = tokens(text);
    let inline = inline_modules(&tokens);
    let mut in_use = false;
    for (index, (line, token)) in tokens.iter().enumerate() {
        match token {
            Token::Word(word) if word == "use" => in_use = true,
            Token::Word(word) if word == "unsafe" => found.push(format!("{file}:{line}: `unsafe`")),
            Token::Mark(';') => in_use = false,
            Token::Mark('*') if in_use && !in_tests(&inline[index]) => {
                found.push(format!("{file}:{line}: imports everything with `*`, which hides what is used"));
            }
            _ => {}
        }
    }
    found
}

/// True when a file names an operating system.
fn names_a_system(text: &str) -> bool {
    let tokens = tokens(text);
    let word = |at: Option<usize>| match at.and_then(|at| tokens.get(at)) {
        Some((_, Token::Word(word))) => word.as_str(),
        _ => "",
    };
    let mark = |at: Option<usize>| match at.and_then(|at| tokens.get(at)) {
        Some((_, Token::Mark(mark))) => *mark,
        _ => ' ',
    };
    // How many parentheses of a condition are open.
    let mut condition = 0;
    (0..tokens.len()).any(|at| {
        let back = |count| at.checked_sub(count);
        match mark(Some(at)) {
            '(' if condition > 0 => condition += 1,
            '(' => {
                let name = if mark(back(1)) == '!' { word(back(2)) } else { word(back(1)) };
                condition = i32::from(name == "cfg" || name == "cfg_attr");
            }
            ')' if condition > 0 => condition -= 1,
            _ => {}
        }
        match word(Some(at)) {
            // What is on a disk may be a Windows. A system is meant in a condition, and in a path of the standard library or of a crate.
            "windows" => condition > 0 || word(back(1)) == "use" || word(back(2)) == "os",
            // A method of that name names none.
            name => SYSTEM_WORDS.contains(&name) && mark(back(1)) != '.',
        }
    })
}

/// All files below `src`: the path from there, and the text.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.sort();
    assert!(found.len() > 50, "src was not read: {} files", found.len());
    found
}

/// The crates that the library depends on, as source names them.
fn dependencies() -> BTreeSet<String> {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside && let Some((name, _)) = line.split_once(" =") {
            names.insert(name.trim().replace('-', "_"));
        }
    }
    assert!(names.contains("redb") && names.contains("rustix"), "{names:?}");
    names
}

fn hold(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn imports_point_down() {
    hold(&sources().iter().flat_map(|(file, text)| layering(file, text)).collect::<Vec<_>>());
}

#[test]
fn the_lowest_layer_has_the_standard_library_alone() {
    let dependencies = dependencies();
    hold(&sources().iter().flat_map(|(file, text)| foreign(file, text, &dependencies)).collect::<Vec<_>>());
}

#[test]
fn files_are_tidy() {
    hold(&sources().iter().flat_map(|(file, text)| untidy(file, text)).collect::<Vec<_>>());
}

#[test]
fn the_table_is_complete_and_the_command_line_is_outside_of_the_library() {
    let sources = sources();
    for (module, _) in LAYERS {
        let there = sources.iter().any(|(file, _)| module_of(file).first().is_some_and(|own| own == module));
        assert!(there, "`{module}` has a layer and no files");
    }
    let (_, library) = sources.iter().find(|(file, _)| file == "lib.rs").unwrap();
    let words: Vec<Token> = tokens(library).into_iter().map(|(_, token)| token).collect();
    let declared: Vec<&str> = words
        .windows(2)
        .filter_map(|pair| match pair {
            [Token::Word(keyword), Token::Word(name)] if keyword == "mod" => Some(name.as_str()),
            _ => None,
        })
        .collect();
    assert!(!declared.contains(&"cli"), "the command line belongs to the binary");
    assert_eq!(
        BTreeSet::from_iter(declared),
        LAYERS.iter().filter(|(_, layer)| *layer < 5).map(|(name, _)| *name).collect()
    );
    // What the library says of itself is the same table.
    for (module, layer) in LAYERS.iter().filter(|(_, layer)| *layer < 5) {
        let row = library.lines().find(|line| line.starts_with(&format!("//! | L{layer} |"))).unwrap();
        assert!(row.contains(&format!("[`{module}`]")), "the map in lib.rs lacks `{module}` in {row}");
    }
}

#[test]
fn only_some_files_name_an_operating_system() {
    let named: BTreeSet<String> =
        sources().into_iter().filter(|(_, text)| names_a_system(text)).map(|(file, _)| file).collect();
    let listed: BTreeSet<String> = SYSTEM_FILES.iter().map(|(file, _)| (*file).to_owned()).collect();
    let unlisted: Vec<_> = named.difference(&listed).collect();
    assert!(unlisted.is_empty(), "these assume an operating system and are not listed: {unlisted:?}");
    let stale: Vec<_> = listed.difference(&named).collect();
    assert!(stale.is_empty(), "these are listed and assume no operating system: {stale:?}");
}

#[test]
fn the_checker_sees_imports_that_point_up_or_aside() {
    let broken = [
        ("image/raw.rs", "use crate::storage::Storage;"),
        ("image/raw.rs", "use super::super::crypto::aead;"),
        ("image/raw.rs", "fn f() { crate::repo::open(); }"),
        ("format/mod.rs", "pub use super::storage::local;"),
        ("repo/tree.rs", "use crate::{ids::ChunkId, ops::{Cancel as C}};"),
        ("repo/local/tree.rs", "mod inner { use super::super::super::super::ops; }"),
        ("ids.rs", "use crate::chunk::cdc;"),
        ("cli/mod.rs", "use crate::ops::Cancel;"),
        ("serve/nbd.rs", "use crate::repo::view::SnapshotDisk;"),
        ("unheard_of/mod.rs", ""),
        ("ops/mod.rs", "use crate::unheard_of::Thing;"),
    ];
    for (file, text) in broken {
        assert_eq!(layering(file, text).len(), 1, "{file}: {text}");
    }
    let sound = [
        ("image/raw.rs", "//! As [`crate::storage`].\nuse crate::disk::{ReadAt, ReadError};"),
        ("image/raw.rs", "fn f() { super::open(crate::image::facts::now(), \"crate::repo\") } /* crate::ops */"),
        ("image/raw.rs", "mod tests { use super::*; use super::super::facts::Facts; }"),
        ("names.rs", "use crate::ids::ObjectId;"),
        ("repo/mod.rs", "pub(crate) use self::open::Repository; use crate::crypto::{self, Secret};"),
        ("serve/nbd.rs", "use crate::disk::ReadAt; use crate::layout::FileSystem;"),
        ("ops/mod.rs", "fn f<'a>(x: &'a str) -> char { crate::repo::f::<u8>(x); '\"' }"),
        ("cli/mod.rs", "use crate::cli::args; use sheaf::ops::Cancel;"),
        ("lib.rs", "pub mod ops;"),
    ];
    for (file, text) in sound {
        assert_eq!(layering(file, text), Vec::<String>::new(), "{file}: {text}");
    }
}

#[test]
fn the_checker_sees_what_is_untidy() {
    let broken = [
        "use crate::ids::ObjectId;".to_owned(),
        format!("//! Long.\n{}", "\n".repeat(LINES)),
        "//! A glob.\nuse crate::ids::*;".to_owned(),
        "//! A glob in a group.\nuse std::{fs, io::{self, *}};".to_owned(),
        "//! Unsafe.\nfn f() { unsafe { g() } }".to_owned(),
    ];
    for text in broken {
        assert_eq!(untidy("a.rs", &text).len(), 1, "{text}");
    }
    let sound = "//! Nothing unsafe.\n#![deny(unsafe_code)]\nfn f() -> u8 { 2 * 3 }\nmod tests { use super::*; }\n";
    assert_eq!(untidy("a.rs", sound), Vec::<String>::new());
    assert!(names_a_system("#[cfg(target_os = \"linux\")] mod x;") && names_a_system("use std::os::unix::fs;"));
    assert!(!names_a_system("let unix_ms = 1; // on linux\nlet text = \"windows\";"));
    for text in [
        "#[cfg(windows)] mod x;",
        "#[cfg(not(windows))] mod x;",
        "#[cfg(any(test, windows))] mod x;",
        "if cfg!(windows) {}",
        "use std::os::windows::fs;",
        "use windows::Win32;",
    ] {
        assert!(names_a_system(text), "{text}");
    }
    assert!(!names_a_system(
        "pub mod windows; use super::windows::version; let a = [f(a, windows)]; Facts { windows, .. }"
    ));
    let crates = BTreeSet::from(["redb".to_owned()]);
    assert_eq!(foreign("disk.rs", "use redb::Database;", &crates).len(), 1);
    assert_eq!(foreign("disk.rs", "mod tests { use redb::Database; }", &crates).len(), 0);
    assert_eq!(foreign("repo/mod.rs", "use redb::Database;", &crates).len(), 0);
}

#[test]
fn strings_and_comments_hide_what_stands_in_them() {
    let text = "a /* b /* c */ d */ \"e \\\" f\" r#\"g \" h\"# br\"i\" 'j' '\\n' '\\'' &'k l // m\nn";
    let words: Vec<String> = tokens(text)
        .into_iter()
        .filter_map(|(_, token)| match token {
            Token::Word(word) => Some(word),
            _ => None,
        })
        .collect();
    assert_eq!(words, ["a", "k", "l", "n"]);
    assert_eq!(tokens("\"\n\n\"\nx"), [(4, Token::Word("x".to_owned()))]);
}
