// SPDX-License-Identifier: GPL-2.0
//! What was counted, as attributes.

use super::{
    kind::{exp_stats, global, stats},
    write::{Writer, Written},
};

/// What a CPU has counted of packets and connections. Numbers go round after 32 bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// INVALID packets.
    pub invalid: u32,
    /// Connections that went into the table.
    pub insert: u32,
    /// Connections that did not get into the table.
    pub insert_failed: u32,
    /// Packets that were dropped.
    pub drop: u32,
    /// Connections that have made room for others.
    pub early_drop: u32,
    /// ICMP errors that were INVALID.
    pub error: u32,
    /// Connections that were made one.
    pub clash_resolved: u32,
}

impl Counted {
    /// Writes the answer to GET_STATS_CPU. What this tracker never does is zero in it.
    ///
    /// # Errors
    ///
    /// [`super::write::NoRoom`].
    pub fn write(&self, out: &mut Writer<'_>) -> Written {
        let counters = [
            (stats::FOUND, 0),
            (stats::INVALID, self.invalid),
            (stats::INSERT, self.insert),
            (stats::INSERT_FAILED, self.insert_failed),
            (stats::DROP, self.drop),
            (stats::EARLY_DROP, self.early_drop),
            (stats::ERROR, self.error),
            (stats::SEARCH_RESTART, 0),
            (stats::CLASH_RESOLVE, self.clash_resolved),
            (stats::CHAIN_TOOLONG, 0),
        ];
        counters
            .into_iter()
            .try_for_each(|(kind, counter)| out.be32(kind, counter))
    }
}

/// What a CPU has counted of expectations.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExpectationsCounted {
    /// Connections that were expected and came.
    pub new: u32,
    /// Connections that were announced.
    pub create: u32,
    /// Expectations that have ended.
    pub delete: u32,
}

impl ExpectationsCounted {
    /// Writes the answer to GET_STATS_CPU of expectations.
    ///
    /// # Errors
    ///
    /// [`super::write::NoRoom`].
    pub fn write(&self, out: &mut Writer<'_>) -> Written {
        out.be32(exp_stats::NEW, self.new)?;
        out.be32(exp_stats::CREATE, self.create)?;
        out.be32(exp_stats::DELETE, self.delete)
    }
}

/// Writes the answer to GET_STATS: how many connections there are, and may be.
///
/// # Errors
///
/// [`super::write::NoRoom`].
pub fn write_global(out: &mut Writer<'_>, entries: u32, max: u32) -> Written {
    out.be32(global::ENTRIES, entries)?;
    out.be32(global::MAX_ENTRIES, max)
}
