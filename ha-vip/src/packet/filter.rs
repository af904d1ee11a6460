//! What the kernel passes up (classic BPF): a busy interface must not wake us for its traffic.

use socket2::SockFilter;

const LOAD_WORD: u16 = 0x20;
const LOAD_BYTE: u16 = 0x30;
const LOAD_BYTE_BEHIND: u16 = 0x50;
const LOAD_HEADER_LENGTH: u16 = 0xb1;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_SET: u16 = 0x45;
const RETURN: u16 = 0x06;
/// Where the kernel keeps the kind of a frame (SKF_AD_OFF + SKF_AD_PKTTYPE), and the kind "for somebody else".
const FRAME_KIND: u32 = 0xffff_f004;
const FOR_SOMEBODY_ELSE: u32 = 3;
/// Bytes passed up of a wanted frame; the rest is cut off.
pub(super) const FRAME_LIMIT_BYTES: usize = 512;

/// A kind of frames to be heard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Wanted {
    /// ARP.
    Arp,
    /// IPv6 neighbour solicitations and advertisements with hop limit 255, and echo replies.
    NeighbourDiscovery,
    /// ICMP echo replies.
    EchoReply,
}

impl Wanted {
    /// The EtherType that the socket is bound to.
    pub(super) const fn protocol(self) -> u16 {
        match self {
            Self::Arp => 0x0806,
            Self::NeighbourDiscovery => 0x86dd,
            Self::EchoReply => 0x0800,
        }
    }

    /// What of it is passed up.
    pub(super) fn filter(self) -> Vec<SockFilter> {
        let mut program = not_of_another_vlan();
        program.extend(self.wanted());
        program
    }

    /// Offsets count from the Ethernet header, jumps from the next line.
    fn wanted(self) -> Vec<SockFilter> {
        let step = |code, yes, no, k| SockFilter::new(code, yes, no, k);
        let (accept, drop) = (step(RETURN, 0, 0, FRAME_LIMIT_BYTES as u32), step(RETURN, 0, 0, 0));
        match self {
            Self::Arp => vec![accept],
            Self::NeighbourDiscovery => vec![
                step(LOAD_BYTE, 0, 0, 20),      // 0: next header
                step(JUMP_IF_EQUAL, 0, 7, 58),  // 1: not ICMPv6: 9
                step(LOAD_BYTE, 0, 0, 54),      // 2: type
                step(JUMP_IF_EQUAL, 4, 0, 129), // 3: echo reply: 8
                step(JUMP_IF_EQUAL, 1, 0, 135), // 4: solicitation: 6
                step(JUMP_IF_EQUAL, 0, 3, 136), // 5: no advertisement: 9
                step(LOAD_BYTE, 0, 0, 21),      // 6: hop limit
                step(JUMP_IF_EQUAL, 0, 1, 255), // 7: not of this link: 9
                accept,                         // 8
                drop,                           // 9
            ],
            Self::EchoReply => vec![
                step(LOAD_BYTE, 0, 0, 23),          // 0: protocol
                step(JUMP_IF_EQUAL, 0, 4, 1),       // 1: not ICMP: 6
                step(LOAD_HEADER_LENGTH, 0, 0, 14), // 2
                step(LOAD_BYTE_BEHIND, 0, 0, 14),   // 3: type
                step(JUMP_IF_EQUAL, 0, 1, 0),       // 4: no echo reply: 6
                accept,                             // 5
                drop,                               // 6
            ],
        }
    }
}

/// Lets through what may be of this interface. A frame of a VLAN that has no interface here arrives at the one below,
/// without its tag, as "for somebody else"; if it is for all, it can be nothing but that.
fn not_of_another_vlan() -> Vec<SockFilter> {
    vec![
        SockFilter::new(LOAD_WORD, 0, 0, FRAME_KIND),            // 0
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, FOR_SOMEBODY_ELSE), // 1: for us or for all: 5
        SockFilter::new(LOAD_BYTE, 0, 0, 0),                     // 2: first byte of the destination
        SockFilter::new(JUMP_IF_SET, 0, 1, 1),                   // 3: for one station: 5
        SockFilter::new(RETURN, 0, 0, 0),                        // 4
    ]
}
