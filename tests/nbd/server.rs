//! Sockets and connections: who is let in, what is left behind.

use crate::client::Client;
use crate::support::{Running, spotted};
use sheaf::serve::nbd::{Export, Listen, NbdError, Options, Server};
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

fn exports() -> Vec<Export> {
    vec![Export::read_only("disk", "", Arc::new(spotted()))]
}

fn bind(path: &Path) -> Result<Server, NbdError> {
    Server::bind(&Listen::socket(path), exports(), Options::default())
}

#[test]
fn a_socket_is_its_owners_and_goes_with_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let server = bind(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else was left there");
    assert_eq!(server.local_description(), format!("unix:{}", path.display()));
    drop(server);
    assert!(!path.exists());
    let running = Running::disk(spotted());
    let path = running.socket();
    Client::enter(&path, false);
    running.stop().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    // What a server that was killed leaves.
    drop(UnixListener::bind(&path).unwrap());
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
    let server = bind(&path).unwrap();
    let error = bind(&path).unwrap_err();
    assert!(matches!(error, NbdError::InUse { .. }), "{error}");
    assert!(UnixStream::connect(&path).is_ok(), "the first server still has it");
    // When somebody has put something else there, that stays.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    drop(server);
    let error = bind(&path).unwrap_err();
    assert!(matches!(error, NbdError::NotASocket { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    let error = bind(&folder.path().join("no folder/s")).unwrap_err();
    assert!(matches!(error, NbdError::Bind { .. }), "{error}");
    let error = bind(&folder.path().join("n".repeat(200))).unwrap_err();
    assert!(matches!(error, NbdError::Bind { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn loopback_is_served_and_the_world_is_not() {
    let listen = Listen::parse("tcp:127.0.0.1:0").unwrap();
    let running = Running::start_at(tempfile::tempdir().unwrap(), &listen, exports(), Options::default());
    let address = running.place.strip_prefix("tcp:").unwrap();
    assert!(!address.ends_with(":0"), "{address}");
    let mut client = Client::over(Box::new(TcpStream::connect(address).unwrap()), 3);
    assert_eq!(client.option(7, &crate::client::wanted("", &[])).len(), 2);
    assert_eq!(client.read(0, 100).unwrap(), spotted().bytes[..100]);
    for public in ["tcp:0.0.0.0:0", "tcp:[::]:0", "tcp:192.0.2.1:10809"] {
        let error = Server::bind(&Listen::parse(public).unwrap(), exports(), Options::default()).unwrap_err();
        assert!(matches!(error, NbdError::NeedsTls { .. }), "{error}");
    }
}

#[test]
fn one_client_too_many_is_turned_away_until_another_leaves() {
    let server = Running::start(exports(), Options { clients: 3, ..Options::default() });
    let mut clients: Vec<Client> = (0..3).map(|_| Client::enter(&server.socket(), true)).collect();
    for _ in 0..3 {
        let mut stream = UnixStream::connect(server.socket()).unwrap();
        let mut greeting = Vec::new();
        let _ = stream.read_to_end(&mut greeting);
        assert_eq!(greeting, b"", "not even a greeting");
    }
    for client in &mut clients {
        assert_eq!(client.read(0, 10).unwrap(), spotted().bytes[..10]);
    }
    let mut last = clients.pop().unwrap();
    last.request(0, crate::client::cmd::DISC, 0, 0);
    assert!(last.is_ended());
    // Its thread may take a moment to end.
    let mut stream = UnixStream::connect(server.socket()).unwrap();
    while stream.read(&mut [0; 18]).unwrap_or(0) == 0 {
        stream = UnixStream::connect(server.socket()).unwrap();
    }
}

#[test]
fn a_client_that_cannot_say_what_it_wants_is_disconnected() {
    let options = Options { patience: std::time::Duration::ZERO, ..Options::default() };
    let server = Running::start(exports(), options);
    let mut stream = UnixStream::connect(server.socket()).unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    assert!(said.len() <= 18, "it came to an end, perhaps before the greeting");
}

#[test]
fn several_clients_read_at_once() {
    let server = Running::disk(spotted());
    let bytes = spotted().bytes;
    let socket = server.socket();
    std::thread::scope(|scope| {
        for number in 0..4_u64 {
            let (socket, bytes) = (&socket, &bytes);
            scope.spawn(move || {
                let mut client = Client::enter(socket, number % 2 == 0);
                let mut dice = crate::support::Dice(number);
                for _ in 0..100 {
                    let start = dice.below(bytes.len() as u64 - 70_000);
                    let length = u32::try_from(dice.below(70_000)).unwrap();
                    let from = usize::try_from(start).unwrap();
                    assert!(client.read(start, length).unwrap() == bytes[from..from + length as usize]);
                }
            });
        }
    });
}

#[test]
fn a_server_that_is_stopped_leaves_nobody_waiting() {
    let server = Running::disk(spotted());
    let mut idle = Client::enter(&server.socket(), true);
    let mut haggling = Client::greet(&server.socket(), 3);
    let mut silent = UnixStream::connect(server.socket()).unwrap();
    silent.read_exact(&mut [0; 18]).unwrap();
    server.stop().unwrap();
    assert!(idle.is_ended() && haggling.is_ended());
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0);
}
