//! Asking one member after the other until one answers.

use crate::api::ArbiterError;
use etcd_client::{Client, ConnectOptions, Error, ResponseHeader, Txn, TxnResponse};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Between two rounds over all members.
const ROUND_PAUSE: Duration = Duration::from_millis(20);
/// gRPC's numbers of what etcd says.
const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;

/// One call of the arbiter: its requests share the deadline.
pub(super) struct Call {
    end: Instant,
    /// Requests that may have taken effect although their answer did not come.
    pub unclear: u32,
}

impl Call {
    pub(super) fn within(deadline: Duration) -> Self {
        Self { end: Instant::now() + deadline, unclear: 0 }
    }
}

pub(super) struct Members {
    arbiter: String,
    members: Vec<Member>,
    options: ConnectOptions,
    /// How long one member may take.
    attempt: Duration,
    first: AtomicUsize,
    cluster: Mutex<Option<u64>>,
}

struct Member {
    endpoint: String,
    client: Mutex<Option<Client>>,
}

/// How a request ended.
enum Ended<T> {
    Answered(T),
    /// The cluster said no, and every member would.
    Refused(ArbiterError),
    LeaseGone,
    /// This member is of no use now.
    Next {
        reason: String,
        unclear: bool,
    },
}

impl Members {
    pub(super) fn new(
        arbiter: String,
        endpoints: Vec<String>,
        options: ConnectOptions,
        attempt: Duration,
    ) -> Self {
        let member = |endpoint| Member { endpoint, client: Mutex::new(None) };
        let members = endpoints.into_iter().map(member).collect();
        Self { arbiter, members, options, attempt, first: AtomicUsize::new(0), cluster: Mutex::new(None) }
    }

    pub(super) fn count(&self) -> usize {
        self.members.len()
    }

    pub(super) async fn txn(&self, call: &mut Call, txn: Txn) -> Result<TxnResponse, ArbiterError> {
        let reply = self.txn_unless_lease_is_gone(call, txn).await?;
        reply.ok_or_else(|| self.unavailable("etcd took the lease away before it was used; try again"))
    }

    /// Nothing: the lease that the transaction names is gone, and nothing was done.
    pub(super) async fn txn_unless_lease_is_gone(
        &self,
        call: &mut Call,
        txn: Txn,
    ) -> Result<Option<TxnResponse>, ArbiterError> {
        let request = |client: Client| {
            let txn = txn.clone();
            async move { client.kv_client().txn(txn).await }
        };
        let reply = self.ask(call, request).await?;
        if let Some(reply) = &reply {
            self.check_cluster(reply.header())?;
        }
        Ok(reply)
    }

    /// A lease of at least that length.
    pub(super) async fn grant_lease(&self, call: &mut Call, lease: Duration) -> Result<i64, ArbiterError> {
        let seconds = i64::try_from(lease.as_secs()).unwrap_or(i64::MAX);
        let request = |client: Client| async move { client.lease_client().grant(seconds, None).await };
        let granted = self.ask(call, request).await?;
        let granted = granted.ok_or_else(|| self.unavailable("etcd granted no lease"))?;
        self.check_cluster(granted.header())?;
        if granted.ttl() < seconds {
            let reason =
                format!("it grants a lease of {} s, {seconds} s were asked: ask for less", granted.ttl());
            return Err(self.unusable(reason));
        }
        Ok(granted.id())
    }

    pub(super) async fn revoke_lease(&self, call: &mut Call, id: i64) -> Result<(), ArbiterError> {
        let request = |client: Client| async move { client.lease_client().revoke(id).await };
        self.ask(call, request).await.map(|_| ())
    }

    /// Whether the lease lives on.
    pub(super) async fn keep_alive(&self, call: &mut Call, id: i64) -> Result<bool, ArbiterError> {
        let request = |client: Client| async move { client.lease_client().keep_alive(id).await };
        Ok(self.ask(call, request).await?.is_some())
    }

    /// Sends a request to one member after the other. Nothing: the lease it names is gone.
    async fn ask<T, F, R>(&self, call: &mut Call, request: F) -> Result<Option<T>, ArbiterError>
    where
        F: Fn(Client) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let mut reason = String::from("the deadline was over before any member was asked");
        loop {
            let first = self.first.load(Ordering::Relaxed);
            for step in 0..self.members.len() {
                let at = (first + step) % self.members.len();
                let Some(member) = self.members.get(at) else { continue };
                if Instant::now() >= call.end {
                    return Err(self.unavailable(&reason));
                }
                match self.attempt(member, call.end, &request).await {
                    Ended::Answered(answer) => {
                        self.first.store(at, Ordering::Relaxed);
                        return Ok(Some(answer));
                    }
                    Ended::LeaseGone => return Ok(None),
                    Ended::Refused(error) => return Err(error),
                    Ended::Next { reason: why, unclear } => {
                        call.unclear += u32::from(unclear);
                        reason = format!("member {} of {}: {why}", at + 1, self.members.len());
                    }
                }
            }
            tokio::time::sleep(ROUND_PAUSE).await;
        }
    }

    async fn attempt<T, F, R>(&self, member: &Member, end: Instant, request: &F) -> Ended<T>
    where
        F: Fn(Client) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let end = end.min(Instant::now() + self.attempt);
        let client = match timeout_at(end, self.client(member)).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return self.judge(member, &error),
            Err(_) => return Ended::Next { reason: "no connection in time".to_owned(), unclear: false },
        };
        match timeout_at(end, request(client)).await {
            Ok(Ok(answer)) => Ended::Answered(answer),
            Ok(Err(error)) => self.judge(member, &error),
            Err(_) => {
                member.disconnect();
                Ended::Next { reason: format!("no answer within {:?}", self.attempt), unclear: true }
            }
        }
    }

    async fn client(&self, member: &Member) -> Result<Client, Error> {
        if let Some(client) = member.connected() {
            return Ok(client);
        }
        let client = Client::connect([&member.endpoint], Some(self.options.clone())).await?;
        *member.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }

    fn judge<T>(&self, member: &Member, error: &Error) -> Ended<T> {
        let text = error.to_string();
        match error {
            Error::LeaseKeepAliveError(_) => Ended::LeaseGone,
            Error::GRpcStatus(status) => match status.code() as i32 {
                NOT_FOUND => Ended::LeaseGone,
                PERMISSION_DENIED | INVALID_ARGUMENT => Ended::Refused(self.unusable(text)),
                UNAUTHENTICATED => {
                    member.disconnect();
                    Ended::Refused(self.unusable(text))
                }
                _ => {
                    member.disconnect();
                    Ended::Next { reason: text, unclear: true }
                }
            },
            Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => {
                Ended::Refused(self.unusable(text))
            }
            _ => {
                member.disconnect();
                Ended::Next { reason: text, unclear: true }
            }
        }
    }

    /// All answers come from one cluster: two would not know of each other's swaps.
    fn check_cluster(&self, header: Option<&ResponseHeader>) -> Result<(), ArbiterError> {
        let Some(found) = header.map(ResponseHeader::cluster_id) else { return Ok(()) };
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = *cluster.get_or_insert(found);
        if expected == found {
            return Ok(());
        }
        Err(self.unusable(format!(
            "an answer came from etcd cluster {found:x}, before they came from {expected:x}: name members of one cluster \
             only; if the cluster was made anew, start this node again"
        )))
    }

    pub(super) fn unavailable(&self, reason: &str) -> ArbiterError {
        ArbiterError::Unavailable { arbiter: self.arbiter.clone(), reason: reason.to_owned() }
    }

    fn unusable(&self, reason: String) -> ArbiterError {
        ArbiterError::Unusable { arbiter: self.arbiter.clone(), reason }
    }
}

impl Member {
    fn connected(&self) -> Option<Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn disconnect(&self) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
