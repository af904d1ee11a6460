//! A reply, stamped with who gave it.

use super::permit::Checked;
use super::store::Delivery;
use ha_core::{Epoch, Incarnation};
use std::fmt::Write as _;

/// Who answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The node's name.
    pub node: String,
    /// Its life.
    pub incarnation: Incarnation,
}

/// One reply of one or more lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The code, 200 to 599.
    pub code: u16,
    /// The lines, with enhanced codes; at least one, printable ASCII.
    pub lines: Vec<String>,
    /// Whether the connection is closed after it.
    pub closes: bool,
    /// The permission it was given under, if it is an act that needs one.
    pub act: Option<Checked>,
}

impl Reply {
    /// A reply of one line.
    pub(super) fn new(code: u16, text: impl AsRef<str>) -> Self {
        Self { code, lines: vec![printable(text.as_ref())], closes: false, act: None }
    }

    pub(super) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    pub(super) const fn under(mut self, act: Checked) -> Self {
        self.act = Some(act);
        self
    }

    /// The answer to the final dot.
    pub(super) fn to_delivery(delivery: Delivery) -> Self {
        match delivery {
            Delivery::Stored(checked) => Self::new(250, "2.0.0 stored").under(checked),
            Delivery::Unavailable(why) => Self::new(451, format!("4.3.0 not stored: {why}")),
            Delivery::NoSpace => Self::new(452, "4.3.1 not stored: no space left"),
            Delivery::Unknown(why) => Self::new(451, format!("4.4.0 stored or not, unknown: {why}")),
        }
    }

    /// Appends it as it goes over the wire. `epoch` is the node's newest grant, for replies that are no acts.
    pub(super) fn write(&self, who: &Identity, epoch: Epoch, out: &mut Vec<u8>) {
        let mut stamp = format!(
            " [node={} inc={} epoch={}",
            printable(&who.node),
            who.incarnation,
            self.act.map_or(epoch, |a| a.epoch)
        );
        if let Some(act) = self.act {
            let _ = write!(stamp, " at={}", act.at.as_nanos());
        }
        stamp.push(']');
        let last = self.lines.len().saturating_sub(1);
        for (i, line) in self.lines.iter().enumerate() {
            let (between, stamp) =
                (if i == last { ' ' } else { '-' }, if i == 0 { stamp.as_str() } else { "" });
            let end = format!("{}{between}{line}{stamp}\r\n", self.code);
            out.extend_from_slice(end.as_bytes());
        }
    }
}

/// One line that cannot be mistaken for two, and fits into a reply line of 512 bytes with its stamp.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ha_core::Instant;

    fn wire(reply: &Reply) -> String {
        let who = Identity { node: "n1".into(), incarnation: Incarnation(0x1a2b_3c4d << 96) };
        let mut out = Vec::new();
        reply.write(&who, Epoch(7), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_reply_names_node_life_and_epoch() {
        assert_eq!(wire(&Reply::new(250, "2.0.0 ok")), "250 2.0.0 ok [node=n1 inc=1a2b3c4d epoch=7]\r\n");
    }

    #[test]
    fn an_act_carries_the_instant_and_epoch_of_its_own_check() {
        let checked = Checked { epoch: Epoch(6), at: Instant::from_nanos(123) };
        let stored = Reply::to_delivery(Delivery::Stored(checked));
        assert_eq!(wire(&stored), "250 2.0.0 stored [node=n1 inc=1a2b3c4d epoch=6 at=123]\r\n");
    }

    #[test]
    fn many_lines_carry_one_stamp_and_no_foreign_line_ends() {
        let mut reply = Reply::new(250, "mail\r\n250 forged");
        reply.lines.push("PIPELINING".into());
        assert_eq!(wire(&reply), "250-mail??250 forged [node=n1 inc=1a2b3c4d epoch=7]\r\n250 PIPELINING\r\n");
    }
}
