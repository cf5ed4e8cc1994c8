//! Clients that break the rules, or break off.

use crate::client::{Client, cmd, opt, option_bytes, rep, wanted};
use crate::support::{Dice, MIB, Running, TestDisk, spotted};
use sheaf::disk::{DiskOffset, ReadAt, ReadError};
use sheaf::serve::nbd::{End, Export, Notice, Options};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::{Arc, Mutex};

/// Whether the server still serves somebody who knows the rules.
fn is_well(server: &Running) {
    let mut client = Client::enter(&server.socket(), true);
    assert!(client.read(0, 4096).unwrap() == spotted().bytes[..4096]);
}

#[test]
fn an_option_of_four_gigabytes_is_refused_without_reading_it() {
    let server = Running::disk(spotted());
    for option in [opt::LIST, opt::INFO, opt::GO, opt::SET_META, opt::ABORT, 77] {
        let mut client = Client::greet(&server.socket(), 3);
        client.put(&option_bytes(option, u32::MAX, b"only a little of it"));
        assert_eq!(client.option_replies(option)[0].0, rep::TOO_BIG);
        assert!(client.is_ended());
    }
    let mut client = Client::greet(&server.socket(), 3);
    client.put(&option_bytes(opt::EXPORT_NAME, u32::MAX, b""));
    assert!(client.is_ended());
    is_well(&server);
}

#[test]
fn an_option_that_is_too_large_is_skipped_where_that_is_little_work() {
    let server = Running::disk(spotted());
    let mut client = Client::greet(&server.socket(), 3);
    for length in [(64 << 10) + 1, 300_000, 4 << 20] {
        assert_eq!(client.option(opt::INFO, &vec![0; length])[0].0, rep::TOO_BIG, "{length}");
    }
    assert_eq!(client.option(opt::INFO, &vec![0; 64 << 10])[0].0, rep::INVALID, "this one was read");
    assert_eq!(client.option(opt::GO, &wanted("disk", &[])).len(), 2);
    assert_eq!(client.read(0, 4).unwrap(), spotted().bytes[..4]);
}

#[test]
fn options_without_end_are_not_answered_for_ever() {
    let server = Running::disk(spotted());
    let mut client = Client::greet(&server.socket(), 3);
    for _ in 0..8 * 1024 {
        assert_eq!(client.option(99, &[])[0].0, rep::UNSUP);
    }
    assert!(client.is_ended());
}

#[test]
fn garbage_ends_the_connection_and_nothing_else() {
    let server = Running::disk(spotted());
    let mut dice = Dice(77);
    let mut garbage = |length: usize| (0..length).map(|_| dice.roll().to_be_bytes()[3]).collect::<Vec<u8>>();
    for _ in 0..20 {
        let mut client = Client::greet(&server.socket(), 3);
        client.put(&garbage(64));
        assert!(client.is_ended());
        let mut client = Client::enter(&server.socket(), true);
        client.put(&garbage(64));
        assert!(client.is_ended());
    }
    let mut stream = UnixStream::connect(server.socket()).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(answer.len(), 18, "the greeting and no more");
    is_well(&server);
}

#[test]
fn a_client_may_break_off_anywhere() {
    let exports = vec![Export::read_only("disk", "", Arc::new(spotted()))];
    let server = Running::start(exports, Options { clients: 1000, ..Options::default() });
    // All that a client says from its first byte on, until it reads.
    let head = |command: u16, length: u32| {
        [&0x2560_9513_u32.to_be_bytes()[..], &[0, 0], &command.to_be_bytes(), &[9; 8], &[0; 8], &length.to_be_bytes()]
            .concat()
    };
    let said = [
        vec![0, 0, 0, 3],
        option_bytes(opt::STRUCTURED, 0, b""),
        option_bytes(opt::GO, 6, &wanted("", &[])),
        head(cmd::READ, 4096),
        head(cmd::WRITE, 40),
        vec![1; 40],
    ]
    .concat();
    for end in 0..=said.len() {
        let mut stream = UnixStream::connect(server.socket()).unwrap();
        stream.write_all(&said[..end]).unwrap();
        drop(stream);
    }
    is_well(&server);
    // Nor does it matter when it only stops to speak: what it asked for it still gets.
    let mut stream = UnixStream::connect(server.socket()).unwrap();
    stream.write_all(&said).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let read = answer.windows(4096).any(|part| part == &spotted().bytes[..4096]);
    assert!(read, "{} bytes came", answer.len());
}

#[test]
fn clients_that_stall_keep_nobody_else_waiting() {
    let server = Running::disk(TestDisk::new(64 * MIB, &[0..64 * MIB]));
    let mut stalled = Vec::new();
    // Asks for much and takes nothing.
    for structured in [false, true] {
        let mut client = Client::enter(&server.socket(), structured);
        for _ in 0..64 {
            client.request(0, cmd::READ, 0, 32 << 20);
        }
        stalled.push(client);
    }
    // Says half of something.
    let mut client = Client::greet(&server.socket(), 3);
    client.put(b"IHAVE");
    stalled.push(client);
    let mut client = Client::enter(&server.socket(), true);
    client.put(&0x2560_9513_u32.to_be_bytes());
    stalled.push(client);
    let mut client = Client::enter(&server.socket(), false);
    assert_eq!(client.read(0, 32 << 20).unwrap().len(), 32 << 20);
    assert_eq!(client.read(5, 5).unwrap().len(), 5);
    // The server ends although they are still there.
    server.stop().unwrap();
    drop(stalled);
}

/// The most memory that this process ever had, in KiB; 0 where the system does not say.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0)
}

#[test]
fn memory_is_bounded_whatever_is_asked_for() {
    // In a process of its own, where no other test takes any.
    let name = "hostile::memory_is_bounded_whatever_is_asked_for";
    if std::env::var_os("SHEAF_TEST_MEMORY").is_none() {
        let program = std::env::current_exe().unwrap();
        let child = Command::new(program).args(["--exact", name, "--nocapture"]).env("SHEAF_TEST_MEMORY", "1").output();
        let child = child.unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
        return;
    }
    // A disk that is large and takes no memory.
    struct Ones;
    impl ReadAt for Ones {
        fn size(&self) -> u64 {
            1 << 40
        }
        fn read_at(&self, _: DiskOffset, buffer: &mut [u8]) -> Result<(), ReadError> {
            buffer.fill(1);
            Ok(())
        }
    }
    let server = Running::disk(Ones);
    let before = peak();
    let mut clients = [Client::enter(&server.socket(), false), Client::enter(&server.socket(), false)];
    for client in &mut clients {
        for number in 0..15 {
            client.request(0, cmd::READ, number << 25, 32 << 20);
        }
    }
    let mut part = vec![0; 1 << 20];
    for client in &mut clients {
        for _ in 0..15 {
            assert_eq!(client.simple().0, 0);
            for _ in 0..32 {
                client.stream.read_exact(&mut part).unwrap();
            }
        }
    }
    // 960 MiB were asked for at once, and two connections have a budget of 36 MiB each.
    let grown = peak() - before;
    assert!(grown < 100 << 10, "{grown} KiB");
}

#[test]
fn an_operator_hears_how_connections_end_and_what_failed() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&heard);
    let notices = move |notice: &Notice<'_>| {
        notes.lock().unwrap().push(match notice {
            Notice::Connected { export } => format!("connected to {export}"),
            Notice::Ended { end: End::Broken(_) } => "broken".to_owned(),
            Notice::Ended { end } => end.to_string(),
            Notice::Failed { export, offset, reason } => format!("{export} at {offset}: {reason}"),
            other => format!("{other:?}"),
        });
    };
    let disk = TestDisk::new(MIB, &[0..MIB]).damaged(&[4096..8192]);
    let options = Options { notices: Some(Arc::new(notices)), requests: 1, ..Options::default() };
    let server = Running::start(vec![Export::read_only("disk", "", Arc::new(disk))], options);
    let mut client = Client::enter(&server.socket(), true);
    assert!(client.read(5000, 10).is_err());
    client.request(0, cmd::DISC, 0, 0);
    assert!(client.is_ended());
    let mut client = Client::enter(&server.socket(), true);
    client.put(&[7; 28]);
    assert!(client.is_ended());
    server.stop().unwrap();
    let heard = heard.lock().unwrap().clone();
    let expected = [
        "connected to disk",
        "disk at 5000: the bytes at offset 5000 are damaged in the repository: the pack was eaten",
        "the client is done",
        "connected to disk",
        "broken",
    ];
    assert_eq!(heard, expected);
}

#[test]
fn a_disk_that_panics_ends_the_connection_and_no_other() {
    struct Broken;
    impl ReadAt for Broken {
        fn size(&self) -> u64 {
            1 << 20
        }
        fn read_at(&self, offset: DiskOffset, _: &mut [u8]) -> Result<(), ReadError> {
            assert!(offset.0 != 4096, "this panic is meant to be");
            Ok(())
        }
    }
    for requests in [1, 4] {
        let exports = vec![Export::read_only("disk", "", Arc::new(Broken))];
        let server = Running::start(exports, Options { requests, ..Options::default() });
        let mut other = Client::enter(&server.socket(), true);
        let mut client = Client::enter(&server.socket(), true);
        client.request(0, cmd::READ, 4096, 10);
        assert!(client.is_ended());
        assert_eq!(other.read(0, 10).unwrap(), [0; 10]);
    }
}
