//! What a speaker refuses before it touches the machine.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use ha_vip::vrrp::{VrrpBuilder, VrrpError, VrrpSpeaker};
use std::net::IpAddr;
use std::time::Duration;

fn at(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn builder(vrid: u8) -> VrrpBuilder {
    VrrpSpeaker::builder(vrid, "lan0").addresses([at("10.77.0.100")])
}

#[test]
fn a_speaker_that_cannot_be_is_refused_by_name() {
    let refused = |builder: VrrpBuilder| builder.spawn().unwrap_err();
    assert!(matches!(refused(builder(0)), VrrpError::Vrid));
    assert!(matches!(refused(builder(7).priority(0)), VrrpError::Priority));
    for millis in [0, 5, 15, 40_960] {
        let found = Duration::from_millis(millis);
        let error = refused(builder(7).interval(found));
        assert!(matches!(error, VrrpError::Interval { found: named } if named == found), "{error}");
    }
    let none = refused(VrrpSpeaker::builder(7, "lan0"));
    assert!(matches!(none, VrrpError::Addresses { count: 0 }), "{none}");
    let both = refused(builder(7).addresses([at("fe80::1")]));
    assert!(matches!(both, VrrpError::Addresses { count: 2 }), "{both}");
    let many = refused(builder(7).addresses(vec![at("10.0.0.1"); 255]));
    assert!(matches!(many, VrrpError::Addresses { count: 256 }), "{many}");
    assert!(matches!(refused(builder(7).unicast([])), VrrpError::NoPeers));
    for mixed in [builder(7).unicast([at("fe80::2")]), builder(7).source(at("fe80::2"))] {
        assert!(matches!(refused(mixed), VrrpError::Family { found } if found == at("fe80::2")));
    }
}
