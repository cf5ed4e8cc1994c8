//! The first phase, option by option.

use crate::client::{Client, opt, queries, rep, wanted};
use crate::support::{Running, TestDisk};
use sheaf::serve::nbd::{Export, NbdError, Options, Overlay, Service};
use std::sync::Arc;

fn three() -> Running {
    let disk = |size| Arc::new(TestDisk::new(size, &[]));
    Running::start(
        vec![
            Export::read_only("first", "The first one", disk(1000)),
            Export::read_only("zweite ü", "", disk(2000)),
            Export::read_only("third", "Another", disk(3000)),
        ],
        Options::default(),
    )
}

/// What `INFO_EXPORT` says.
fn export_info(size: u64, flags: u16) -> Vec<u8> {
    [&[0, 0][..], &size.to_be_bytes(), &flags.to_be_bytes()].concat()
}

/// HAS_FLAGS, READ_ONLY, SEND_FLUSH, CAN_MULTI_CONN, SEND_CACHE
const READ_ONLY: u16 = 1 | 2 | 4 | 1 << 8 | 1 << 10;
const SEND_DF: u16 = 1 << 7;

#[test]
fn exports_are_listed_with_their_descriptions() {
    let server = three();
    let mut client = Client::greet(&server.socket(), 3);
    let entry = |name: &str, description: &str| {
        (rep::SERVER, [&crate::client::string(name)[..], description.as_bytes()].concat())
    };
    let expected =
        [entry("first", "The first one"), entry("zweite ü", ""), entry("third", "Another"), (rep::ACK, vec![])];
    assert_eq!(client.option(opt::LIST, &[]), expected);
    assert_eq!(client.option(opt::LIST, b"x")[0].0, rep::INVALID);
    assert_eq!(client.option(opt::LIST, &[]), expected, "an error changes nothing");
}

#[test]
fn information_is_given_as_asked_for() {
    let server = three();
    let mut client = Client::greet(&server.socket(), 1);
    let info = client.option(opt::INFO, &wanted("third", &[3, 1, 2, 77]));
    let expected = [
        (rep::INFO, export_info(3000, READ_ONLY)),
        (rep::INFO, b"\0\x01third".to_vec()),
        (rep::INFO, b"\0\x02Another".to_vec()),
        (rep::INFO, vec![0, 3, 0, 0, 0, 1, 0, 0, 16, 0, 2, 0, 0, 0]),
        (rep::ACK, vec![]),
    ];
    assert_eq!(info, expected);
    assert_eq!(
        client.option(opt::INFO, &wanted("", &[]))[0].1,
        export_info(1000, READ_ONLY),
        "the first is the default"
    );
    assert_eq!(client.option(opt::INFO, &wanted("fourth", &[]))[0].0, rep::UNKNOWN);
    for broken in [&b""[..], &[0; 5], &[0; 7], &[0, 0, 0, 9, 0, 0], &[255; 6]] {
        assert_eq!(client.option(opt::INFO, broken)[0].0, rep::INVALID, "{broken:?}");
        assert_eq!(client.option(opt::GO, broken)[0].0, rep::INVALID, "{broken:?}");
    }
    client.structured();
    assert_eq!(client.option(opt::INFO, &wanted("", &[]))[0].1, export_info(1000, READ_ONLY | SEND_DF));
    assert_eq!(client.option(opt::GO, &wanted("fourth", &[]))[0].0, rep::UNKNOWN);
    let go = client.option(opt::GO, &wanted("zweite ü", &[]));
    assert_eq!(go, [(rep::INFO, export_info(2000, READ_ONLY | SEND_DF)), (rep::ACK, vec![])]);
    assert_eq!(client.read(1999, 1), Ok(vec![0]));
}

#[test]
fn an_export_is_entered_by_its_name_alone() {
    let server = three();
    for (flags, zeros) in [(0, 124), (1, 124), (2, 0), (3, 0)] {
        let mut client = Client::greet(&server.socket(), flags);
        client.put(&crate::client::option_bytes(opt::EXPORT_NAME, 5, b"third"));
        let answer = client.take(10 + zeros);
        assert_eq!(answer[..10], export_info(3000, READ_ONLY)[2..]);
        assert!(answer[10..].iter().all(|byte| *byte == 0));
        assert_eq!(client.read(2999, 1), Ok(vec![0]));
    }
    let mut client = Client::greet(&server.socket(), 3);
    client.put(&crate::client::option_bytes(opt::EXPORT_NAME, 6, b"fourth"));
    assert!(client.is_ended());
}

#[test]
fn what_can_be_written_to_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::overlay(&folder.path().join("o"), TestDisk::new(5000, &[]));
    let mut client = Client::greet(&server.socket(), 3);
    let flags = 1 | 4 | 8 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
    assert_eq!(client.option(opt::INFO, &wanted("", &[]))[0].1, export_info(5000, flags));
}

#[test]
fn contexts_are_listed_and_selected() {
    let server = three();
    let mut client = Client::greet(&server.socket(), 3);
    let context = |id: u32| (rep::META, [&id.to_be_bytes()[..], b"base:allocation"].concat());
    let ack = (rep::ACK, vec![]);
    assert_eq!(client.option(opt::SET_META, &queries("", &["base:allocation"]))[0].0, rep::INVALID, "not yet");
    client.structured();
    for asked in [&[][..], &["base:"], &["base:allocation", "x:y"], &["base:allocation", "base:"]] {
        assert_eq!(client.option(opt::LIST_META, &queries("first", asked)), [context(0), ack.clone()], "{asked:?}");
    }
    for asked in [&["x:y"][..], &["base:else"], &["qemu:dirty-bitmap:a"]] {
        assert_eq!(client.option(opt::LIST_META, &queries("first", asked)), std::slice::from_ref(&ack), "{asked:?}");
    }
    for asked in [&[][..], &["base:"], &["x:"]] {
        assert_eq!(client.option(opt::SET_META, &queries("first", asked)), std::slice::from_ref(&ack), "{asked:?}");
    }
    assert_eq!(client.option(opt::SET_META, &queries("first", &["base:allocation"])), [context(1), ack]);
    for option in [opt::LIST_META, opt::SET_META] {
        assert_eq!(client.option(option, &queries("fourth", &["base:allocation"]))[0].0, rep::UNKNOWN);
        assert_eq!(client.option(option, &queries("first", &["allocation"]))[0].0, rep::INVALID);
        assert_eq!(client.option(option, &[1, 2, 3])[0].0, rep::INVALID);
    }
    // The last of these failed, and with it went what had been selected.
    assert_eq!(client.option(opt::GO, &wanted("", &[])).len(), 2);
    assert_eq!(client.act(0, 7, 0, 1000, &[]), 22);
}

#[test]
fn a_context_holds_for_the_export_that_it_was_selected_for() {
    let server = three();
    for (selected, entered, expected) in [("first", "third", true), ("first", "", false), ("", "first", false)] {
        let mut client = Client::greet(&server.socket(), 3);
        client.structured();
        assert_eq!(client.option(opt::SET_META, &queries(selected, &["base:allocation"])).len(), 2);
        client.option(opt::GO, &wanted(entered, &[]));
        let cookie = client.request(0, 7, 0, 1000);
        let refused = client.chunks(cookie)[0].1 >= 1 << 15;
        assert_eq!(refused, expected, "{selected} {entered}");
    }
}

#[test]
fn what_is_not_known_is_said_not_to_be() {
    let server = three();
    let mut client = Client::greet(&server.socket(), 3);
    for option in [0, 4, 11, 12, 0xffff_ffff] {
        assert_eq!(client.option(option, b"some data")[0].0, rep::UNSUP, "{option}");
    }
    assert_eq!(client.option(opt::STARTTLS, &[])[0].0, rep::POLICY);
    assert_eq!(client.option(opt::STRUCTURED, b"x")[0].0, rep::INVALID);
    assert_eq!(client.option(opt::ABORT, b"whatever"), [(rep::ACK, vec![])]);
    assert!(client.is_ended());
}

#[test]
fn flags_that_nobody_offered_end_the_connection() {
    let server = three();
    for flags in [4, 7, 1 << 31] {
        assert!(Client::greet(&server.socket(), flags).is_ended());
    }
}

#[test]
fn what_cannot_be_served_is_refused_before_anybody_connects() {
    let export = |name: &str, description: &str| Export::read_only(name, description, Arc::new(vec![0_u8; 10]));
    let refused = |exports| {
        let error = Service::new(exports, Options::default()).expect_err("refused");
        assert!(matches!(error, NbdError::Export { .. }), "{error}");
        error.to_string()
    };
    assert!(refused(vec![]).contains("from 1 to"));
    assert!(refused(vec![export("a", ""), export("b", ""), export("a", "")]).contains("\"a\""));
    refused(vec![export("a\0", "")]);
    refused(vec![export("a", "\0")]);
    refused(vec![export(&"n".repeat(4097), "")]);
    refused(vec![export("a", &"n".repeat(4097))]);
    refused((0..1025).map(|number| export(&number.to_string(), "")).collect());
    let longest = vec![export(&"n".repeat(4096), &"d".repeat(4096)), export("", "")];
    Service::new(longest, Options::default()).expect("just so");
    let folder = tempfile::tempdir().unwrap();
    let overlay = Overlay::open(&folder.path().join("o"), Arc::new(vec![1_u8; 10]), [0; 32]).unwrap();
    assert!(Export::writable("a", "", Arc::new(overlay)).is_writable());
}
