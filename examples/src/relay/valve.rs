//! One direction of one path: open, cut, lossy or slow.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;

/// The state of one direction.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Setting {
    pub(super) cut: bool,
    /// The share of what is lost, 0 to 1. Streams lose nothing.
    pub(super) loss: f64,
    pub(super) delay: Duration,
}

/// One direction, as the path's tasks see it.
#[derive(Clone)]
pub(super) struct Way {
    setting: watch::Receiver<Setting>,
    dice: Rc<RefCell<u64>>,
}

impl Way {
    /// What is to happen to one datagram or chunk: carried after a delay, or lost.
    pub(super) fn fate(&self) -> Option<Duration> {
        let setting = *self.setting.borrow();
        let lost = setting.cut || (setting.loss > 0.0 && self.roll() < setting.loss);
        (!lost).then_some(setting.delay)
    }

    pub(super) fn delay(&self) -> Duration {
        self.setting.borrow().delay
    }

    /// Resolves as soon as it is not cut.
    pub(super) async fn open(&self) {
        let mut setting = self.setting.clone();
        if setting.wait_for(|s| !s.cut).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Resolves as soon as it is cut.
    pub(super) async fn cut(&self) {
        let mut setting = self.setting.clone();
        if setting.wait_for(|s| s.cut).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// A number in 0..1 (xorshift; loss needs no better).
    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
    fn roll(&self) -> f64 {
        let mut x = self.dice.borrow_mut();
        *x ^= *x << 13;
        *x ^= *x >> 7;
        *x ^= *x << 17;
        (*x >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Every direction of every path, by name.
#[derive(Clone, Default)]
pub(super) struct Valves(Rc<RefCell<ByName>>);

/// By path and by where it comes from.
type ByName = BTreeMap<(String, u8), watch::Sender<Setting>>;

impl Valves {
    /// A new path's two directions.
    pub(super) fn path(&self, name: &str) -> [Way; 2] {
        [0, 1].map(|from| {
            let (set, setting) = watch::channel(Setting::default());
            self.0.borrow_mut().insert((name.to_owned(), from), set);
            Way { setting, dice: Rc::new(RefCell::new(0x9e37_79b9_7f4a_7c15 + u64::from(from))) }
        })
    }

    /// Changes one direction; false if there is none of that name.
    pub(super) fn turn(&self, path: &str, from: u8, change: impl FnOnce(&mut Setting)) -> bool {
        let valves = self.0.borrow();
        let Some(valve) = valves.get(&(path.to_owned(), from)) else { return false };
        valve.send_modify(change);
        true
    }

    pub(super) fn names(&self) -> String {
        let mut names: Vec<String> = self.0.borrow().keys().map(|(name, _)| name.clone()).collect();
        names.dedup();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_direction_is_cut_and_healed_by_itself() {
        let valves = Valves::default();
        let [from_first, from_second] = valves.path("udp0");
        assert!(valves.turn("udp0", 0, |s| s.cut = true));
        assert_eq!((from_first.fate(), from_second.fate()), (None, Some(Duration::ZERO)));
        from_first.cut().await;
        from_second.open().await;
        assert!(valves.turn("udp0", 0, |s| s.cut = false));
        from_first.open().await;
        assert!(!valves.turn("udp7", 0, |_| ()));
    }

    #[test]
    fn loss_loses_about_its_share() {
        let valves = Valves::default();
        let [way, _] = valves.path("udp0");
        valves.turn("udp0", 0, |s| s.loss = 0.3);
        let lost = (0..10_000).filter(|_| way.fate().is_none()).count();
        assert!((2_500..3_500).contains(&lost), "{lost} of 10000");
    }
}
