//! Identities and counters as newtypes, so that no two of them can be exchanged by mistake.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}", self.0) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, concat!(stringify!($name), "({})"), self.0) }
        }
    };
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// In text formats it is 32 hexadecimal digits: few readers of JSON know numbers of 128 bits.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() {
                    s.collect_str(&format_args!("{:032x}", self.0))
                } else {
                    s.serialize_u128(self.0)
                }
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if !d.is_human_readable() {
                    return u128::deserialize(d).map(Self);
                }
                let text = String::deserialize(d)?;
                u128::from_str_radix(&text, 16).map(Self).map_err(|e| {
                    D::Error::custom(format!("found \"{text}\", expected up to 32 hexadecimal digits: {e}"))
                })
            }
        }
        impl fmt::Display for $name {
            /// The first eight hexadecimal digits: enough to tell two apart in a log.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{:08x}", (self.0 >> 96) as u32) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, concat!(stringify!($name), "({:032x})"), self.0) }
        }
    };
}

counter! {
    /// A node of the pair, by its place in the configuration (0 or 1). The lower one breaks ties.
    NodeId(u8)
}
counter! {
    /// A heartbeat path, by its place in the configuration.
    LinkId(u8)
}
counter! {
    /// A group of resources that live together, by its place in the configuration.
    GroupId(u16)
}
counter! {
    /// A log sequence number of a mirror: the number of transactions up to and including this one.
    Lsn(u64)
}
counter! {
    /// An operation that the engine asked for; its completion carries the same number.
    OpId(u64)
}
counter! {
    /// A write of the node's durable record; its completion carries the same number.
    WriteId(u64)
}
counter! {
    /// A number that ties an answer to its question.
    Nonce(u32)
}
counter! {
    /// The number of a grant. Every grant has its own; none is ever used twice.
    ///
    /// ```
    /// use ha_core::Epoch;
    /// assert!(Epoch(3).next() > Epoch(3));
    /// ```
    Epoch(u64)
}
counter! {
    /// The number of a mirror's in-sync set, +1 at each admission and each exclusion.
    Generation(u64)
}

impl Epoch {
    /// What an admitted amnesiac costs: no epoch that its lost store may hold is ever issued again.
    pub const AMNESIA_JUMP: u64 = 1 << 32;

    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Generation {
    /// The generation after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

random_id! {
    /// One life of the engine. Random at each start; a peer accepts it only after it proved to be fresh.
    Incarnation
}
random_id! {
    /// One boot of the kernel (`/proc/sys/kernel/random/boot_id`).
    BootId
}
random_id! {
    /// One life of a node's state store. The peer remembers it; an unknown one means *amnesiac*.
    StoreId
}
random_id! {
    /// The explicit, common initialisation of both stores; only its bearers can have *never started*.
    InitId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_are_text_in_json_and_come_back() {
        let id = Incarnation(0xab << 120);
        let json = serde_json::to_value(id).unwrap();
        assert_eq!(json, format!("ab{}", "0".repeat(30)));
        assert_eq!(serde_json::from_value::<Incarnation>(json).unwrap(), id);
        assert!(serde_json::from_str::<StoreId>("\"none\"").unwrap_err().to_string().contains("hexadecimal"));
        let bytes = postcard::to_stdvec(&id).unwrap();
        assert_eq!(postcard::from_bytes::<Incarnation>(&bytes).unwrap(), id);
    }
}
