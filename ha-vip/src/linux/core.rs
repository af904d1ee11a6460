//! When the addresses are put, renewed, suspended and put back: the permission decides, read against the boot clock.

use super::LinuxError;
use super::holder::Holder;
use super::plan::Plan;
use super::voice::Trouble;
use crate::Holding;
use crate::kernel::{AddressFlags, Event, Waker};
use ha_core::api::Clock;
use ha_core::runtime::BootClock;
use ha_core::{Instant, RoleToken, TokenCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a suspended address asks whether it may come back.
const SUSPENDED_LOOK: Duration = Duration::from_millis(5);
/// How soon a renewal that failed is tried again.
const RETRY: Duration = Duration::from_millis(50);
/// Nothing is served: only a wake-up matters.
const IDLE: Duration = Duration::from_secs(3600);
/// A gate is renewed this often within its span, a lifetime this often within its seconds.
const GATE_SHARE: u32 = 3;
const LIFETIME_SHARE: u32 = 4;

/// One resource: its plan, its place in the kernel, and for whom it is held.
pub(crate) struct Core {
    pub(crate) plan: Plan,
    pub(crate) waker: Waker,
    pub(crate) ended: AtomicBool,
    state: Mutex<State>,
}

struct State {
    holder: Holder,
    serving: Option<Serving>,
}

struct Serving {
    token: TokenCell,
    is_suspended: bool,
    /// The last attempt to take the addresses away failed, and that was said.
    is_stuck: bool,
    renew_at: Instant,
    gate_at: Instant,
}

impl Core {
    pub(crate) fn new(plan: Plan, holder: Holder, waker: Waker) -> Self {
        let state = Mutex::new(State { holder, serving: None });
        Self { plan, waker, ended: AtomicBool::new(false), state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Answers at the addresses from now on, for as long as the permission is valid.
    pub(crate) fn acquire(&self, token: &TokenCell) -> Result<(), LinuxError> {
        let mut state = self.state();
        let State { holder, serving } = &mut *state;
        if let Some(already) = serving.as_mut().filter(|s| !s.is_suspended && holder.is_placed()) {
            already.token = token.clone();
            match holder.mend(&self.plan) {
                Ok(_) => return Ok(()),
                // The interface may have been made anew: everything is placed again.
                Err(error) => {
                    tracing::warn!(resource = self.plan.name, %error, "what is held cannot be mended")
                }
            }
            *serving = None;
            holder.take(&self.plan)?;
        }
        let now = BootClock.now();
        let Ok(permission) = token.check(now) else { return Err(LinuxError::NotPermitted) };
        if let Some(voice) = &self.plan.voice {
            voice.speak_for(token);
        }
        if let Err(error) = holder.put(&self.plan, self.gate_span(permission, now)) {
            *serving = None;
            return Err(error);
        }
        let serving = serving.insert(self.serving(token.clone(), now));
        self.look_again(holder, serving);
        drop(state);
        self.waker.wake();
        Ok(())
    }

    fn serving(&self, token: TokenCell, now: Instant) -> Serving {
        let (renew_at, gate_at) = (now + self.renewal_period(), now + self.gate_period());
        Serving { token, is_suspended: false, is_stuck: false, renew_at, gate_at }
    }

    /// Answers no more, and verifies it.
    pub(crate) fn release(&self) -> Result<(), LinuxError> {
        let mut state = self.state();
        state.serving = None;
        state.holder.take(&self.plan)
    }

    /// What the kernel says.
    pub(crate) fn look(&self) -> Holding {
        let mut state = self.state();
        let is_suspended = state.serving.as_ref().is_some_and(|serving| serving.is_suspended);
        match state.holder.look(&self.plan) {
            Ok(Holding::NotHeld | Holding::Broken { .. }) if is_suspended => {
                Holding::Degraded { found: "suspended: the permission ran out and is being confirmed".into() }
            }
            Ok(Holding::Held) => self.heard_of(),
            Ok(holding) => holding,
            Err(error) => Holding::Unknown { reason: error.to_string() },
        }
    }

    /// The kernel has everything in place: what the network says of it.
    fn heard_of(&self) -> Holding {
        match self.plan.voice.as_ref().and_then(|voice| voice.trouble()) {
            None => Holding::Held,
            Some(Trouble::GivenUp(found)) => Holding::Broken { found },
            Some(Trouble::Doubted(found)) => Holding::Degraded { found },
        }
    }

    /// Whether somebody else has one of the addresses. Waits for answers; nothing is locked meanwhile.
    pub(crate) fn check_free(&self) -> Result<(), LinuxError> {
        let Some(voice) = &self.plan.voice else { return Ok(()) };
        let placed = self.plan.place(&mut self.state().holder.kernel)?;
        match voice.probe(&placed) {
            None => Ok(()),
            Some((address, mac)) => Err(LinuxError::TakenBy { address, mac }),
        }
    }

    pub(crate) fn former_settings(&self) -> Vec<(String, String)> {
        self.state().holder.settings.former().to_vec()
    }

    pub(crate) fn dismantle(&self) -> Result<(), LinuxError> {
        let mut state = self.state();
        state.serving = None;
        state.holder.dismantle(&self.plan)
    }

    /// Does what is due; how long nothing will be.
    pub(crate) fn turn(&self) -> Duration {
        let mut state = self.state();
        let State { holder, serving } = &mut *state;
        let Some(serving) = serving else { return IDLE };
        let now = BootClock.now();
        match serving.token.check(now) {
            Ok(permission) if serving.is_suspended => self.resume(holder, serving, permission, now),
            Ok(permission) => self.renew(holder, serving, permission, now),
            Err(_) => self.suspend(holder, serving),
        }
        self.look_again(holder, serving)
    }

    /// What was just put may have been delayed past the end of the permission (by a freeze between the look at the clock
    /// and the call): it is taken away again at once. How long nothing is due.
    fn look_again(&self, holder: &mut Holder, serving: &mut Serving) -> Duration {
        let now = BootClock.now();
        match serving.token.check(now) {
            Ok(permission) => {
                let next = permission.valid_until.min(serving.renew_at).min(serving.gate_at);
                next.since(now).max(Duration::from_micros(100))
            }
            Err(_) => {
                self.suspend(holder, serving);
                SUSPENDED_LOOK
            }
        }
    }

    fn suspend(&self, holder: &mut Holder, serving: &mut Serving) {
        if serving.is_suspended {
            return;
        }
        match holder.suspend(&self.plan) {
            Ok(()) => {
                (serving.is_suspended, serving.is_stuck) = (true, false);
                tracing::warn!(
                    resource = self.plan.name,
                    "the permission ran out: the addresses are taken away until it is confirmed"
                );
            }
            Err(error) if !serving.is_stuck => {
                serving.is_stuck = true;
                tracing::error!(resource = self.plan.name, %error, "the addresses cannot be taken away; they are no longer renewed, and it is tried again");
            }
            Err(_) => {}
        }
    }

    fn resume(&self, holder: &mut Holder, serving: &mut Serving, permission: RoleToken, now: Instant) {
        match holder.put(&self.plan, self.gate_span(permission, now)) {
            Ok(()) => {
                *serving = self.serving(serving.token.clone(), now);
                tracing::info!(
                    resource = self.plan.name,
                    "the permission was confirmed: the addresses are back"
                );
            }
            Err(error) => {
                tracing::error!(resource = self.plan.name, %error, "the addresses cannot be put back");
                (serving.renew_at, serving.gate_at) = (now + RETRY, now + RETRY);
            }
        }
    }

    fn renew(&self, holder: &mut Holder, serving: &mut Serving, permission: RoleToken, now: Instant) {
        if let Some(span) = self.gate_span(permission, now).filter(|_| now >= serving.gate_at) {
            serving.gate_at = now + self.gate_period();
            match holder.renew_gate(span) {
                Ok(()) => {}
                Err(error) if error.is_absent() => self.reopen(holder, serving),
                Err(error) => {
                    serving.gate_at = now + RETRY.min(self.gate_period());
                    tracing::error!(resource = self.plan.name, %error, "the gate is not renewed");
                }
            }
        }
        if now >= serving.renew_at {
            serving.renew_at = now + self.renewal_period();
            let renewed = if holder.is_placed() { holder.renew(&self.plan) } else { Ok(()) };
            // The interface may have been made anew under its name.
            let renewed = match renewed {
                Ok(()) if holder.is_placed() => Ok(()),
                Ok(()) | Err(_) => self.place_anew(holder, serving),
            };
            match renewed {
                Ok(()) => serving.is_stuck = false,
                Err(error) => {
                    serving.renew_at = now + RETRY;
                    if !serving.is_stuck {
                        serving.is_stuck = true;
                        tracing::error!(resource = self.plan.name, %error, "the addresses are not renewed; they are placed anew as soon as that goes");
                    }
                }
            }
        }
    }

    fn place_anew(&self, holder: &mut Holder, serving: &mut Serving) -> Result<(), LinuxError> {
        let now = BootClock.now();
        match serving.token.check(now) {
            Ok(permission) => holder.put(&self.plan, self.gate_span(permission, now)),
            Err(_) => Ok(()),
        }
    }

    /// The gate closed by itself: a renewal came too late. It opens again only for a permission that is valid *now*.
    fn reopen(&self, holder: &mut Holder, serving: &Serving) {
        let now = BootClock.now();
        let Some(span) = serving.token.check(now).ok().and_then(|permission| self.gate_span(permission, now))
        else {
            return;
        };
        tracing::warn!(resource = self.plan.name, "the gate had closed: this process was held up");
        if let Err(error) = holder.open_gate(span) {
            tracing::error!(resource = self.plan.name, %error, "the gate does not open");
        }
    }

    /// What the kernel told of.
    pub(crate) fn heard(&self, events: &[Event]) {
        let mut state = self.state();
        let State { holder, serving } = &mut *state;
        let Some(serving) = serving.as_ref().filter(|serving| !serving.is_suspended) else { return };
        let mut is_removed = false;
        for event in events {
            match event {
                Event::Link(link) if holder.is_on(link.nic.index) && !(link.is_up && link.has_carrier) => {
                    tracing::warn!(
                        resource = self.plan.name,
                        nic = link.nic.name,
                        up = link.is_up,
                        carrier = link.has_carrier,
                        "the interface lost its link"
                    );
                }
                Event::LinkGone(link) if holder.is_on(link.nic.index) => {
                    tracing::error!(resource = self.plan.name, nic = link.nic.name, "the interface is gone");
                }
                Event::AddressGone(gone)
                    if self.plan.serves(gone.address) && gone.flags.has(AddressFlags::DADFAILED) =>
                {
                    tracing::error!(resource = self.plan.name, address = %gone, "another host has the address");
                    holder.leave_to_another(gone);
                }
                Event::AddressGone(gone) if self.plan.serves(gone.address) => is_removed = true,
                Event::Resync { .. } => is_removed = true,
                Event::Link(_) | Event::LinkGone(_) | Event::Address(_) | Event::AddressGone(_) => {}
            }
        }
        if is_removed && serving.token.check(BootClock.now()).is_ok() {
            match holder.mend(&self.plan) {
                Ok(missing) => {
                    for address in missing {
                        tracing::warn!(resource = self.plan.name, %address, "somebody removed the address; it was put back");
                    }
                }
                Err(error) => {
                    tracing::error!(resource = self.plan.name, %error, "an address that was removed cannot be put back")
                }
            }
        }
    }

    /// For how long the gate may be open: never beyond the permission.
    fn gate_span(&self, permission: RoleToken, now: Instant) -> Option<Duration> {
        self.plan.gate.map(|gate| gate.min(permission.valid_until.since(now)))
    }

    fn gate_period(&self) -> Duration {
        self.plan.gate.map_or(IDLE, |gate| gate / GATE_SHARE)
    }

    fn renewal_period(&self) -> Duration {
        self.plan.seconds().map_or(IDLE, |seconds| Duration::from_secs(seconds.into()) / LIFETIME_SHARE)
    }
}
