//! What could not be used, and why.

use std::collections::BTreeMap;
use std::fmt;

/// Why something of a cache was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Not a layer at all, or its blob is no digest.
    LayerUnreadable,
    /// Its parent is not there, was left out itself, or comes back to it.
    LayerWithoutParent,
    /// The manifest has no descriptor of its blob, or one that no importer can use.
    LayerWithoutDescriptor,
    /// A descriptor that lacks its type, size, or what its bytes are when unpacked.
    DescriptorUnusable,
    /// Not a record at all, or its digest is none.
    RecordUnreadable,
    /// One of its inputs leads to nothing that a build could have.
    RecordUnreachable,
    /// One of several ways to a record: to where nothing is, or in a circle.
    LinkAstray,
    /// Its layer is not there or was left out, or its time is none.
    ResultUnusable,
    /// More than is read or written of such things.
    TooMuch,
}

/// What was left out of a cache, counted by why; nothing, if it was as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut(BTreeMap<Reason, usize>);

impl LeftOut {
    /// Adds `count` things that were left out for `reason`.
    pub(super) fn add(&mut self, reason: Reason, count: usize) {
        if count > 0 {
            *self.0.entry(reason).or_default() += count;
        }
    }

    /// Whether everything was used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many were left out, for each reason there was.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, usize)> {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (reason, count)) in self.iter().enumerate() {
            write!(f, "{}{reason}: {count}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LayerUnreadable => "layers that are none",
            Self::LayerWithoutParent => "layers without their parent",
            Self::LayerWithoutDescriptor => "layers without a descriptor",
            Self::DescriptorUnusable => "descriptors of no use",
            Self::RecordUnreadable => "records that are none",
            Self::RecordUnreachable => "records that no build can reach",
            Self::LinkAstray => "links to nowhere or in a circle",
            Self::ResultUnusable => "results without their layer or time",
            Self::TooMuch => "beyond what is read or written",
        })
    }
}
