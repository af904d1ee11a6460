//! The mutual proof at the start of a session, bound to mirror, nodes, lives and fresh nonces.

use super::frame::Seal;
use crate::record::MirrorId;
use ha_core::wire::PairKey;
use ha_core::{Incarnation, NodeId};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

const MAGIC: [u8; 4] = *b"HAMS";
const VERSION: u16 = 1;
/// The longest frame before the keys.
const MAX_LEN: usize = 512;
const HELLO: u8 = 1;
const AUTH: u8 = 2;
const REFUSE: u8 = 3;
const HELLO_BYTES: usize = 73;
/// Without a pair key everybody on this machine may speak: only loopback is allowed then.
const NO_KEY: [u8; 32] = *b"ha-mirror without a key:loopback";

/// Who shakes hands.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub mirror: MirrorId,
    pub me: NodeId,
    pub incarnation: Incarnation,
    pub key: Option<PairKey>,
}

/// The other side, proven.
#[derive(Debug)]
pub(crate) struct Authenticated {
    pub incarnation: Incarnation,
    pub outward: Seal,
    pub inward: Seal,
}

/// Why a session did not begin. Both sides name it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Not this protocol, or no common version.
    #[error("the peer speaks another version of the mirror's stream: found {found}, expected 1")]
    Version {
        /// What it offered.
        found: String,
    },
    /// Another mirror.
    #[error(
        "the peer serves another mirror: found {found:?}, expected {expected:?}; give both nodes the same name"
    )]
    Mirror {
        /// The peer's.
        found: MirrorId,
        /// Ours.
        expected: MirrorId,
    },
    /// Both say that they are the same node.
    #[error("the peer calls itself node {found}, expected node {expected}; number the nodes 0 and 1")]
    SameNode {
        /// The peer's number.
        found: NodeId,
        /// The number it should have.
        expected: NodeId,
    },
    /// The keys differ.
    #[error("the peer has another key; give both nodes the same key file")]
    Key,
    /// The peer refused and said why.
    #[error("the peer refused: {0}")]
    Refused(Refused),
    /// The connection failed.
    #[error("the connection ended during the handshake: {0}")]
    Io(String),
    /// Nothing that belongs into a handshake.
    #[error("found {found}, expected {expected}")]
    Unexpected {
        /// What came.
        found: String,
        /// What should have come.
        expected: &'static str,
    },
}

/// A reason as the peer names it. A hint: it is not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// No common version.
    #[error("no common version")]
    Version,
    /// Another mirror.
    #[error("it serves another mirror")]
    Mirror,
    /// Both are the same node.
    #[error("it has the same node number")]
    SameNode,
    /// The keys differ.
    #[error("it has another key")]
    Key,
}

impl From<io::Error> for HandshakeError {
    fn from(e: io::Error) -> Self {
        Self::Io(e.to_string())
    }
}

struct Hello {
    bytes: Vec<u8>,
    incarnation: Incarnation,
}

impl Identity {
    /// Begins a session as the one who dialed.
    pub(crate) async fn dial<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
    ) -> Result<Authenticated, HandshakeError> {
        let mine = self.hello()?;
        write(stream, HELLO, &mine).await?;
        let theirs = self.hear(stream).await?;
        let keys = self.keys(&mine, &theirs.bytes);
        write(stream, AUTH, &keys.proof("dialer")).await?;
        let proof = read(stream, AUTH, "the listener's proof").await?;
        if !keys.proves("listener", &proof) {
            return Err(HandshakeError::Key);
        }
        Ok(keys.authenticated(&theirs, "dialer", "listener"))
    }

    /// Begins a session as the one who listens. Signs nothing before the dialer has proven itself.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
    ) -> Result<Authenticated, HandshakeError> {
        let theirs = self.hear(stream).await?;
        let mine = self.hello()?;
        write(stream, HELLO, &mine).await?;
        let keys = self.keys(&theirs.bytes, &mine);
        let proof = read(stream, AUTH, "the dialer's proof").await?;
        if !keys.proves("dialer", &proof) {
            refuse(stream, Refused::Key).await;
            return Err(HandshakeError::Key);
        }
        write(stream, AUTH, &keys.proof("listener")).await?;
        Ok(keys.authenticated(&theirs, "listener", "dialer"))
    }

    fn hello(&self) -> Result<Vec<u8>, HandshakeError> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|e| HandshakeError::Io(e.to_string()))?;
        let mut out = Vec::with_capacity(HELLO_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.mirror.0.to_le_bytes());
        out.push(self.me.0);
        out.extend_from_slice(&self.incarnation.0.to_le_bytes());
        out.extend_from_slice(&nonce);
        Ok(out)
    }

    /// Reads and checks the other side's hello; tells it if it does not fit.
    async fn hear<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) -> Result<Hello, HandshakeError> {
        let bytes = read(stream, HELLO, "a hello").await?;
        let checked = self.check(bytes);
        if let Err(e) = &checked {
            let why = match e {
                HandshakeError::Mirror { .. } => Refused::Mirror,
                HandshakeError::SameNode { .. } => Refused::SameNode,
                _ => Refused::Version,
            };
            refuse(stream, why).await;
        }
        checked
    }

    fn check(&self, bytes: Vec<u8>) -> Result<Hello, HandshakeError> {
        let word = |at: usize| bytes.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
        let number =
            |at: usize| bytes.get(at..at + 16).and_then(|b| b.try_into().ok()).map_or(0, u128::from_le_bytes);
        if bytes.get(..4) != Some(&MAGIC[..]) {
            return Err(HandshakeError::Version { found: "something else".into() });
        }
        let (low, high) = (word(4), word(6));
        if !(low..=high).contains(&VERSION) || bytes.len() != HELLO_BYTES {
            return Err(HandshakeError::Version { found: format!("{low} to {high}") });
        }
        let found = MirrorId(number(8));
        if found != self.mirror {
            return Err(HandshakeError::Mirror { found, expected: self.mirror });
        }
        let node = NodeId(bytes.get(24).copied().unwrap_or(u8::MAX));
        let expected = NodeId(1 - self.me.0.min(1));
        if node != expected {
            return Err(HandshakeError::SameNode { found: node, expected });
        }
        let incarnation = Incarnation(number(25));
        Ok(Hello { bytes, incarnation })
    }

    fn keys(&self, dialer: &[u8], listener: &[u8]) -> Keys {
        let session = match &self.key {
            Some(key) => key.derive("ha-mirror session 1", &[dialer, listener]),
            None => derive(&NO_KEY, "ha-mirror session 1", &[dialer, listener]),
        };
        Keys(session)
    }
}

/// The session's secret.
struct Keys(Zeroizing<[u8; 32]>);

impl Keys {
    fn proof(&self, who: &str) -> Vec<u8> {
        derive(&self.0, "auth", &[who.as_bytes()]).to_vec()
    }

    fn proves(&self, who: &str, proof: &[u8]) -> bool {
        // `verify_slice` compares in constant time.
        let secret = derive(&self.0, "auth", &[]);
        mac(&secret, &self.proof(who)).verify_slice(&mac(&secret, proof).finalize().into_bytes()).is_ok()
    }

    fn authenticated(&self, peer: &Hello, me: &str, other: &str) -> Authenticated {
        let seal = |who: &str| Seal::new(&derive(&self.0, "frames", &[who.as_bytes()]));
        Authenticated { incarnation: peer.incarnation, outward: seal(me), inward: seal(other) }
    }
}

#[expect(clippy::expect_used, reason = "HMAC is defined for keys of every length")]
fn mac(key: &[u8; 32], message: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("a key of any length").chain_update(message)
}

fn derive(key: &[u8; 32], label: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut state = mac(key, &[]);
    for part in std::iter::once(&label.as_bytes()).chain(parts) {
        state.update(&(part.len() as u64).to_be_bytes());
        state.update(part);
    }
    Zeroizing::new(state.finalize().into_bytes().into())
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, kind: u8, body: &[u8]) -> io::Result<()> {
    let len = u32::try_from(body.len() + 1).unwrap_or(u32::MAX);
    let mut frame = len.to_le_bytes().to_vec();
    frame.push(kind);
    frame.extend_from_slice(body);
    stream.write_all(&frame).await
}

async fn refuse<S: AsyncWrite + Unpin>(stream: &mut S, why: Refused) {
    // The session ends either way; the peer then only misses the reason.
    let _ = write(stream, REFUSE, &[why as u8]).await;
    let _ = stream.shutdown().await;
}

async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    wanted: u8,
    expected: &'static str,
) -> Result<Vec<u8>, HandshakeError> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).await?;
    let len = u32::from_le_bytes(len) as usize;
    if len == 0 || len > MAX_LEN {
        return Err(HandshakeError::Unexpected { found: format!("a frame of {len} bytes"), expected });
    }
    let mut frame = vec![0; len];
    stream.read_exact(&mut frame).await?;
    let body = frame.split_off(1);
    match frame[0] {
        kind if kind == wanted => Ok(body),
        REFUSE => Err(match body.first() {
            Some(0) => HandshakeError::Refused(Refused::Version),
            Some(1) => HandshakeError::Refused(Refused::Mirror),
            Some(2) => HandshakeError::Refused(Refused::SameNode),
            _ => HandshakeError::Refused(Refused::Key),
        }),
        kind => Err(HandshakeError::Unexpected { found: format!("a frame of type {kind}"), expected }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(me: u8, key: u8) -> Identity {
        Identity {
            mirror: MirrorId::from_name("mail"),
            me: NodeId(me),
            incarnation: Incarnation(u128::from(me) + 10),
            key: Some(PairKey::from_bytes(&[key; 32]).unwrap()),
        }
    }

    async fn shake(dialer: &Identity, listener: &Identity) -> [Result<Authenticated, HandshakeError>; 2] {
        let (mut a, mut b) = tokio::io::duplex(4096);
        let (a, b) = tokio::join!(dialer.dial(&mut a), listener.accept(&mut b));
        [a, b]
    }

    #[tokio::test]
    async fn both_prove_themselves_and_get_matching_keys() {
        let [Ok(mut dialer), Ok(mut listener)] = shake(&identity(1, 7), &identity(0, 7)).await else {
            panic!("expected two sessions");
        };
        assert_eq!((dialer.incarnation, listener.incarnation), (Incarnation(10), Incarnation(11)));
        let mut frame = Vec::new();
        dialer.outward.push(&mut frame, 21, &[b"hello"]);
        assert!(dialer.inward.open(&frame).is_err(), "a reflected frame");
        assert!(listener.inward.open(&frame).unwrap().is_some());
    }

    #[tokio::test]
    async fn wrong_key_is_named_on_both_sides() {
        let [dialer, listener] = shake(&identity(1, 7), &identity(0, 8)).await;
        assert_eq!(dialer.unwrap_err(), HandshakeError::Refused(Refused::Key));
        assert_eq!(listener.unwrap_err(), HandshakeError::Key);
    }

    #[tokio::test]
    async fn wrong_mirror_is_named_on_both_sides() {
        let other = Identity { mirror: MirrorId::from_name("lists"), ..identity(1, 7) };
        let [dialer, listener] = shake(&other, &identity(0, 7)).await;
        assert_eq!(dialer.unwrap_err(), HandshakeError::Refused(Refused::Mirror));
        assert!(matches!(listener.unwrap_err(), HandshakeError::Mirror { .. }));
    }

    #[tokio::test]
    async fn same_node_is_named_on_both_sides() {
        let [dialer, listener] = shake(&identity(0, 7), &identity(0, 7)).await;
        assert_eq!(dialer.unwrap_err(), HandshakeError::Refused(Refused::SameNode));
        let expected = HandshakeError::SameNode { found: NodeId(0), expected: NodeId(1) };
        assert_eq!(listener.unwrap_err(), expected);
    }

    #[tokio::test]
    async fn wrong_version_is_named_on_both_sides() {
        let mut hello = identity(1, 7).hello().unwrap();
        hello[4..8].copy_from_slice(&[2, 0, 9, 0]);
        let (mut a, mut b) = tokio::io::duplex(4096);
        let listener = identity(0, 7);
        let dial = async {
            write(&mut a, HELLO, &hello).await.unwrap();
            read(&mut a, HELLO, "a hello").await
        };
        let (dialer, listener) = tokio::join!(dial, listener.accept(&mut b));
        assert_eq!(dialer.unwrap_err(), HandshakeError::Refused(Refused::Version));
        assert_eq!(listener.unwrap_err(), HandshakeError::Version { found: "2 to 9".into() });
    }

    #[tokio::test]
    async fn a_recorded_proof_is_refused() {
        let (dialer, listener) = (identity(1, 7), identity(0, 7));
        let hello = dialer.hello().unwrap();
        let mut said = Vec::new();
        for round in 0..2 {
            let (mut a, mut b) = tokio::io::duplex(4096);
            let dial = async {
                write(&mut a, HELLO, &hello).await.unwrap();
                let theirs = dialer.hear(&mut a).await.unwrap();
                if round == 0 {
                    said = dialer.keys(&hello, &theirs.bytes).proof("dialer");
                }
                write(&mut a, AUTH, &said).await.unwrap();
                read(&mut a, AUTH, "the listener's proof").await
            };
            let (heard, accepted) = tokio::join!(dial, listener.accept(&mut b));
            assert_eq!((heard.is_ok(), accepted.is_ok()), (round == 0, round == 0));
        }
    }
}
