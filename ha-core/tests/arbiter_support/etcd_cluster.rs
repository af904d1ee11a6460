//! Real etcd members on loopback ports, each a child process of the test.

use etcd_client::Client;
use rustix::process::{Pid, Signal, kill_process};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

pub struct Cluster {
    members: Vec<Member>,
    initial: String,
    folder: TempDir,
}

struct Member {
    name: String,
    client_port: u16,
    peer_port: u16,
    child: Option<Child>,
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Cluster {
    /// Starts members and waits until they have a leader.
    pub async fn start(count: usize) -> Self {
        // All ports are taken at the same time, so that none is given twice.
        let listeners: Vec<_> = (0..2 * count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        drop(listeners);
        let members: Vec<_> = ports
            .chunks(2)
            .enumerate()
            .map(|(i, port)| Member {
                name: format!("m{i}"),
                client_port: port[0],
                peer_port: port[1],
                child: None,
            })
            .collect();
        let peers: Vec<_> =
            members.iter().map(|m| format!("{}=http://127.0.0.1:{}", m.name, m.peer_port)).collect();
        let mut cluster = Self { members, initial: peers.join(","), folder: tempfile::tempdir().unwrap() };
        for member in 0..count {
            cluster.spawn(member);
        }
        for member in 0..count {
            cluster.wait_for(member).await;
        }
        cluster
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|m| format!("http://127.0.0.1:{}", m.client_port)).collect()
    }

    fn data(&self, member: usize) -> PathBuf {
        self.folder.path().join(&self.members[member].name)
    }

    fn spawn(&mut self, at: usize) {
        let data = self.data(at);
        let log =
            std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        // The token makes the cluster's id: two clusters of a test must differ.
        let token = self.folder.path().display().to_string();
        let member = &mut self.members[at];
        let client = format!("http://127.0.0.1:{}", member.client_port);
        let peer = format!("http://127.0.0.1:{}", member.peer_port);
        let child = Command::new("etcd")
            .args(["--name", &member.name, "--data-dir"])
            .arg(data)
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &self.initial, "--initial-cluster-token", &token])
            .args(["--heartbeat-interval", "50", "--election-timeout", "500", "--log-level", "error"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("etcd must be installed (Debian: etcd-server)");
        member.child = Some(child);
    }

    /// Waits until the member answers and knows a leader.
    async fn wait_for(&self, at: usize) {
        while self.led_by(at).await.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The member's id and its leader's.
    async fn led_by(&self, at: usize) -> Option<(u64, u64)> {
        let ask = async {
            let mut client = Client::connect([&self.endpoints()[at]], None).await.ok()?;
            let status = client.status().await.ok()?;
            Some((status.header()?.member_id(), status.leader()))
        };
        let answer = tokio::time::timeout(Duration::from_millis(500), ask).await.ok().flatten();
        answer.filter(|(_, leader)| *leader != 0)
    }

    /// Which member leads.
    pub async fn leader(&self) -> usize {
        loop {
            for at in 0..self.members.len() {
                if self.members[at].child.is_some()
                    && let Some((member, leader)) = self.led_by(at).await
                    && member == leader
                {
                    return at;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends a member without warning.
    pub async fn kill(&mut self, at: usize) {
        let mut child = self.members[at].child.take().expect("a running member");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts a member again on its old disk. It may have to wait for others before it answers.
    pub async fn restart(&mut self, at: usize) {
        self.spawn(at);
        let running = self.members.iter().filter(|m| m.child.is_some()).count();
        if 2 * running > self.members.len() {
            self.wait_for(at).await;
        }
    }

    /// Freezes a member where it stands.
    pub fn stop(&self, at: usize) {
        self.signal(at, Signal::STOP);
    }

    pub fn resume(&self, at: usize) {
        self.signal(at, Signal::CONT);
    }

    fn signal(&self, at: usize, signal: Signal) {
        let child = self.members[at].child.as_ref().expect("a running member");
        kill_process(Pid::from_child(child), signal).unwrap();
    }
}
