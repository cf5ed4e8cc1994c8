//! TLS: that it is required, that it carries everything, and that strangers are kept out.
//!
//! Certificates are made by `openssl`; where that is not installed, these tests are skipped.

use crate::client::{Client, Talk, opt, option_bytes, queries, rep, wanted};
use crate::support::{Dice, Running, spotted};
use crate::tools::{has, run};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sheaf::serve::nbd::{Export, Listen, NbdError, Options, Tls};
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// A folder of certificates, named as GnuTLS's users expect them, or `None` where they cannot be made.
struct Certificates(TempDir);

impl Certificates {
    fn make() -> Option<Self> {
        if !Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: openssl is not installed");
            return None;
        }
        let folder = Self(tempfile::tempdir().unwrap());
        folder.authority("ca");
        folder.signed("server", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n");
        folder.signed("client", "extendedKeyUsage=clientAuth\n");
        folder.authority("stranger");
        Some(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("{name}.pem"))
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn key(&self, name: &str) -> String {
        let file = format!("{name}-key.pem");
        self.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &file]);
        file
    }

    fn authority(&self, name: &str) {
        let (key, file, subject) = (self.key(name), format!("{name}-cert.pem"), format!("/CN={name}"));
        self.openssl(&["req", "-x509", "-new", "-key", &key, "-subj", &subject, "-days", "2", "-out", &file]);
    }

    fn signed(&self, name: &str, extensions: &str) {
        let (key, request, subject) = (self.key(name), format!("{name}.csr"), format!("/CN={name}"));
        let extension_file = format!("{name}.ext");
        fs::write(self.0.path().join(&extension_file), format!("basicConstraints=CA:FALSE\n{extensions}")).unwrap();
        self.openssl(&["req", "-new", "-key", &key, "-subj", &subject, "-out", &request]);
        let certificate = format!("{name}-cert.pem");
        let signing = ["-CA", "ca-cert.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2"];
        let files = ["x509", "-req", "-in", &request, "-out", &certificate, "-extfile", &extension_file];
        self.openssl(&[&files[..], &signing].concat());
    }

    fn tls(&self, mutual: bool) -> Tls {
        let authority = self.path("ca-cert");
        Tls::from_pem(&self.path("server-cert"), &self.path("server-key"), mutual.then_some(&*authority)).unwrap()
    }

    fn serve(&self, mutual: bool) -> Running {
        let options = Options { tls: Some(self.tls(mutual)), ..Options::default() };
        let listen = Listen::parse("tcp:127.0.0.1:0").unwrap();
        let exports = vec![Export::read_only("disk", "A disk", Arc::new(spotted()))];
        Running::start_at(tempfile::tempdir().unwrap(), &listen, exports, options)
    }

    /// What a client needs; with a certificate of its own, when one is named.
    fn client(&self, authority: &str, own: Option<&str>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path(authority)).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let chain = vec![CertificateDer::from_pem_file(self.path(&format!("{name}-cert"))).unwrap()];
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}-key"))).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        })
    }
}

/// Connects without TLS.
fn plain(server: &Running) -> Client {
    let address = server.place.strip_prefix("tcp:").unwrap();
    Client::over(Box::new(TcpStream::connect(address).unwrap()), 3)
}

/// Starts TLS; the server has agreed, and the handshake begins with what is said next.
fn secure(server: &Running, config: Arc<ClientConfig>) -> Box<dyn Talk> {
    let address = server.place.strip_prefix("tcp:").unwrap();
    let stream = TcpStream::connect(address).unwrap();
    let mut client = Client::over(Box::new(stream.try_clone().unwrap()), 3);
    // Nothing that is agreed on now holds later.
    assert_eq!(client.option(opt::STRUCTURED, &[])[0].0, rep::TLS_REQD);
    assert_eq!(client.option(opt::STARTTLS, &[]), [(rep::ACK, vec![])]);
    let session = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    Box::new(StreamOwned::new(session, stream))
}

#[test]
fn nothing_is_told_without_it() {
    let Some(certificates) = Certificates::make() else { return };
    let server = certificates.serve(false);
    let mut client = plain(&server);
    for (option, data) in [
        (opt::LIST, vec![]),
        (opt::INFO, wanted("", &[])),
        (opt::GO, wanted("disk", &[])),
        (opt::GO, wanted("unheard of", &[])),
        (opt::LIST_META, queries("", &[])),
        (opt::SET_META, queries("", &["base:allocation"])),
        (99, vec![]),
    ] {
        let replies = client.option(option, &data);
        assert_eq!((replies.len(), replies[0].0), (1, rep::TLS_REQD), "{option}");
    }
    assert_eq!(client.option(opt::STARTTLS, b"x")[0].0, rep::INVALID);
    assert_eq!(client.option(opt::ABORT, &[]), [(rep::ACK, vec![])]);
    let mut client = plain(&server);
    client.put(&option_bytes(opt::EXPORT_NAME, 4, b"disk"));
    assert!(client.is_ended());
    // A client of the older negotiation cannot start TLS.
    let address = server.place.strip_prefix("tcp:").unwrap();
    let mut client = Client::over(Box::new(TcpStream::connect(address).unwrap()), 2);
    assert_eq!(client.option(opt::STARTTLS, &[])[0].0, rep::INVALID);
}

#[test]
fn what_is_said_too_early_is_not_taken_for_secret() {
    let Some(certificates) = Certificates::make() else { return };
    let server = certificates.serve(false);
    let mut client = plain(&server);
    let injected = [option_bytes(opt::STARTTLS, 0, b""), option_bytes(opt::LIST, 0, b"")].concat();
    client.put(&injected);
    assert!(client.is_ended());
}

#[test]
fn all_goes_through_it() {
    let Some(certificates) = Certificates::make() else { return };
    let server = certificates.serve(false);
    let bytes = spotted().bytes;
    let talk = secure(&server, certificates.client("ca-cert", None));
    let mut client = Client::within(talk);
    assert_eq!(client.option(opt::STARTTLS, &[])[0].0, rep::INVALID, "there is TLS already");
    assert_eq!(client.option(opt::SET_META, &queries("", &["base:allocation"]))[0].0, rep::INVALID);
    client.structured();
    assert_eq!(client.option(opt::GO, &wanted("disk", &[])).len(), 2);
    let length = u32::try_from(bytes.len()).unwrap();
    assert!(client.read(0, length).unwrap() == bytes);
    let mut dice = Dice(1);
    for _ in 0..50 {
        let (start, length) = (dice.below(6 << 20), dice.below(1234));
        let from = usize::try_from(start).unwrap();
        let read = client.read(start, u32::try_from(length).unwrap()).unwrap();
        assert!(read == bytes[from..from + usize::try_from(length).unwrap()]);
    }
    client.request(0, crate::client::cmd::DISC, 0, 0);
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).expect("TLS was closed as it should be");
    assert!(rest.is_empty());
}

#[test]
fn strangers_are_kept_out() {
    let Some(certificates) = Certificates::make() else { return };
    let server = certificates.serve(true);
    let mut known = Client::within(secure(&server, certificates.client("ca-cert", Some("client"))));
    assert_eq!(known.option(opt::GO, &wanted("", &[])).len(), 2);
    assert!(known.read(0, 100).unwrap() == spotted().bytes[..100]);
    for own in [None, Some("stranger")] {
        let mut talk = secure(&server, certificates.client("ca-cert", own));
        let said = talk.write_all(&option_bytes(opt::LIST, 0, b"")).and_then(|()| talk.flush());
        // The handshake fails at once or when its end is answered.
        assert!(said.and_then(|()| talk.read_exact(&mut [0; 1])).is_err(), "{own:?}");
    }
    // A client that does not trust the server hangs up, and the server minds it not.
    let mut talk = secure(&server, certificates.client("stranger-cert", Some("client")));
    assert!(talk.read(&mut [0; 1]).is_err());
    let mut stream = TcpStream::connect(server.place.strip_prefix("tcp:").unwrap()).unwrap();
    stream.read_exact(&mut [0; 18]).unwrap();
    let garbage = [&[0, 0, 0, 3][..], &option_bytes(opt::STARTTLS, 0, b"")].concat();
    std::io::Write::write_all(&mut stream, &garbage).unwrap();
    stream.read_exact(&mut [0; 20]).unwrap();
    std::io::Write::write_all(&mut stream, &[0x16; 4000]).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    assert!(known.read(100, 100).unwrap() == spotted().bytes[100..200]);
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let Some(certificates) = Certificates::make() else { return };
    let (good, key, empty) =
        (certificates.path("server-cert"), certificates.path("server-key"), certificates.path("empty"));
    fs::write(&empty, "nothing").unwrap();
    let missing = certificates.path("missing");
    let stranger = certificates.path("stranger-key");
    let cases: [(&Path, &Path, Option<&Path>, &Path); 7] = [
        (&missing, &key, None, &missing),
        (&good, &missing, None, &missing),
        (&empty, &key, None, &empty),
        (&good, &empty, None, &empty),
        (&good, &stranger, None, &good),
        (&good, &key, Some(&empty), &empty),
        (&good, &key, Some(&missing), &missing),
    ];
    for (chain, key, clients, blamed) in cases {
        match Tls::from_pem(chain, key, clients) {
            Err(NbdError::Certificate { path, reason }) => assert_eq!(path, blamed, "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn programs_speak_it() {
    let Some(certificates) = Certificates::make() else { return };
    let folder = certificates.0.path().display().to_string();
    for mutual in [false, true] {
        let server = certificates.serve(mutual);
        let port = server.place.rsplit(':').next().unwrap().to_owned();
        let uri = format!("nbds://localhost:{port}/disk?tls-certificates={folder}");
        if has("nbdinfo") {
            let info: serde_json::Value = serde_json::from_str(&run("nbdinfo", &["--json", &uri])).expect("JSON");
            assert_eq!((&info["TLS"], &info["exports"][0]["export-name"]), (&true.into(), &"disk".into()));
            let refused = Command::new("nbdinfo").arg(format!("nbd://localhost:{port}/disk")).output().unwrap();
            assert!(!refused.status.success());
        }
        if has("nbdcopy") {
            let file = server.folder.path().join("copy");
            run("nbdcopy", &[&uri, file.to_str().unwrap()]);
            assert!(fs::read(&file).unwrap() == spotted().bytes);
        }
        if has("qemu-img") {
            let file = server.folder.path().join("raw");
            fs::write(&file, spotted().bytes).unwrap();
            let credentials = format!("tls-creds-x509,id=t,endpoint=client,dir={folder}");
            let image = format!("driver=nbd,host=localhost,port={port},export=disk,tls-creds=t");
            let raw = format!("driver=file,filename={}", file.display());
            run("qemu-img", &["compare", "--object", &credentials, "--image-opts", &image, &raw]);
        }
    }
}
