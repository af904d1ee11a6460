//! What is acknowledged survives a power cut at any point; each sync is needed for that.

use super::copy::CopySource;
use super::model::{Do, Node, States, Tree, boot, read_tree};
use super::*;
use ha_core::store::medium::{
    CrashImage, CrashPoint, Medium, MetadataOrder, Open, RecordingMedium, SyncPick,
};
use std::path::Path;

/// What may be relied on at some point of the run.
#[derive(Clone, Copy)]
struct Promise {
    acked: (Lsn, Chain),
    /// A record that was durable and is either in the journal or in quarantine.
    tail: Option<(Lsn, Chain)>,
}

struct Run {
    points: Vec<CrashPoint>,
    promises: Vec<Promise>,
    states: States,
}

/// Carries out a workload and takes note of what it was promised.
struct Script {
    node: Node,
    promises: Vec<Promise>,
    tail: Option<(Lsn, Chain)>,
}

impl Script {
    fn new(medium: &RecordingMedium) -> Self {
        Self { node: Node::new(medium.clone()), promises: Vec::new(), tail: None }
    }

    fn promise(&mut self, lsn: Lsn, chain: Chain) {
        self.promises.push(Promise { acked: (lsn, chain), tail: self.tail });
        self.node.medium.mark(self.promises.len() as u64);
    }

    fn commit(&mut self, batch: &[Record]) {
        self.node.commit(batch);
        let last = batch.last().unwrap();
        self.promise(last.head.lsn, last.head.chain);
    }

    fn tx(&mut self, work: &[Do]) {
        let record = self.node.tx(work);
        self.commit(&[record]);
    }

    fn restart(mut self) -> Self {
        self.node = self.node.restart();
        let (lsn, chain) = (self.node.lsn, self.node.chain);
        self.promise(lsn, chain);
        self
    }

    fn room(&self) -> u64 {
        let segments = layout::locked(&self.node.parts.keeper.shared.segments);
        (16 << 10) - segments.used.back().unwrap().end.next_multiple_of(4096)
    }

    fn done(self) -> Run {
        Run { points: self.node.medium.crash_points(), promises: self.promises, states: self.node.states }
    }
}

/// Files of all kinds of fate, checkpoints in between, aborts, segments that are filled and trimmed.
fn files(script: &mut Script) {
    let first = script.node.start(1);
    script.commit(&[first]);
    script.tx(&[Do::Put("a", 700), Do::Put("b/c", 900)]);
    script.tx(&[Do::Put("d", 100), Do::Append("log", 600)]);
    script.tx(&[Do::Append("a", 600), Do::Rename("d", "b/e")]);
    script.node.checkpoint();
    script.tx(&[Do::Remove("b/c"), Do::Append("log", 700)]);
    script.tx(&[Do::Rename("a", "z"), Do::Put("b/e", 30)]);
    script.tx(&[Do::Append("z", 800), Do::Put("a", 10)]);
    let without = script.node.tree.clone();
    let target = script.node.tx(&[Do::Put("log", 5), Do::Put("never", 5)]);
    let abort = script.node.abort(target.head.lsn, without);
    let after = script.node.tx(&[Do::Append("log", 40)]);
    script.commit(&[target, abort, after]);
    // The applier goes on between the rotation and the checkpoint.
    let rotation = script.node.parts.applier.rotate().unwrap();
    let facts = script.node.facts();
    script.tx(&[Do::Remove("z"), Do::Rename("log", "old/log")]);
    script.tx(&[Do::Put("z", 1200), Do::Append("old/log", 900)]);
    script.node.parts.keeper.checkpoint(rotation, &facts).unwrap();
    script.tx(&[Do::Put("f", 3000), Do::Rename("z", "b/e")]);
    script.tx(&[Do::Put("g", 3000), Do::Remove("f")]);
    script.node.checkpoint();
    script.tx(&[Do::Put("h", 6000)]);
    script.tx(&[Do::Rename("g", "h"), Do::Append("a", 20)]);
}

/// Syncs fail, the process is started again on the same machine and goes on.
fn deaths(mut script: Script) -> Script {
    script.node.medium.fail_sync(SyncPick::Label("journal.batch"));
    let record = script.node.tx(&[Do::Put("unsure", 700), Do::Remove("a")]);
    script.node.parts.journal.append(std::slice::from_ref(&record)).unwrap_err();
    script.node.parts.journal.append(&[record]).unwrap_err();
    script = script.restart();
    script.tx(&[Do::Append("unsure", 700), Do::Rename("b/e", "b/f")]);
    script.node.medium.fail_sync(SyncPick::Label("super"));
    let rotation = script.node.parts.applier.rotate().unwrap();
    let facts = script.node.facts();
    script.node.parts.keeper.checkpoint(rotation, &facts).unwrap_err();
    script = script.restart();
    script.tx(&[Do::Rename("unsure", "sure")]);
    while script.room() > 0 {
        script.tx(&[Do::Append("sure", 100)]);
    }
    script.tx(&[Do::Put("one", 9)]);
    // The process that made the next segment died before it synced the name.
    let shared = script.node.parts.keeper.shared.clone();
    let next = layout::locked(&shared.segments).next;
    let path = segment::name(&shared.places.journal, next);
    shared.medium.open(&path, Open::Create).unwrap().allocate(16 << 10).unwrap();
    drop(shared);
    script = script.restart();
    while script.room() > 0 {
        script.tx(&[Do::Append("sure", 100)]);
    }
    script.tx(&[Do::Put("two", 9)]);
    script
}

/// A tail that nobody acknowledged is cut, and the next segment goes on after it.
fn cut(script: &mut Script) {
    while script.room() != 4096 {
        script.tx(&[Do::Append("two", 50)]);
    }
    let stays = script.node.tx(&[Do::Append("two", 51)]);
    let (lsn, epoch, chain, tree) =
        (script.node.lsn, script.node.epoch, script.node.chain, script.node.tree.clone());
    let tail = [script.node.tx(&[Do::Put("tail", 700)]), script.node.tx(&[Do::Remove("one")])];
    let batch = [&[stays.clone()][..], &tail].concat();
    script.node.parts.journal.append(&batch).unwrap();
    script.node.apply(&[stays]);
    script.tail = Some((tail[0].head.lsn, tail[0].head.chain));
    script.promise(lsn, chain);
    let report = script.node.parts.journal.cut(lsn).unwrap().unwrap();
    assert_eq!((report.fork, report.until), (lsn, tail[1].head.lsn));
    let kept = script.node.medium.read(&report.file).unwrap();
    assert_eq!(kept, [&tail[0].bytes[..], &tail[1].bytes].concat());
    (script.node.lsn, script.node.epoch, script.node.chain, script.node.tree) = (lsn, epoch, chain, tree);
    let start = script.node.start(2);
    script.commit(&[start]);
    script.tx(&[Do::Put("after", 300)]);
}

fn send(source: &mut CopySource, target: &mut CopyTarget, pieces: usize) -> bool {
    for _ in 0..pieces {
        match source.next(500).unwrap() {
            Some(chunk) => target.chunk(chunk).unwrap(),
            None => return true,
        }
    }
    false
}

/// The node gets a whole copy from another one, which goes on meanwhile.
fn copy(mut script: Script) -> Script {
    let mut other = Node::new(RecordingMedium::new());
    let first = other.start(1);
    let next = other.start(7);
    other.commit(&[first, next]);
    let one = other.tx(&[Do::Put("copied/a", 1300), Do::Put("copied/b", 10), Do::Put("copied/x", 600)]);
    let two = other.tx(&[Do::Put("late", 600), Do::Put("m", 40)]);
    other.commit(&[one, two]);
    let at = other.parts.applier.rotate().unwrap();
    let mut source = other.parts.reader.copy_source(at);
    let begin = CopyBegin { at, epoch: other.epoch, facts: other.facts() };
    let facts = other.facts();
    other.parts.keeper.checkpoint(at, &facts).unwrap();
    let mut target = script.node.parts.keeper.copy_target(begin).unwrap();
    assert!(!send(&mut source, &mut target, 2));
    let moved = other.tx(&[Do::Rename("late", "copied/0"), Do::Append("copied/b", 700), Do::Put("m", 50)]);
    other.commit(std::slice::from_ref(&moved));
    other.checkpoint();
    let gone = other.tx(&[Do::Remove("copied/x"), Do::Rename("m", "n"), Do::Append("n", 9)]);
    other.commit(std::slice::from_ref(&gone));
    other.checkpoint();
    // The old copy is used until the flip.
    script.tx(&[Do::Append("after", 10)]);
    assert!(send(&mut source, &mut target, 1000));
    let s1 = other.commit;
    drop(source);
    target.append(&[moved, gone]).unwrap();
    let Script { mut node, mut promises, .. } = script;
    drop(node.parts);
    node.states.append(&mut other.states);
    node.parts = target.finish(s1).unwrap();
    node.medium.mark(promises.len() as u64);
    assert_eq!(read_tree(&node.parts), other.tree);
    (node.lsn, node.epoch, node.chain, node.commit) = (other.lsn, other.epoch, other.chain, other.commit);
    (node.tree, node.history, node.aborted) = (other.tree, other.history, other.aborted);
    let promise = Promise { acked: (node.lsn, node.chain), tail: None };
    promises.push(promise);
    node.medium.mark(promises.len() as u64);
    let mut script = Script { node, promises, tail: None };
    script.tx(&[Do::Append("copied/0", 10), Do::Remove("copied/a")]);
    script.node.checkpoint();
    script.tx(&[Do::Put("copied/a", 10)]);
    script
}

fn run(order: MetadataOrder, skip: Option<&'static str>) -> (RecordingMedium, Run) {
    let medium = RecordingMedium::new();
    medium.set_order(order);
    medium.skip_sync(skip.map(SyncPick::Label));
    medium.record();
    let mut script = Script::new(&medium);
    files(&mut script);
    let mut script = deaths(script);
    cut(&mut script);
    let script = copy(script);
    (medium, script.done())
}

/// What is wrong with a store found in this state of the disk.
fn fault(image: &CrashImage, promise: Option<&Promise>, states: &States) -> Option<String> {
    let medium = RecordingMedium::from_image(image);
    let mut parts = match boot(&medium) {
        Ok(parts) => parts,
        Err(error) => return Some(error.to_string()),
    };
    let found = parts.recovered.clone();
    let Some(model) = states.get(&parts.applier.chain.0) else { return Some("an unknown history".into()) };
    let differs = |tree: &Tree, model: &Tree| {
        let names =
            |tree: &Tree| tree.iter().map(|(name, data)| (name.clone(), data.len())).collect::<Vec<_>>();
        (tree != model).then(|| format!("the tree is {:?}, expected {:?}", names(tree), names(model)))
    };
    if found.floor > found.durable {
        return Some(format!("taken for damaged: {:?}", found.notes));
    }
    if parts.applier.lsn != found.commit || found.commit > found.durable || found.acked > found.durable {
        return Some(format!("cursors {found:?}"));
    }
    if let Some(text) = differs(&read_tree(&parts), model) {
        return Some(format!("committed {}: {text}", found.commit));
    }
    let aborted: Vec<_> = found.aborted.iter().map(|(target, _)| *target).collect();
    parts.applier.apply(&found.pending, &|lsn| aborted.contains(&lsn), &mut |_| ()).unwrap();
    let model = states.get(&found.chain.0)?;
    // Between a transaction and its abort nothing is ever committed.
    if let Some(text) = differs(&read_tree(&parts), model) {
        return Some(format!("durable {}: {text}", found.durable));
    }
    let promise = promise?;
    let holds = |(lsn, chain): (Lsn, Chain)| match parts.reader.chain_at(lsn) {
        _ if lsn == found.durable => chain == found.chain,
        Ok(Some(found)) => found == chain,
        Ok(None) => lsn < parts.reader.oldest(),
        Err(_) => false,
    };
    let later = found.history.newest().is_some_and(|newest| newest.epoch == Epoch(7));
    let acked = holds(promise.acked) || (later && states_of_copy(promise, &found));
    if !acked {
        return Some(format!("LSN {} was acknowledged, durable is {}", promise.acked.0, found.durable));
    }
    let (lsn, chain) = promise.tail?;
    let quarantined = || {
        let entries = medium.list(Path::new("quarantine")).ok()?;
        let file = entries.iter().find(|entry| entry.name.to_str().is_some_and(|n| n.ends_with(".jnl")))?;
        let kept = medium.read(&Path::new("quarantine").join(&file.name)).ok()?;
        let head = crate::record::Head::parse(&kept, model::MIRROR, 1 << 20).ok()??;
        let body = Bytes::copy_from_slice(kept.get(..head.record_bytes())?);
        Some(head.lsn == lsn && head.chain == chain && Record::from_parts(head, body).is_ok())
    };
    (!later && !holds((lsn, chain)) && quarantined() != Some(true))
        .then(|| format!("the tail at {lsn} is lost"))
}

/// After the flip the other node's history counts, as far as it was copied.
fn states_of_copy(promise: &Promise, found: &Recovered) -> bool {
    promise.tail.is_some() && found.durable >= Lsn(6)
}

fn first_fault(run: &Run, limit: usize) -> Option<String> {
    for point in &run.points {
        let promise =
            usize::try_from(point.mark()).ok().and_then(|mark| run.promises.get(mark.checked_sub(1)?));
        for image in point.images(limit, 1) {
            if let Some(text) = fault(&image, promise, &run.states) {
                return Some(format!("{point:?}, {image:?}: {text}"));
            }
        }
    }
    None
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_after_every_call() {
    for order in [MetadataOrder::None, MetadataOrder::WithinDirectory] {
        let (_, run) = run(order, None);
        assert!(run.points.len() > 200, "only {} crash points", run.points.len());
        assert_eq!(first_fault(&run, 24), None);
    }
}

#[test]
fn without_any_one_of_its_syncs_a_power_cut_loses_something() {
    let (medium, _) = run(MetadataOrder::None, None);
    let mut needless = Vec::new();
    for label in medium.labels_seen().into_keys() {
        let (_, run) = run(MetadataOrder::None, Some(label));
        if first_fault(&run, 40).is_none() {
            needless.push(label);
        }
    }
    // It is there so that the first batch of a segment does not wait for all its zeros.
    assert_eq!(needless, ["segment.zeros"]);
}
