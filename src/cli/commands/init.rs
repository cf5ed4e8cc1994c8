//! `sheaf init`

use crate::cli::args::Init;
use crate::cli::context::Context;
use crate::cli::failure::{DONE, Failure};
use crate::cli::output;
use sheaf::crypto::password::PasswordCost;
use sheaf::format::config::{Chunking, ConfigRecord};
use sheaf::repo::open::{InitOptions, Repository};
use sheaf::storage::local::LocalStorage;
use std::sync::Arc;

/// The program as snapshots and configs name it.
pub(crate) const TOOL: &str = concat!("sheaf ", env!("CARGO_PKG_VERSION"));

pub(crate) fn run(context: &Context, args: &Init) -> Result<u8, Failure> {
    let path = context.repo()?;
    let chunking = match &args.like {
        Some(like) => Repository::open(context.storage_at(like)?)?.config().record.chunking,
        None => Chunking::with_average(args.chunk_size << 10),
    };
    if args.pack_size << 20 < chunking.max {
        return Err(Failure::usage(format!(
            "--pack-size {} has no room for one chunk: {} bytes",
            args.pack_size, chunking.max
        )));
    }
    let password = context.password(true)?;
    let repository = Repository::init(
        context.careful(Arc::new(LocalStorage::create(&path)?)),
        InitOptions {
            config: ConfigRecord {
                created_ms: jiff::Timestamp::now().as_millisecond(),
                chunking,
                pack_size: args.pack_size << 20,
                compression_level: args.compression,
                parity: ConfigRecord::parity_of_percent(args.parity),
                tool: TOOL.to_owned(),
            },
            label: args.label.clone(),
            cost: PasswordCost { memory_kib: args.password_memory << 10, ..PasswordCost::default() },
        },
        &password,
    )?;
    let repository = Arc::new(repository);
    context.begin(&repository, "init");
    context.note(|entry| entry.bundle(repository.keys().certificate().key, repository.bundle()));
    if context.global.json {
        output::json(&serde_json::json!({ "repository": repository.id().to_string(), "path": path }));
    }
    context.say(&format!("Made repository {} at {}.", repository.id().short(), path.display()));
    context.say("Keep the password safe: without it nobody, and no tool, can read what is stored here.");
    Ok(DONE)
}
