//! The first phase: greeting, and options until the client has chosen an export (proto.md, "Handshake").
//!
//! Always true here:
//! - With TLS configured, no option but `STARTTLS` and `ABORT` does anything before TLS (proto.md, "FORCEDTLS mode"), and nothing that
//!   was agreed on before it holds after it.
//! - An option's data is read only when it has at most [`MOST_DATA`] bytes, and a client sends at most [`MOST_OPTIONS`] options.
//! - A client that breaks the form of the messages is disconnected; one that asks for what we do not have is told so.

use super::export::Export;
use super::options::{ContextRequest, InfoRequest};
use super::protocol::{BLOCK_SIZES, GREETING, OPTION, allocation, flag, handshake, info, option, rep, take};
use super::reply::option_reply;
use super::service::{End, Service};
use super::wire::{Incoming, Wire};
use std::sync::Arc;

/// Bytes of data of an option: a name, and more queries than anybody has.
const MOST_DATA: u32 = 64 << 10;

/// Bytes of data of an option that are skipped, so that the client can go on after it was told that this was too much. Beyond that the
/// client is told and disconnected.
const MOST_SKIPPED: u32 = 4 << 20;

/// Options that a client may send: some for each export that it asks about.
const MOST_OPTIONS: usize = 8 * Service::MOST_EXPORTS;

/// What was agreed on.
pub(super) struct Agreed {
    /// The number of the export.
    pub(super) export: usize,
    /// Structured replies.
    pub(super) structured: bool,
    /// The client may ask for block status.
    pub(super) status: bool,
    /// What carries requests and replies: the wire itself, or TLS over it.
    pub(super) wire: Arc<dyn Wire>,
    /// What comes over it.
    pub(super) incoming: Incoming,
}

/// What the client is, so far.
struct Haggling<'a> {
    service: &'a Service,
    wire: Arc<dyn Wire>,
    incoming: Incoming,
    fixed: bool,
    no_zeroes: bool,
    secure: bool,
    structured: bool,
    /// The export for which `base:allocation` was selected last.
    context: Option<usize>,
    /// Replies to the option at hand.
    out: Vec<u8>,
}

/// What follows an option.
enum Next {
    Option,
    Enter(usize),
}

/// What an export can do (proto.md, "Transmission flags").
fn transmission_flags(export: &Export, structured: bool) -> u16 {
    // All connections see the same disk, and a flush through one makes durable what was written through any.
    let always = flag::HAS_FLAGS | flag::SEND_FLUSH | flag::SEND_CACHE | flag::CAN_MULTI_CONN;
    let own = if export.is_writable() {
        flag::SEND_FUA | flag::SEND_TRIM | flag::SEND_WRITE_ZEROES | flag::SEND_FAST_ZERO
    } else {
        flag::READ_ONLY
    };
    always | own | if structured { flag::SEND_DF } else { 0 }
}

/// Greets a client and haggles with it until it has chosen an export.
///
/// # Errors
/// [`End`], when it comes to that before.
pub(super) fn negotiate(service: &Service, wire: Arc<dyn Wire>) -> Result<Agreed, End> {
    let known = handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES;
    let greeting = [&GREETING.to_be_bytes()[..], &OPTION.to_be_bytes(), &known.to_be_bytes()].concat();
    wire.send(&greeting).map_err(End::Lost)?;
    let mut incoming = Incoming::new(Arc::clone(&wire));
    let flags = u32::from_be_bytes(incoming.array()?);
    if flags & !u32::from(known) != 0 {
        return Err(End::Broken("it sent handshake flags that nobody offered"));
    }
    let has = |flag: u16| flags & u32::from(flag) != 0;
    let mut haggling = Haggling {
        service,
        wire,
        incoming,
        fixed: has(handshake::FIXED_NEWSTYLE),
        no_zeroes: has(handshake::NO_ZEROES),
        secure: false,
        structured: false,
        context: None,
        out: Vec::new(),
    };
    for _ in 0..MOST_OPTIONS {
        if let Next::Enter(export) = haggling.option()? {
            let status = haggling.structured && haggling.context == Some(export);
            let Haggling { structured, wire, incoming, .. } = haggling;
            return Ok(Agreed { export, structured, status, wire, incoming });
        }
    }
    Err(End::Broken("it sent options without end"))
}

impl Haggling<'_> {
    /// Takes one option and answers it.
    fn option(&mut self) -> Result<Next, End> {
        let head: [u8; 16] = self.incoming.array()?;
        let mut rest = head.as_slice();
        let magic = take(&mut rest).map(u64::from_be_bytes);
        let (Some(OPTION), Some(option), Some(length)) =
            (magic, take(&mut rest).map(u32::from_be_bytes), take(&mut rest).map(u32::from_be_bytes))
        else {
            return Err(End::Broken("what it sent is no option"));
        };
        self.out.clear();
        if length > MOST_DATA {
            return self.too_big(option, length);
        }
        let mut data = vec![0; usize::try_from(length).unwrap_or(0)];
        self.incoming.fill_rest(&mut data)?;
        let next = self.answer(option, &data)?;
        if !self.out.is_empty() {
            self.wire.send(&self.out).map_err(End::Lost)?;
        }
        Ok(next)
    }

    fn too_big(&mut self, option: u32, length: u32) -> Result<Next, End> {
        if option == option::EXPORT_NAME {
            return Err(End::Broken("the name of the export that it wants is too long"));
        }
        if length > MOST_SKIPPED {
            // Told at once, so that it hears of it before it is disconnected.
            self.error(option, rep::ERR_TOO_BIG, "this option has more data than is read");
            self.wire.send(&self.out).map_err(End::Lost)?;
            return Err(End::Broken("it announced an option of several megabytes"));
        }
        self.incoming.skip(u64::from(length))?;
        self.error(option, rep::ERR_TOO_BIG, "this option has more data than is read");
        self.wire.send(&self.out).map_err(End::Lost)?;
        Ok(Next::Option)
    }

    fn answer(&mut self, option: u32, data: &[u8]) -> Result<Next, End> {
        let locked = self.service.options().tls.is_some() && !self.secure;
        match option {
            option::ABORT => {
                self.reply(option, rep::ACK, &[]);
                // It may be gone already, and that is all right (proto.md, `NBD_OPT_ABORT`).
                let _ = self.wire.send(&self.out);
                self.wire.finish();
                return Err(End::Done);
            }
            option::STARTTLS => self.start_tls(data)?,
            option::EXPORT_NAME if locked => return Err(End::Broken("it chose an export without TLS")),
            _ if locked => self.error(option, rep::ERR_TLS_REQD, "this server speaks TLS only"),
            option::EXPORT_NAME => return self.export_name(data),
            option::LIST if data.is_empty() => self.list(),
            option::INFO | option::GO => return Ok(self.info(option, data)),
            option::STRUCTURED_REPLY if data.is_empty() => {
                self.structured = true;
                self.reply(option, rep::ACK, &[]);
            }
            option::LIST | option::STRUCTURED_REPLY => self.error(option, rep::ERR_INVALID, "this option has no data"),
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => self.contexts(option, data),
            _ => self.error(option, rep::ERR_UNSUP, "this server does not know the option"),
        }
        Ok(Next::Option)
    }

    fn reply(&mut self, option: u32, kind: u32, payload: &[u8]) {
        option_reply(&mut self.out, option, kind, payload);
    }

    fn error(&mut self, option: u32, kind: u32, message: &str) {
        self.reply(option, kind, message.as_bytes());
    }

    /// `STARTTLS` (proto.md, "Option types", "Server-side requirements").
    fn start_tls(&mut self, data: &[u8]) -> Result<(), End> {
        let option = option::STARTTLS;
        let Some(tls) = self.service.options().tls.clone() else {
            self.error(option, rep::ERR_POLICY, "this server has no certificate");
            return Ok(());
        };
        if self.secure || !data.is_empty() || !self.fixed {
            self.error(option, rep::ERR_INVALID, "TLS cannot be started like this");
            return Ok(());
        }
        // What came behind the option came in clear and would be taken for something that was said in TLS.
        if !self.incoming.is_empty() {
            return Err(End::Broken("it sent something between asking for TLS and being told to go on"));
        }
        self.reply(option, rep::ACK, &[]);
        self.wire.send(&self.out).map_err(End::Lost)?;
        self.out.clear();
        self.wire = tls.accept(Arc::clone(&self.wire)).map_err(End::Tls)?;
        self.incoming = Incoming::new(Arc::clone(&self.wire));
        (self.secure, self.structured, self.context) = (true, false, None);
        Ok(())
    }

    /// `EXPORT_NAME` (proto.md, "Newstyle negotiation"): there is no way to refuse but to disconnect.
    fn export_name(&mut self, name: &[u8]) -> Result<Next, End> {
        let found = self.service.find(name).and_then(|index| Some((index, self.service.exports().get(index)?)));
        let Some((index, export)) = found else {
            return Err(End::Broken("it chose an export that is not there"));
        };
        self.out.extend(export.size().to_be_bytes());
        self.out.extend(transmission_flags(export, self.structured).to_be_bytes());
        if !self.no_zeroes {
            self.out.extend([0; 124]);
        }
        Ok(Next::Enter(index))
    }

    fn list(&mut self) {
        let service = self.service;
        for export in service.exports() {
            let length = u32::try_from(export.name().len()).unwrap_or(0);
            let parts = [&length.to_be_bytes(), export.name().as_bytes(), export.description().as_bytes()];
            self.reply(option::LIST, rep::SERVER, &parts.concat());
        }
        self.reply(option::LIST, rep::ACK, &[]);
    }

    /// `INFO` and `GO` (proto.md, "Option types").
    fn info(&mut self, option: u32, data: &[u8]) -> Next {
        let Some(request) = InfoRequest::parse(data) else {
            self.error(option, rep::ERR_INVALID, "the option's data has another form");
            return Next::Option;
        };
        let service = self.service;
        let found = service.find(request.name).and_then(|index| Some((index, service.exports().get(index)?)));
        let Some((index, export)) = found else {
            self.error(option, rep::ERR_UNKNOWN, "there is no export of this name");
            return Next::Option;
        };
        let flags = transmission_flags(export, self.structured);
        let size = [&export.size().to_be_bytes()[..], &flags.to_be_bytes()].concat();
        let sizes = BLOCK_SIZES.map(u32::to_be_bytes).concat();
        let kinds = [
            (info::EXPORT, &size[..], true),
            (info::NAME, export.name().as_bytes(), request.wants(info::NAME)),
            (info::DESCRIPTION, export.description().as_bytes(), request.wants(info::DESCRIPTION)),
            (info::BLOCK_SIZE, &sizes, request.wants(info::BLOCK_SIZE)),
        ];
        for (kind, payload, wanted) in kinds {
            if wanted {
                self.reply(option, rep::INFO, &[&kind.to_be_bytes(), payload].concat());
            }
        }
        self.reply(option, rep::ACK, &[]);
        if option == option::GO { Next::Enter(index) } else { Next::Option }
    }

    /// `LIST_META_CONTEXT` and `SET_META_CONTEXT` (proto.md, "Option types", "The `base:` metadata namespace").
    fn contexts(&mut self, option: u32, data: &[u8]) {
        let sets = option == option::SET_META_CONTEXT;
        if sets {
            self.context = None;
        }
        let Some(request) = ContextRequest::parse(data).filter(|_| self.structured || !sets) else {
            self.error(
                option,
                rep::ERR_INVALID,
                "the option's data has another form, or structured replies come first",
            );
            return;
        };
        let Some(index) = self.service.find(request.export) else {
            self.error(option, rep::ERR_UNKNOWN, "there is no export of this name");
            return;
        };
        let listed = !sets && (request.names_base || !request.has_queries);
        if request.names_allocation || listed {
            // In a list the identifier is reserved.
            let id = if sets { allocation::ID } else { 0 };
            self.reply(option, rep::META_CONTEXT, &[&id.to_be_bytes(), allocation::NAME.as_bytes()].concat());
            self.context = self.context.or(sets.then_some(index));
        }
        self.reply(option, rep::ACK, &[]);
    }
}
