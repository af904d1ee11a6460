//! Pairs of many groups: what there is to tell of each. A change is told at once and again until a beat that told it
//! is echoed; what the peer has heard is repeated a few at a time, so that a beat costs the same whatever the number
//! of groups.

use super::beat::{ClaimState, Statement};
use super::machine::{Engine, SENT_BEATS_MAX};
use super::saying::{NODE_STATEMENTS, Packing, ROOM_FOR_ALL};
use crate::{Epoch, GroupId, Lsn, SetRecord};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, VecDeque};

/// Pairs of at most so many groups say everything in every beat that has room; of more, a beat repeats so many claims.
pub(super) const FEW_GROUPS: usize = 16;

/// About what so many of them take.
const REPEATED_BYTES: usize = FEW_GROUPS * 20;

/// Something that is told of a group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub(super) enum Topic {
    /// What this node is in it.
    Claim(GroupId),
    /// That it serves, for those that start after it.
    Serves(GroupId),
}

/// What one link still has to tell, and what it told without knowing yet whether that was heard.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub(super) struct News {
    untold: BTreeSet<Topic>,
    /// By the beat's number, oldest first.
    told: VecDeque<(u32, Vec<Topic>)>,
}

impl News {
    /// The topic changed.
    pub(super) fn add(&mut self, topic: Topic) {
        self.untold.insert(topic);
    }

    /// Somebody else listens now, who heard nothing: everything is news.
    pub(super) fn begin_anew(&mut self, topics: impl Iterator<Item = Topic>) {
        self.told.clear();
        self.untold = topics.collect();
    }

    pub(super) fn first(&self) -> Option<Topic> {
        self.untold.first().copied()
    }

    /// The first news are told by the beat `seq`.
    pub(super) fn tell_first(&mut self, seq: u32) {
        let Some(topic) = self.untold.pop_first() else { return };
        match self.told.back_mut() {
            Some((last, topics)) if *last == seq => topics.push(topic),
            _ => self.told.push_back((seq, vec![topic])),
        }
        // An echo of what is older would come too late to be believed.
        if self.told.len() > SENT_BEATS_MAX
            && let Some((_, topics)) = self.told.pop_front()
        {
            self.untold.extend(topics);
        }
    }

    /// The peer's newest beat of ours is `seq`: it heard that one. Of those before nobody knows; they are told again.
    pub(super) fn echoed(&mut self, seq: u32) {
        while let Some((told, topics)) = self.told.front_mut() {
            if *told > seq {
                break;
            }
            if *told < seq {
                self.untold.extend(topics.drain(..));
            }
            self.told.pop_front();
        }
    }

    /// Numbers the beats backwards from the newest, as what counts of them is their order.
    pub(super) fn renumber(&mut self, newest: u32) {
        for (seq, _) in &mut self.told {
            *seq = newest.wrapping_sub(*seq);
        }
    }
}

impl Engine {
    pub(super) fn has_many_groups(&self) -> bool {
        self.st.groups.len() > FEW_GROUPS
    }

    /// The node's own statements: the first on every wide beat and every other narrow one, the others in turn.
    pub(super) fn tell_node(&self, i: usize, node: &[Statement], room: usize, packing: &mut Packing<'_>) {
        let seq = self.st.links[i].seq as usize;
        let (first, others) = node.split_at(NODE_STATEMENTS.min(node.len()));
        let turns = if room >= ROOM_FOR_ALL { first.len() } else { (seq + 1) % 2 };
        for s in first.iter().cycle().skip(seq / 2 % first.len().max(1)).take(turns) {
            packing.take(*s);
        }
        let others = others.iter().cycle().skip(seq % others.len().max(1)).take(others.len().min(FEW_GROUPS));
        for s in others {
            if !packing.take(*s) {
                break;
            }
        }
    }

    /// News in up to half of the room, more where little else is to be repeated; then what was told before, in turn.
    pub(super) fn tell_groups(&mut self, i: usize, packing: &mut Packing<'_>) {
        let rest = (packing.left / 2).min(REPEATED_BYTES);
        let seq = self.st.links[i].seq.wrapping_add(1);
        while packing.left > rest
            && let Some(topic) = self.st.links[i].news.first()
            && self.said_of(topic).is_none_or(|s| packing.take(s))
        {
            self.st.links[i].news.tell_first(seq);
        }
        self.repeat(i, packing);
    }

    /// The next [`FEW_GROUPS`] topics from where the last beat ended.
    fn repeat(&mut self, i: usize, packing: &mut Packing<'_>) {
        let topics = self.st.groups.len() * 2;
        let mut cursor = self.st.links[i].cursor;
        let mut repeated = 0;
        // Every other topic is a claim, so the next few are never far.
        for _ in 0..FEW_GROUPS * 2 {
            let group = GroupId((cursor / 2) as u16);
            let topic = if cursor.is_multiple_of(2) { Topic::Claim(group) } else { Topic::Serves(group) };
            if let Some(s) = self.said_of(topic) {
                if repeated == FEW_GROUPS || !packing.take(s) {
                    break;
                }
                repeated += 1;
            }
            cursor = (cursor + 1) % topics;
        }
        self.st.links[i].cursor = cursor;
    }

    fn said_of(&self, topic: Topic) -> Option<Statement> {
        match topic {
            Topic::Claim(g) => Some(self.said_claim(g)),
            Topic::Serves(g) => self.agenda.serving.contains(g).then(|| self.said_serves(g)),
        }
    }

    pub(super) fn said_serves(&self, group: GroupId) -> Statement {
        Statement::Serves { group, epoch: self.group(group).epoch }
    }

    /// The link speaks to somebody who heard nothing yet.
    pub(super) fn tell_all(&mut self, i: usize) {
        if self.has_many_groups() {
            let claims = self.group_ids().map(Topic::Claim);
            let serves = self.agenda.serving.iter().map(Topic::Serves);
            self.st.links[i].news.begin_anew(claims.chain(serves));
        }
    }

    /// Keeps what is claimed of the group. Of many groups a change is news.
    pub(super) fn note_own_claim(&mut self, g: GroupId) {
        let claim = self.claim(g);
        let (many, place) = (self.has_many_groups(), usize::from(g.0));
        let Some(before) = self.agenda.claimed.get_mut(place).and_then(|c| c.replace(claim)) else { return };
        if many && word(&before) != word(&claim) {
            self.add_news(Topic::Claim(g));
        }
    }

    /// Keeps whether the group serves. Of many groups it is news when one begins to.
    pub(super) fn note_serving(&mut self, g: GroupId, serving: bool) {
        if serving != self.agenda.serving.contains(g) {
            self.agenda.serving.set(g, serving);
            if serving && self.has_many_groups() {
                self.add_news(Topic::Serves(g));
            }
        }
    }

    fn add_news(&mut self, topic: Topic) {
        for link in &mut self.st.links {
            link.news.add(topic);
        }
    }
}

/// What is told out of turn when it changes. How far the data are only while nobody owns them: it decides who will.
const fn word(claim: &Statement) -> Option<(Epoch, ClaimState, SetRecord, Epoch, Option<Lsn>)> {
    match claim {
        Statement::Claim { epoch, state, set, lsn, highest, .. } => {
            let open = matches!(state, ClaimState::Waiting | ClaimState::Blocked);
            Some((*epoch, *state, *set, *highest, if open { Some(*lsn) } else { None }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// What happens between a teller and a listener: a topic changes, and a beat with room for so many topics arrives
    /// or not; the next echo of what arrived last comes back or not.
    #[derive(Clone, Copy, Debug)]
    struct Round {
        changes: Option<u16>,
        room: usize,
        arrives: bool,
        echoed: bool,
    }

    fn round() -> impl Strategy<Value = Round> {
        (prop::option::of(0u16..8), 0usize..4, any::<bool>(), any::<bool>())
            .prop_map(|(changes, room, arrives, echoed)| Round { changes, room, arrives, echoed })
    }

    #[derive(Default)]
    struct Talk {
        news: News,
        seq: u32,
        told: BTreeMap<Topic, u32>,
        heard: BTreeMap<Topic, u32>,
        newest: Option<u32>,
    }

    impl Talk {
        fn go(&mut self, round: Round) {
            if let Some(g) = round.changes {
                let topic = Topic::Claim(GroupId(g));
                *self.told.entry(topic).or_default() += 1;
                self.news.add(topic);
            }
            self.seq += 1;
            for _ in 0..round.room {
                let Some(topic) = self.news.first() else { break };
                self.news.tell_first(self.seq);
                if round.arrives {
                    self.heard.insert(topic, self.told[&topic]);
                }
            }
            if round.arrives {
                self.newest = Some(self.seq);
            }
            if let (true, Some(newest)) = (round.echoed, self.newest) {
                self.news.echoed(newest);
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_was_lost_is_told_again_until_it_is_heard(rounds in prop::collection::vec(round(), 0..200)) {
            let mut talk = Talk::default();
            rounds.into_iter().for_each(|round| talk.go(round));
            let calm = Round { changes: None, room: 3, arrives: true, echoed: true };
            // Eight topics, twice: once those that wait, once those that came to nothing.
            (0..6).for_each(|_| talk.go(calm));
            prop_assert_eq!(&talk.heard, &talk.told);
            prop_assert_eq!(talk.news, News::default());
        }
    }

    #[test]
    fn what_was_heard_is_not_told_again() {
        let mut news = News::default();
        news.add(Topic::Claim(GroupId(3)));
        news.tell_first(7);
        news.echoed(6);
        assert_eq!((news.first(), news.told.len()), (None, 1), "nobody can have heard it yet");
        news.echoed(7);
        assert_eq!(news, News::default());
    }

    #[test]
    fn what_nobody_echoes_takes_no_more_room_than_there_are_topics() {
        let mut news = News::default();
        for seq in 0..10_000 {
            news.add(Topic::Claim(GroupId((seq % 5) as u16)));
            news.tell_first(seq);
        }
        assert!(news.told.len() <= SENT_BEATS_MAX && news.untold.len() <= 5, "{news:?}");
    }

    #[test]
    fn a_new_listener_is_told_everything() {
        let mut news = News::default();
        news.add(Topic::Serves(GroupId(1)));
        news.tell_first(7);
        news.begin_anew((0..3).map(|g| Topic::Claim(GroupId(g))));
        news.echoed(7);
        let told: Vec<_> = std::iter::from_fn(|| news.first().inspect(|_| news.tell_first(8))).collect();
        assert_eq!(told, [0, 1, 2].map(|g| Topic::Claim(GroupId(g))));
    }
}
