// SPDX-License-Identifier: GPL-2.0
//! The match `state`.

use conntrack::{
    ctinfo::CtInfo,
    rule::{state::State, Seen},
};

use crate::Sent;

/// Every place that a packet can have, with its bits in the matches `state` and `conntrack`.
pub const PLACES: [(Seen<CtInfo>, u32, u16); 7] = [
    (Seen::Invalid, 1, 1),
    (Seen::Flow(CtInfo::Established), 2, 2),
    (Seen::Flow(CtInfo::EstablishedReply), 2, 2),
    (Seen::Flow(CtInfo::Related), 4, 4),
    (Seen::Flow(CtInfo::RelatedReply), 4, 4),
    (Seen::Flow(CtInfo::New), 8, 8),
    (Seen::Untracked, 64, 256),
];

#[test]
fn each_state_has_its_bit() {
    for (seen, state, _) in PLACES {
        for bit in 0..32 {
            let sent = Sent::new(&(1_u32 << bit).to_ne_bytes());
            let matches = sent.rule::<State>().matches(seen);
            assert_eq!(matches, 1 << bit == state, "{seen:?} {bit}");
        }
        let all = Sent::new(&[255; 4]);
        assert!(all.rule::<State>().matches(seen));
        let none = Sent::new(&[0; 4]);
        assert!(!none.rule::<State>().matches(seen));
    }
}
