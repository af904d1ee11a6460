//! What a replicated commit costs, next to what the same disk does alone.
//!
//! Both halves of each pair run one after the other in this process, on the same disk, many times: (a) one
//! client commits 16 KiB, against an append and `fdatasync` of as much; (b) 16 clients commit, against 16
//! clients that deliver into a plain Maildir (write, fsync, rename, fsync of the directory).

use clap::Parser;
use ha_core::api::{Clock, Ctx};
use ha_core::engine::AckRule;
use ha_core::runtime::{BootClock, Unguarded};
use ha_core::{Epoch, Generation, GroupId, Incarnation, Instant, NodeId, TokenCell};
use ha_replication::{CommitOutcome, Mirror, MirrorConfig, MirrorId};
use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant as Wall};

type Failure = Box<dyn Error + Send + Sync>;

/// Measures a mirror of two copies on this machine against plain local files.
#[derive(Parser, Clone)]
#[command(name = "mirror-bench")]
struct Options {
    /// Where the files go; must be on the disk to measure.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Interleaved pairs of measurements.
    #[arg(long, default_value_t = 20)]
    pairs: usize,
    /// Bytes of one transaction.
    #[arg(long, default_value_t = 16 << 10)]
    size: usize,
    /// Clients in the second part.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Operations of one client in each half of a pair of the first part.
    #[arg(long, default_value_t = 20)]
    operations: usize,
    /// Milliseconds of each half of a pair of the second part.
    #[arg(long, default_value_t = 400)]
    window: u64,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Leave the local Maildir half out: for a profiler.
    #[arg(long, hide = true)]
    skip_maildir: bool,
}

static NAMES: AtomicU64 = AtomicU64::new(0);

fn name() -> String {
    format!("{:08}", NAMES.fetch_add(1, Ordering::Relaxed))
}

async fn pair_of_mirrors(dir: &Path) -> Result<(Mirror, Mirror), Failure> {
    let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let open = |node: u8| -> Result<(Mirror, TokenCell), Failure> {
        let token = TokenCell::new(GroupId(0));
        let (mirror, me, life) =
            (MirrorId::from_name("bench"), NodeId(node), Incarnation(u128::from(node) + 1));
        let place = dir.join(format!("node-{node}"));
        let config = MirrorConfig::new(place, mirror, me, life, addr, addr, token.clone());
        let key = ha_core::wire::PairKey::from_bytes(&[9; 32])?;
        Ok((Mirror::open(config.with_key(key))?, token))
    };
    let ((leader, token), (follower, _)) = (open(0)?, open(1)?);
    token.set(Epoch(1), Instant::FAR);
    let deadline = BootClock.now() + Duration::from_secs(10);
    let ctx = Ctx::new(Arc::new(Unguarded), Epoch(1), deadline, token);
    leader.data_sync().promote(&ctx, AckRule::Both(Generation(1))).await?;
    Ok((leader, follower))
}

async fn commit(mirror: &Mirror, body: &bytes::Bytes) -> Result<(), Failure> {
    match mirror.begin().put_new(&format!("new/{}", name()), body.clone()).commit().await {
        CommitOutcome::Committed { .. } => Ok(()),
        other => Err(format!("a commit ended as {other:?}").into()),
    }
}

fn deliver(maildir: &Path, body: &[u8]) -> Result<(), Failure> {
    let name = name();
    let (tmp, new) = (maildir.join("tmp").join(&name), maildir.join("new").join(&name));
    let mut file = File::create(&tmp)?;
    file.write_all(body)?;
    file.sync_all()?;
    fs::rename(&tmp, &new)?;
    File::open(maildir.join("new"))?.sync_all()?;
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Microseconds for an empty file here, before anything else: a file system that scans inodes which were deleted a
/// moment ago (ext4 without a journal, for a minute) makes every delivery of either half cost that scan.
fn creation_us(dir: &Path) -> Result<f64, Failure> {
    let place = dir.join("creation");
    fs::create_dir(&place)?;
    let mut spans = Vec::new();
    for n in 0..100 {
        let begun = Wall::now();
        File::create(place.join(n.to_string()))?;
        spans.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(&mut spans))
}

/// Microseconds of one operation, replicated and local, one pair each.
async fn one_client(o: &Options, mirror: &Mirror, dir: &Path) -> Result<Vec<(f64, f64)>, Failure> {
    let body = bytes::Bytes::from(vec![0x5a; o.size]);
    let mut log = File::create(dir.join("local.log"))?;
    let mut pairs = Vec::new();
    for _ in 0..=o.pairs {
        let (mut replicated, mut local) = (Vec::new(), Vec::new());
        for _ in 0..o.operations {
            let begun = Wall::now();
            log.write_all(&body)?;
            log.sync_data()?;
            local.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        for _ in 0..o.operations {
            let begun = Wall::now();
            commit(mirror, &body).await?;
            replicated.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        pairs.push((median(&mut replicated), median(&mut local)));
    }
    // The first pair warms up.
    Ok(pairs.split_off(1))
}

/// Operations a second, replicated and local, one pair each.
async fn many_clients(o: &Options, mirror: &Mirror, dir: &Path) -> Result<Vec<(f64, f64)>, Failure> {
    let maildir = dir.join("maildir");
    fs::create_dir_all(maildir.join("tmp"))?;
    fs::create_dir_all(maildir.join("new"))?;
    let body = bytes::Bytes::from(vec![0x5a; o.size]);
    let window = Duration::from_millis(o.window);
    let mut pairs = Vec::new();
    for _ in 0..=o.pairs {
        let (begun, mut tasks) = (Wall::now(), Vec::new());
        let local_clients = if o.skip_maildir { 0 } else { o.clients };
        for _ in 0..local_clients {
            let (maildir, body) = (maildir.clone(), body.clone());
            tasks.push(tokio::task::spawn_blocking(move || {
                let mut done = 0_u32;
                while begun.elapsed() < window {
                    deliver(&maildir, &body)?;
                    done += 1;
                }
                Ok::<_, Failure>(done)
            }));
        }
        let local = rate(tasks, begun).await?;
        let (begun, mut tasks) = (Wall::now(), Vec::new());
        for _ in 0..o.clients {
            let (mirror, body) = (mirror.clone(), body.clone());
            tasks.push(tokio::spawn(async move {
                let mut done = 0_u32;
                while begun.elapsed() < window {
                    commit(&mirror, &body).await?;
                    done += 1;
                }
                Ok::<_, Failure>(done)
            }));
        }
        pairs.push((rate(tasks, begun).await?, local));
    }
    Ok(pairs.split_off(1))
}

async fn rate(
    tasks: Vec<tokio::task::JoinHandle<Result<u32, Failure>>>,
    begun: Wall,
) -> Result<f64, Failure> {
    let mut done = 0;
    for task in tasks {
        done += task.await??;
    }
    Ok(f64::from(done) / begun.elapsed().as_secs_f64())
}

fn medians(pairs: &[(f64, f64)]) -> (f64, f64, f64) {
    let pick = |f: &dyn Fn(&(f64, f64)) -> f64| median(&mut pairs.iter().map(f).collect::<Vec<_>>());
    (pick(&|p| p.0), pick(&|p| p.1), pick(&|p| p.0 / p.1))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let dir = tempfile::tempdir_in(&options.dir)?;
    let create_us = creation_us(dir.path())?;
    let (leader, follower) = pair_of_mirrors(dir.path()).await?;
    let single = one_client(&options, &leader, dir.path()).await?;
    let many = many_clients(&options, &leader, dir.path()).await?;
    let (commit_us, append_us, times) = medians(&single);
    let (commits, deliveries, ratio) = medians(&many);
    if options.json {
        let report = serde_json::json!({
            "size": options.size, "pairs": options.pairs, "clients": options.clients, "create_file_us": create_us,
            "one_client": {"commit_us": commit_us, "append_fdatasync_us": append_us, "ratio": times, "target": "<= 2.5", "held": times <= 2.5},
            "many_clients": {"commits_per_s": commits, "deliveries_per_s": deliveries, "ratio": ratio, "target": ">= 1", "held": ratio >= 1.0},
        });
        println!("{report}");
    } else {
        println!(
            "{} pairs, {} bytes each; medians; an empty file takes {create_us:.0} us here",
            options.pairs, options.size
        );
        println!("                      replicated        local    ratio   target");
        println!("1 client   us/op    {commit_us:12.0} {append_us:12.0} {times:8.2}   <= 2.5");
        println!(
            "{:<2} clients op/s     {commits:12.0} {deliveries:12.0} {ratio:8.2}   >= 1",
            options.clients
        );
    }
    drop((leader, follower));
    Ok(())
}
