// SPDX-License-Identifier: GPL-2.0
//! Timeout policies as netlink messages (linux/netfilter/nfnetlink_cttimeout.h): timeouts of one
//! transport protocol under a name, which rules give to connections; and the timeouts of those that
//! have none.

use super::{
    attr::{Attribute, Form, Manner, Policy as Attributes, Rule, Table},
    write::{Writer, Written},
    Error,
};
use crate::{
    proto::{sctp, tcp},
    setting::Setting,
    time::Ticks,
    timeouts::Timeouts,
    tuple::protocol,
};

/// The messages (`enum ctnl_timeout_msg_types`).
pub mod message {
    /// Their subsystem (NFNL_SUBSYS_CTNETLINK_TIMEOUT).
    pub const SUBSYSTEM: u8 = 8;
    /// Makes or changes a policy; the answer to GET.
    pub const NEW: u8 = 0;
    /// Asks for one, or for all.
    pub const GET: u8 = 1;
    /// Ends one, or all.
    pub const DELETE: u8 = 2;
    /// Changes what connections without a policy have; the answer to DEFAULT_GET.
    pub const DEFAULT_SET: u8 = 3;
    /// Asks for that.
    pub const DEFAULT_GET: u8 = 4;
    /// How many there are.
    pub const COUNT: usize = 5;
}

/// The attributes (`enum ctattr_timeout`).
mod kind {
    pub(super) const NAME: u16 = 1;
    pub(super) const L3PROTO: u16 = 2;
    pub(super) const L4PROTO: u16 = 3;
    pub(super) const DATA: u16 = 4;
    pub(super) const USE: u16 = 5;
    pub(super) const ROOM: usize = 6;
}

/// The longest name, in bytes (CTNL_TIMEOUT_NAME_MAX with its end).
pub const NAME: u16 = 31;

/// What requests about policies must be like.
pub const POLICY: Attributes<{ kind::ROOM }> = Attributes(&[
    Rule::new(kind::NAME, Form::Text(NAME)),
    Rule::new(kind::L3PROTO, Form::U16),
    Rule::new(kind::L4PROTO, Form::U8),
    Rule::new(kind::DATA, Form::Nested),
]);

/// The most timeouts of a protocol; the attributes are numbered from 1 on.
const MOST: usize = 11;

/// Each is a number of seconds.
const SECONDS: &[Rule] = &[
    Rule::new(1, Form::U32),
    Rule::new(2, Form::U32),
    Rule::new(3, Form::U32),
    Rule::new(4, Form::U32),
    Rule::new(5, Form::U32),
    Rule::new(6, Form::U32),
    Rule::new(7, Form::U32),
    Rule::new(8, Form::U32),
    Rule::new(9, Form::U32),
    Rule::new(10, Form::U32),
    Rule::new(11, Form::U32),
];

/// A transport protocol that has timeouts of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP.
    Icmp,
    /// ICMPv6.
    Icmpv6,
    /// SCTP.
    Sctp,
    /// GRE.
    Gre,
    /// All others.
    Generic,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Tcp,
        Self::Udp,
        Self::Icmp,
        Self::Icmpv6,
        Self::Sctp,
        Self::Gre,
        Self::Generic,
    ];

    /// Whose timeouts packets of a protocol have.
    #[must_use]
    pub fn of(number: u8) -> Self {
        Self::from_number(number).unwrap_or(Self::Generic)
    }

    /// The protocol of a number; 255 is that of all others. `None` for one that has none of its
    /// own.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.number() == number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
            Self::Icmp => protocol::ICMP,
            Self::Icmpv6 => protocol::ICMPV6,
            Self::Sctp => protocol::SCTP,
            Self::Gre => protocol::GRE,
            Self::Generic => 255,
        }
    }

    /// Its timeouts in the order of their attributes (`enum ctattr_timeout_tcp` and its like).
    fn timeouts(self, of: &Timeouts) -> impl Iterator<Item = (u16, &Setting<Ticks>)> {
        use {sctp::State as Sctp, tcp::State as Tcp};
        let two = |first, second| {
            [
                Some(first),
                second,
                None,
                None,
                None,
                None,
                None,
                None,
                None,
                None,
                None,
            ]
        };
        let tcp = |state| Some(of.tcp.setting(state));
        let sctp = |state| Some(of.sctp.setting(state));
        let all: [_; MOST] = match self {
            Self::Tcp => [
                tcp(Tcp::SynSent),
                tcp(Tcp::SynRecv),
                tcp(Tcp::Established),
                tcp(Tcp::FinWait),
                tcp(Tcp::CloseWait),
                tcp(Tcp::LastAck),
                tcp(Tcp::TimeWait),
                tcp(Tcp::Close),
                tcp(Tcp::SynSent2),
                Some(&of.tcp_retrans),
                Some(&of.tcp_unacknowledged),
            ],
            Self::Sctp => [
                sctp(Sctp::Closed),
                sctp(Sctp::CookieWait),
                sctp(Sctp::CookieEchoed),
                sctp(Sctp::Established),
                sctp(Sctp::ShutdownSent),
                sctp(Sctp::ShutdownReceived),
                sctp(Sctp::ShutdownAckSent),
                sctp(Sctp::HeartbeatSent),
                Some(&of.sctp_heartbeat_acked),
                None,
                None,
            ],
            Self::Udp => two(&of.udp, Some(&of.udp_stream)),
            Self::Gre => two(&of.gre, Some(&of.gre_stream)),
            Self::Icmp => two(&of.icmp, None),
            Self::Icmpv6 => two(&of.icmpv6, None),
            Self::Generic => two(&of.generic, None),
        };
        (1..)
            .zip(all)
            .map_while(|(kind, setting)| Some((kind, setting?)))
    }

    /// Changes the timeouts that `data` names, in a clock of `hz` ticks a second. Those that it
    /// does not name become what they are in `others`, if that is given. What is more than
    /// [`Ticks::MAX`] becomes that.
    ///
    /// # Errors
    ///
    /// [`Error::Range`] where one is no number; then none is changed.
    pub fn set(
        self,
        timeouts: &Timeouts,
        data: &Attribute<'_>,
        others: Option<&Timeouts>,
        hz: u32,
    ) -> Result<(), Error> {
        // Attributes that this protocol does not have are not looked at.
        match self {
            Self::Tcp => self.set_of::<{ MOST + 1 }>(timeouts, data, others, hz)?,
            Self::Sctp => self.set_of::<10>(timeouts, data, others, hz)?,
            Self::Udp | Self::Gre => self.set_of::<3>(timeouts, data, others, hz)?,
            Self::Icmp | Self::Icmpv6 | Self::Generic => {
                self.set_of::<2>(timeouts, data, others, hz)?;
            }
        }
        // Who has no state yet is as good as in the first.
        match self {
            Self::Tcp => {
                let first = timeouts.tcp.of(tcp::State::SynSent);
                timeouts.tcp.setting(tcp::State::None).set(first);
            }
            Self::Sctp => {
                let first = timeouts.sctp.of(sctp::State::Closed);
                timeouts.sctp.setting(sctp::State::None).set(first);
            }
            _ => {}
        }
        Ok(())
    }

    fn set_of<const N: usize>(
        self,
        timeouts: &Timeouts,
        data: &Attribute<'_>,
        others: Option<&Timeouts>,
        hz: u32,
    ) -> Result<(), Error> {
        let table = Attributes::<N>(SECONDS).read_nested(data, Manner::Liberal)?;
        if let Some(others) = others {
            for ((_, setting), (_, other)) in self.timeouts(timeouts).zip(self.timeouts(others)) {
                setting.set(other.get());
            }
        }
        for (kind, setting) in self.timeouts(timeouts) {
            if let Some(seconds) = table.get(kind) {
                setting.set(Ticks::from_secs(seconds.be32()?, hz));
            }
        }
        Ok(())
    }

    /// How long a connection lives after its first packet.
    #[must_use]
    pub fn first(self, of: &Timeouts) -> Ticks {
        let first = self.timeouts(of).next();
        first.map_or_else(Ticks::default, |(_, setting)| setting.get())
    }

    /// Writes its timeouts as an attribute of the number `kind`.
    ///
    /// # Errors
    ///
    /// [`super::write::NoRoom`].
    pub fn write(self, kind: u16, out: &mut Writer<'_>, timeouts: &Timeouts, hz: u32) -> Written {
        out.nest(kind, |out| {
            self.timeouts(timeouts)
                .try_for_each(|(kind, setting)| out.be32(kind, setting.get().as_secs(hz)))
        })
    }
}

/// What a policy is for: connections of a network protocol and a transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The network protocol's number, as users have given it.
    pub family: u16,
    /// The transport protocol.
    pub protocol: Protocol,
}

/// A request about policies.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a>(Table<'a, { kind::ROOM }>);

impl<'a> Request<'a> {
    /// Reads the attributes of a message.
    ///
    /// # Errors
    ///
    /// The first attribute that is not as it must be.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        POLICY.read(bytes, Manner::Liberal).map(Self)
    }

    /// The name of the policy.
    #[must_use]
    pub fn name(&self) -> Option<&'a [u8]> {
        self.0.get(kind::NAME).map(|name| name.text())
    }

    /// The network protocol's number.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where it is missing.
    pub fn family(&self) -> Result<u16, Error> {
        self.0.need(kind::L3PROTO)?.be16()
    }

    /// The transport protocol's number.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where it is missing.
    pub fn protocol(&self) -> Result<u8, Error> {
        self.0.need(kind::L4PROTO)?.u8()
    }

    /// The timeouts.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] where they are missing.
    pub fn data(&self) -> Result<Attribute<'a>, Error> {
        self.0.need(kind::DATA)
    }
}

/// What is told of a policy, or of what connections without one have.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Its name and how many use it; `None` of the latter.
    pub named: Option<(&'a [u8], u32)>,
    /// What it is for.
    pub scope: Scope,
    /// The timeouts.
    pub timeouts: &'a Timeouts,
}

impl Shown<'_> {
    /// Writes it.
    ///
    /// # Errors
    ///
    /// [`super::write::NoRoom`].
    pub fn write(&self, out: &mut Writer<'_>, hz: u32) -> Written {
        if let Some((name, _)) = self.named {
            out.text(kind::NAME, name)?;
        }
        out.be16(kind::L3PROTO, self.scope.family)?;
        out.u8(kind::L4PROTO, self.scope.protocol.number())?;
        if let Some((_, uses)) = self.named {
            out.be32(kind::USE, uses)?;
        }
        self.scope
            .protocol
            .write(kind::DATA, out, self.timeouts, hz)
    }
}
