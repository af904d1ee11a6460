//! The few nftables expressions that the gate's rules are made of (`linux/netfilter/nf_tables.h`).

use crate::kernel::message::Request;

const LIST_ELEM: u16 = 1;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const NF_DROP: u32 = 0;
const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;

/// Where a payload offset counts from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Base {
    Network = 1,
    Transport = 2,
}

/// What a packet is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key {
    /// `NFT_META_NFPROTO`.
    Family = 15,
    /// `NFT_META_L4PROTO`.
    Protocol = 16,
}

fn be(value: u32) -> [u8; 4] {
    value.to_be_bytes()
}

/// Adds an expression of this name to a rule's list.
fn expression(list: Request, name: &str, fill: impl FnOnce(Request) -> Request) -> Request {
    list.nested(LIST_ELEM, |element| element.text(EXPR_NAME, name).nested(EXPR_DATA, fill))
}

/// Loads bytes of the packet.
pub(super) fn payload(list: Request, base: Base, offset: u32, length: u32) -> Request {
    expression(list, "payload", |e| {
        e.attribute(1, &be(REGISTER))
            .attribute(2, &be(base as u32))
            .attribute(3, &be(offset))
            .attribute(4, &be(length))
    })
}

/// Goes on only if the packet has this property.
pub(super) fn meta_is(list: Request, key: Key, value: u8) -> Request {
    let list = expression(list, "meta", |e| e.attribute(1, &be(REGISTER)).attribute(2, &be(key as u32)));
    equals(list, &[value])
}

/// Goes on only if the loaded bytes are these.
pub(super) fn equals(list: Request, value: &[u8]) -> Request {
    const EQ: u32 = 0;
    expression(list, "cmp", |e| {
        e.attribute(1, &be(REGISTER))
            .attribute(2, &be(EQ))
            .nested(3, |data| data.attribute(DATA_VALUE, value))
    })
}

/// Goes on only if the loaded bytes are in the set, or are not.
pub(super) fn is_in(list: Request, set: &str, wanted: bool) -> Request {
    const INVERTED: u32 = 1;
    expression(list, "lookup", |e| {
        let e = e.text(1, set).attribute(2, &be(REGISTER));
        if wanted { e } else { e.attribute(5, &be(INVERTED)) }
    })
}

/// Drops the packet.
pub(super) fn drop_it(list: Request) -> Request {
    expression(list, "immediate", |e| {
        e.attribute(1, &be(VERDICT_REGISTER)).nested(2, |data| {
            data.nested(DATA_VERDICT, |verdict| verdict.attribute(VERDICT_CODE, &be(NF_DROP)))
        })
    })
}
