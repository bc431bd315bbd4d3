// SPDX-License-Identifier: GPL-2.0
//! What each CPU has counted.

use conntrack::netlink::{
    kind::{exp_message, message},
    Error,
};
use ip_conntrack::control::{self, Namespace};
use netfilter::{
    nfnetlink::Outbox,
    percpu::{self, Cpu},
    Net,
};

use crate::page::Page;

/// What was counted.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    Connections,
    Expectations,
}

/// A message for each CPU.
pub(crate) struct Cpus {
    of: Of,
    last: Option<Cpu>,
    page: Page,
}

impl Cpus {
    /// The list, from its begin.
    pub(crate) fn new(of: Of) -> Result<Self, Error> {
        Ok(Self {
            of,
            last: None,
            page: Page::new()?,
        })
    }

    /// Sends as many as there is room for.
    pub(crate) fn fill(&mut self, net: &Net<Namespace>, out: &mut Outbox<'_>) {
        // Of both kinds stock tells as of the subsystem of connections.
        let number = match self.of {
            Of::Connections => message::GET_STATS_CPU,
            Of::Expectations => exp_message::GET_STATS_CPU,
        };
        while self.page.send(out) {
            let Some(cpu) = percpu::next(self.last) else {
                return;
            };
            self.last = Some(cpu);
            let mut header = out.sender().header(message::SUBSYSTEM, number, 0);
            // CAST: as stock has it.
            header.resource = cpu.number() as u16;
            self.page.write(&header, |out| match self.of {
                Of::Connections => control::of_cpu(net, cpu).write(out),
                Of::Expectations => control::of_cpu_expected(net, cpu).write(out),
            });
        }
    }
}
