//! Everything that keys, lists and values may look like, and what is told of the Windows that there were.

use crate::hive::{Hive, NOWHERE, text};
use crate::pe;
use crate::told;

/// Values with their names.
type Texts<'a> = &'a [(&'a str, &'a str)];
type Numbers<'a> = &'a [(&'a str, u32)];
/// Something that is done to a hive, given a text and a number in it.
type Damage<'a> = &'a dyn Fn(&mut Hive, u32, u32);

/// What is told of a key with these texts and numbers.
fn of(texts: Texts<'_>, numbers: Numbers<'_>) -> Option<String> {
    let mut hive = Hive::new();
    let mut values: Vec<u32> = texts.iter().map(|(name, value)| hive.value(name, 1, &text(value))).collect();
    values.extend(numbers.iter().map(|(name, value)| hive.value(name, 4, &value.to_le_bytes())));
    told(Some(&hive.with(&values)), None)
}

#[test]
fn each_windows_is_called_by_its_name() {
    const BUILD: &str = "CurrentBuildNumber";
    let old: [(Texts<'_>, Numbers<'_>, &str); 6] = [
        (
            &[("ProductName", "Microsoft Windows XP"), (BUILD, "2600"), ("CSDVersion", "Service Pack 3")],
            &[],
            "Microsoft Windows XP Service Pack 3, build 2600",
        ),
        (&[("ProductName", "Windows 7 Ultimate"), ("CurrentBuild", "7600")], &[], "Windows 7 Ultimate, build 7600"),
        (
            &[("ProductName", "Windows 10 Pro"), ("ReleaseId", "1809"), (BUILD, "17763")],
            &[("UBR", 5458), ("CurrentMajorVersionNumber", 10)],
            "Windows 10 Pro 1809, build 17763.5458",
        ),
        (
            &[("ProductName", "Windows Server 2025 Standard"), ("DisplayVersion", "24H2"), (BUILD, "26100")],
            &[("UBR", 1), ("CurrentMajorVersionNumber", 10)],
            "Windows Server 2025 Standard 24H2, build 26100.1",
        ),
        // The first that is Windows 11, and what says Windows 10 truly.
        (&[("ProductName", "Windows 10 Home"), (BUILD, "22000")], &[], "Windows 11 Home, build 22000"),
        (&[("ProductName", "Windows 10"), (BUILD, "21999")], &[], "Windows 10, build 21999"),
    ];
    for (texts, numbers, expected) in old {
        assert_eq!(of(texts, numbers).as_deref(), Some(expected));
    }
    assert_eq!(of(&[("ProductName", "Windows 10"), (BUILD, "22000")], &[]).as_deref(), Some("Windows 11, build 22000"));
    let other = of(&[("ProductName", "Windows 100"), (BUILD, "22000")], &[]);
    assert_eq!(other.as_deref(), Some("Windows 100, build 22000"));
}

#[test]
fn what_is_missing_is_made_up_for_or_left_out() {
    let major = ("CurrentMajorVersionNumber", 10);
    let build = ("CurrentBuildNumber", "22631");
    let cases: [(Texts<'_>, Numbers<'_>, Option<&str>); 10] = [
        (&[], &[], None),
        (&[("EditionID", "Professional")], &[("UBR", 5)], None),
        (&[build], &[("UBR", 5)], Some("Windows, build 22631.5")),
        (&[("ProductName", "Windows 8.1 Pro")], &[("UBR", 5)], Some("Windows 8.1 Pro")),
        (&[build, ("EditionID", "Professional")], &[major], Some("Windows 11 Professional, build 22631")),
        (&[("EditionID", "Education")], &[major], Some("Windows 10 Education")),
        (&[build, ("EditionID", "ServerStandard")], &[major], Some("Windows ServerStandard, build 22631")),
        (&[], &[("CurrentMajorVersionNumber", 12), ("CurrentMinorVersionNumber", 3)], Some("Windows 12.3")),
        // Texts with nothing in them, a build that is none, and the other build that is one.
        (&[("ProductName", " "), ("DisplayVersion", ""), build], &[], Some("Windows, build 22631")),
        (&[("CurrentBuildNumber", "1.511.1"), ("CurrentBuild", "9600")], &[], Some("Windows, build 9600")),
    ];
    for (texts, numbers, expected) in cases {
        assert_eq!(of(texts, numbers).as_deref(), expected, "{texts:?} {numbers:?}");
    }
}

#[test]
fn what_is_told_is_short_whatever_it_is() {
    let long = "Windows 10 \u{1f980}".repeat(30);
    let names = ["ProductName", "DisplayVersion", "EditionID"];
    let texts: Vec<_> =
        names.iter().map(|name| (*name, long.as_str())).chain([("CurrentBuild", "4294967295")]).collect();
    let text = of(&texts, &[("UBR", u32::MAX)]).unwrap();
    assert!(text.ends_with(", build 4294967295.4294967295") && text.chars().count() < 160, "{text}");
    assert!(of(&[("ProductName", "a\u{1b}[2Jb")], &[]).is_some(), "who prints it makes it harmless");
}

/// A hive with a path to one product, whose two inner lists are of one shape.
fn shaped(make: impl Fn(&mut Hive, &[(u32, &str)]) -> u32) -> Vec<u8> {
    let mut hive = Hive::new();
    let product = hive.value("ProductName", 1, &text("Windows 8 Pro"));
    let version = hive.key("CurrentVersion", &[], &[product]);
    // Names that begin alike, and one that is a part of the other.
    let others: Vec<u32> = ["Windows", "Windows NT2", "Wind"].iter().map(|name| hive.key(name, &[], &[])).collect();
    let list = make(&mut hive, &[(version, "CurrentVersion")]);
    let system = hive.key_over("WINDOWS nt", list, 1, &[]);
    let keys = [(others[0], "Windows"), (others[1], "Windows NT2"), (others[2], "Wind"), (system, "WINDOWS nt")];
    let list = make(&mut hive, &keys);
    let vendor = hive.key_over("microsoft", list, 4, &[]);
    let root = hive.key("ROOT", &[(vendor, "microsoft")], &[]);
    hive.finish(root)
}

#[test]
fn keys_are_found_in_every_kind_of_list() {
    let kinds: [&[u8; 2]; 3] = [b"lf", b"lh", b"li"];
    for kind in kinds {
        let plain = shaped(|hive, keys| hive.list(kind, keys));
        assert_eq!(told(Some(&plain), None).as_deref(), Some("Windows 8 Pro"), "{kind:?}");
        let deep = shaped(|hive, keys| {
            let lists: Vec<_> = keys.iter().map(|key| (hive.list(kind, &[*key]), "")).collect();
            hive.list(b"ri", &lists)
        });
        assert_eq!(told(Some(&deep), None).as_deref(), Some("Windows 8 Pro"), "{kind:?} in an index root");
        // An index root leads to no index root, and a list that is none hides no other.
        let deeper = shaped(|hive, keys| {
            let lists = [(hive.list(kind, keys), "")];
            let inner = hive.list(b"ri", &lists);
            hive.list(b"ri", &[(inner, "")])
        });
        assert_eq!(told(Some(&deeper), None), None);
        let beside = shaped(|hive, keys| {
            let lists = [(NOWHERE, ""), (hive.cell(b"lx\x01\0"), ""), (hive.list(kind, keys), "")];
            hive.list(b"ri", &lists)
        });
        assert_eq!(told(Some(&beside), None).as_deref(), Some("Windows 8 Pro"));
    }
    // A hint that says nothing, as those of names that are not ASCII.
    let nothing = shaped(|hive, keys| {
        let list = hive.list(b"lf", keys);
        (0..keys.len()).for_each(|index| hive.put(list, 8 + index * 8, &[0; 4]));
        list
    });
    assert_eq!(told(Some(&nothing), None).as_deref(), Some("Windows 8 Pro"));
    let wrong = shaped(|hive, keys| {
        let list = hive.list(b"lh", keys);
        hive.put(list, 8, &[9; 4]);
        list
    });
    assert_eq!(told(Some(&wrong), None), None, "Windows would not find it either");
}

#[test]
fn names_may_be_in_utf16() {
    let mut hive = Hive::new();
    let product = hive.wide_value("pRODUCTnAME", 2, &text("Windows 8"));
    let other = hive.wide_value("UBR\u{100}", 1, &text("x"));
    let version = hive.key("CurrentVersion", &[], &[other, product]);
    // In place of a byte for each letter.
    let mut name = vec![0; 76];
    name[..2].copy_from_slice(b"nk");
    name[72] = 20;
    let list = hive.list(b"lh", &[(version, "CurrentVersion")]);
    name[20] = 1;
    name[28..32].copy_from_slice(&list.to_le_bytes());
    name.extend("Windows NT".encode_utf16().flat_map(u16::to_le_bytes));
    let system = hive.cell(&name);
    let vendor = hive.key("Microsoft", &[(system, "Windows NT")], &[]);
    let root = hive.key("ROOT", &[(vendor, "Microsoft")], &[]);
    assert_eq!(told(Some(&hive.finish(root)), None).as_deref(), Some("Windows 8"));
}

#[test]
fn a_damaged_value_costs_itself() {
    let sound = |damage: Damage<'_>| {
        let mut hive = Hive::new();
        let product = hive.value("ProductName", 1, &text("Windows 8"));
        let build = hive.value("CurrentBuild", 1, &text("9200"));
        let revision = hive.value("UBR", 4, &7_u32.to_le_bytes());
        damage(&mut hive, build, revision);
        told(Some(&hive.with(&[product, build, revision])), None)
    };
    assert_eq!(sound(&|_, _, _| {}).as_deref(), Some("Windows 8, build 9200.7"));
    let damages: [(&str, Damage<'_>); 8] = [
        ("another signature", &|hive, build, _| hive.put(build, 0, b"kv")),
        ("data outside", &|hive, build, _| hive.put(build, 8, &NOWHERE.to_le_bytes())),
        ("data in a bin's header", &|hive, build, _| hive.put(build, 8, &[0; 4])),
        ("data between cells", &|hive, build, _| {
            let inside = hive.cell(&[&(-16_i32).to_le_bytes()[..], &text("9999")].concat());
            hive.put(build, 8, &(inside + 4).to_le_bytes());
        }),
        ("a free cell", &|hive, build, _| hive.resize(build, 40)),
        ("a cell beyond the bin", &|hive, build, _| hive.resize(build, i32::MIN)),
        ("data of several cells", &|hive, build, _| hive.put(build, 4, &16_345_u32.to_le_bytes())),
        ("another type", &|hive, build, _| hive.put(build, 12, &3_u32.to_le_bytes())),
    ];
    for (what, damage) in damages {
        assert_eq!(sound(damage).as_deref(), Some("Windows 8"), "{what}");
    }
    let numbers: [Damage<'_>; 3] = [
        &|hive, _, revision| hive.put(revision, 4, &[3, 0, 0, 0x80]),
        &|hive, _, revision| hive.put(revision, 4, &[5, 0, 0, 0x80]),
        &|hive, _, revision| hive.put(revision, 12, &[5]),
    ];
    for damage in numbers {
        assert_eq!(sound(damage).as_deref(), Some("Windows 8, build 9200"));
    }
}

#[test]
fn programs_of_both_widths_say_their_version() {
    let version = [10, 1, 19041, 65535];
    for is_64 in [true, false] {
        let told = told(None, Some(&pe::of_width(version, is_64)));
        assert_eq!(told.as_deref(), Some("Windows, build 10.1.19041.65535"), "{is_64}");
    }
}
