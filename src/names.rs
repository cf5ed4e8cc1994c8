//! Names of objects on storage (format-spec/names.md).
//!
//! Always true here:
//! - A name is a kind and, for all but the config, 32 bytes of id. Every other file in a repository's folder
//!   is not ours and is left alone.
//! - The name of an object that has an id is the BLAKE3 of its bytes; but the parity of an object has the id of that object, so that each is
//!   found from the other without opening anything.
//! - What was moved aside has a name of its own kind, an [`AsideName`], which is no object's.

use crate::ids::ObjectId;

/// The kinds of stored object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// The one config.
    Config,
    /// Key bundles.
    Key,
    /// Packs of sealed chunks.
    Pack,
    /// Index segments.
    Index,
    /// Snapshots.
    Snapshot,
    /// Leases of running writers and readers.
    Session,
    /// Packs that a prune has condemned.
    Retired,
    /// Audit entries.
    Audit,
    /// Parity of objects of the other kinds.
    Parity,
}

impl ObjectKind {
    /// Every kind, in the order in which a copy of a repository must be made so that it is sound at each step.
    /// Parity comes last: an object without it is sound, and it is of no use without its object.
    pub const ALL: [Self; 9] = [
        Self::Config,
        Self::Key,
        Self::Pack,
        Self::Index,
        Self::Snapshot,
        Self::Session,
        Self::Retired,
        Self::Audit,
        Self::Parity,
    ];

    /// The folder, or for the config the file.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "keys",
            Self::Pack => "packs",
            Self::Index => "index",
            Self::Snapshot => "snapshots",
            Self::Session => "sessions",
            Self::Retired => "retired",
            Self::Audit => "audit",
            Self::Parity => "parity",
        }
    }

    /// What a person calls it.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "key bundle",
            Self::Pack => "pack",
            Self::Index => "index segment",
            Self::Snapshot => "snapshot",
            Self::Session => "session",
            Self::Retired => "retirement",
            Self::Audit => "audit entry",
            Self::Parity => "parity",
        }
    }

    /// True where the name is the BLAKE3 of the bytes.
    pub const fn named_by_content(self) -> bool {
        !matches!(self, Self::Config | Self::Parity)
    }

    /// True where objects lie in sub-folders by the first two hex digits of their id.
    pub const fn fanned_out(self) -> bool {
        matches!(self, Self::Pack | Self::Parity)
    }

    /// True where an object may have parity. The others are short-lived, or parity themselves.
    pub const fn has_parity(self) -> bool {
        !matches!(self, Self::Session | Self::Retired | Self::Parity)
    }
}

/// The name of one stored object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    kind: ObjectKind,
    id: Option<ObjectId>,
}

impl ObjectName {
    /// The config's name.
    pub const CONFIG: Self = Self { kind: ObjectKind::Config, id: None };

    /// The id under which the parity of the config lies, which has none of its own (format-spec/parity.md).
    pub const CONFIG_PARITY: ObjectId = ObjectId::new([
        0x89, 0x32, 0x61, 0x33, 0x67, 0x0a, 0xc3, 0x46, 0x98, 0x34, 0x1c, 0x05, 0x77, 0x75, 0x8d, 0x2e, 0x83, 0xd8,
        0xb8, 0xc0, 0x0a, 0x73, 0x83, 0xbd, 0x67, 0xd2, 0x6b, 0x9f, 0xfd, 0x44, 0x90, 0x7f,
    ]);

    /// The name of an object that has an id.
    pub const fn new(kind: ObjectKind, id: ObjectId) -> Self {
        match kind {
            ObjectKind::Config => Self::CONFIG,
            _ => Self { kind, id: Some(id) },
        }
    }

    /// The name of the pack with this id.
    pub const fn pack(id: ObjectId) -> Self {
        Self::new(ObjectKind::Pack, id)
    }

    /// The kind.
    pub const fn kind(self) -> ObjectKind {
        self.kind
    }

    /// The id; none for the config.
    pub const fn id(self) -> Option<ObjectId> {
        self.id
    }

    /// The name of this object's parity; none for kinds that have none.
    pub const fn parity(self) -> Option<Self> {
        match self.id {
            _ if !self.kind.has_parity() => None,
            None => Some(Self::new(ObjectKind::Parity, Self::CONFIG_PARITY)),
            Some(id) => Some(Self::new(ObjectKind::Parity, id)),
        }
    }

    /// The path below the repository, with `/` between its parts.
    pub fn path(self) -> String {
        match self.id {
            None => self.kind.folder().to_owned(),
            Some(id) if self.kind.fanned_out() => {
                let id = id.to_string();
                format!("{}/{}/{id}", self.kind.folder(), &id[..2])
            }
            Some(id) => format!("{}/{id}", self.kind.folder()),
        }
    }

    /// Reads a path below the repository; `None` for whatever is not exactly an object's path.
    pub fn parse(path: &str) -> Option<Self> {
        if path == ObjectKind::Config.folder() {
            return Some(Self::CONFIG);
        }
        let (folder, rest) = path.split_once('/')?;
        let kind = ObjectKind::ALL.into_iter().find(|kind| kind.folder() == folder && *kind != ObjectKind::Config)?;
        let id = if kind.fanned_out() {
            let (prefix, id) = rest.split_once('/')?;
            id.starts_with(prefix).then_some(id).filter(|_| prefix.len() == 2)?
        } else {
            rest
        };
        ObjectId::parse(id).ok().map(|id| Self::new(kind, id))
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path())
    }
}

/// The name of an object that was moved aside: out of the way of readers, and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AsideName {
    /// The name that it had.
    pub object: ObjectName,
    /// Tells objects apart that had one name, counted from 1.
    pub number: u32,
}

impl AsideName {
    /// The folder of all of them.
    pub const FOLDER: &'static str = "damaged";

    /// The path below the repository, with `/` between its parts.
    pub fn path(self) -> String {
        format!("{}/{}", Self::FOLDER, self.file_name())
    }

    /// The last part of the path.
    pub fn file_name(self) -> String {
        let folder = self.object.kind.folder();
        match self.object.id {
            None => format!("{folder}-{}", self.number),
            Some(id) => format!("{folder}-{id}-{}", self.number),
        }
    }

    /// Reads the last part of a path; `None` for whatever is not exactly that.
    pub fn parse(file_name: &str) -> Option<Self> {
        let (object, digits) = file_name.rsplit_once('-')?;
        let number: u32 = digits.parse().ok().filter(|number: &u32| *number > 0 && number.to_string() == digits)?;
        if object == ObjectKind::Config.folder() {
            return Some(Self { object: ObjectName::CONFIG, number });
        }
        let (folder, id) = object.split_once('-')?;
        let kind = ObjectKind::ALL.into_iter().find(|kind| kind.folder() == folder && *kind != ObjectKind::Config)?;
        ObjectId::parse(id).ok().map(|id| Self { object: ObjectName::new(kind, id), number })
    }
}

impl std::fmt::Display for AsideName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_what_lies_aside_parse_back_and_are_no_objects() {
        let id = ObjectId::new([0xab; 32]);
        for kind in ObjectKind::ALL {
            for number in [1, 2, 10, u32::MAX] {
                let name = AsideName { object: ObjectName::new(kind, id), number };
                assert_eq!(AsideName::parse(&name.file_name()), Some(name));
                assert_eq!(ObjectName::parse(&name.path()), None);
            }
        }
        for stranger in [
            "",
            "config",
            "config-0",
            "config-01",
            "config-+1",
            "packs-1",
            &format!("packs-{id}"),
            &format!("other-{id}-1"),
        ] {
            assert_eq!(AsideName::parse(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn every_name_parses_back_and_strangers_do_not() {
        let id = ObjectId::new([0xab; 32]);
        for kind in ObjectKind::ALL {
            let name = ObjectName::new(kind, id);
            assert_eq!(ObjectName::parse(&name.path()), Some(name));
        }
        let hex = id.to_string();
        for stranger in [
            "",
            "packs",
            "packs/",
            "config/x",
            "config/",
            "Keys/00",
            "keys/README",
            &format!("packs/{hex}"),
            &format!("packs/ac/{hex}"),
            &format!("packs/aba/{hex}"),
            &format!("keys/{}", hex.to_uppercase()),
            &format!("keys/{hex}.tmp"),
            &format!("other/{hex}"),
        ] {
            assert_eq!(ObjectName::parse(stranger), None, "{stranger}");
        }
    }
}
