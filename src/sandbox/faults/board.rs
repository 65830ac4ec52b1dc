//! Which faults are set, and which of them strikes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use super::super::STAND_INS;

const LONGEST_MS: u64 = 600_000;
/// How many faults a stand-in can have at a time.
const MOST: usize = 16;

/// A fault as it is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retry_after: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Status,
    Answer,
    Delay,
    DelayAfterWork,
    Hold,
    HoldAfterWork,
    Hang,
    Close,
    CloseAfterWork,
    Garbage,
    Truncate,
    Huge,
    SlowBody,
}

impl Fault {
    fn check(&self) -> Result<(), String> {
        let takes_ms = matches!(self.kind, Kind::Delay | Kind::DelayAfterWork | Kind::SlowBody);
        if takes_ms != self.ms.is_some_and(|ms| ms <= LONGEST_MS)
            || (!takes_ms && self.ms.is_some())
        {
            return Err(format!(
                "`ms` (at most {LONGEST_MS}) belongs to delay, delay_after_work and slow_body"
            ));
        }
        let valid_status = self.status.is_some_and(|status| (200..=599).contains(&status));
        let is_status = matches!(self.kind, Kind::Status | Kind::Answer);
        if is_status != valid_status || (!is_status && self.status.is_some()) {
            return Err("`status` (200..=599) belongs to status and answer".into());
        }
        if self.retry_after.is_some() && !is_status {
            return Err("`retry_after` belongs to status and answer".into());
        }
        if self.body.is_some() != (self.kind == Kind::Answer) {
            return Err("`body` belongs to answer".into());
        }
        if self.times == Some(0) {
            return Err("`times` must be at least 1".into());
        }
        Ok(())
    }

    pub(super) fn pause(&self) -> Duration {
        Duration::from_millis(self.ms.unwrap_or_default())
    }
}

/// As they are listed: one, or several.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Faults {
    One(Fault),
    Several(Vec<Fault>),
}

/// The faults of a stand-in.
struct Set {
    left: Vec<Fault>,
    /// Goes with them: whoever is held by one of them is let go.
    hold: watch::Sender<()>,
}

/// A fault that strikes.
pub(super) struct Strike {
    pub(super) fault: Fault,
    hold: watch::Receiver<()>,
}

impl Strike {
    /// Waits until the faults of the stand-in are cleared or others are set.
    pub(super) async fn let_go(&mut self) {
        while self.hold.changed().await.is_ok() {}
    }
}

/// The faults that are set for each stand-in.
#[derive(Default)]
pub(in super::super) struct Board(Mutex<BTreeMap<&'static str, Set>>);

impl Board {
    pub(in super::super) fn set(
        &self,
        stand_in: &str,
        fault: serde_json::Value,
    ) -> Result<(), String> {
        let name = STAND_INS.iter().find(|name| **name == stand_in);
        let name = name.ok_or_else(|| format!("there is no stand-in `{stand_in}`"))?;
        let faults = if fault.is_array() { fault } else { json!([fault]) };
        let left: Vec<Fault> = serde_json::from_value(faults).map_err(|error| error.to_string())?;
        if left.is_empty() || left.len() > MOST {
            return Err(format!("a list has 1 to {MOST} faults"));
        }
        left.iter().try_for_each(Fault::check)?;
        self.lock().insert(name, Set { left, hold: watch::Sender::new(()) });
        Ok(())
    }

    pub(in super::super) fn clear(&self, stand_in: &str) {
        self.lock().remove(stand_in);
    }

    /// The fault that strikes a request of `path`, if one does.
    pub(super) fn strike(&self, stand_in: &str, path: &str) -> Option<Strike> {
        let mut board = self.lock();
        let set = board.get_mut(stand_in)?;
        let strikes =
            |fault: &Fault| fault.route.as_ref().is_none_or(|route| path.contains(route.as_str()));
        let index = set.left.iter().position(strikes)?;
        let fault = set.left.get_mut(index)?;
        let strike = Strike { fault: fault.clone(), hold: set.hold.subscribe() };
        match &mut fault.times {
            Some(1) => drop(set.left.remove(index)),
            Some(times) => *times -= 1,
            None => {}
        }
        Some(strike)
    }

    pub(super) fn list(&self) -> BTreeMap<&'static str, Faults> {
        let board = self.lock();
        let set = board.iter().filter(|(_, set)| !set.left.is_empty());
        let faults = set.map(|(name, set)| {
            let faults = match set.left.as_slice() {
                [fault] => Faults::One(fault.clone()),
                faults => Faults::Several(faults.to_vec()),
            };
            (*name, faults)
        });
        faults.collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Set>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn faults_that_mean_nothing_are_refused() {
        let board = Board::default();
        for fault in [
            json!({}),
            json!({"kind": "earthquake"}),
            json!({"kind": "status"}),
            json!({"kind": "status", "status": 99}),
            json!({"kind": "delay"}),
            json!({"kind": "delay", "ms": 600_001}),
            json!({"kind": "hang", "ms": 1}),
            json!({"kind": "hold", "ms": 1}),
            json!({"kind": "close", "status": 500}),
            json!({"kind": "close", "times": 0}),
            json!({"kind": "close", "retry_after": 1}),
            json!({"kind": "close", "when": "now"}),
            json!({"kind": "close", "body": {}}),
            json!({"kind": "answer", "status": 409}),
            json!({"kind": "answer", "body": {}}),
            json!({"kind": "delay_after_work"}),
            json!([]),
            json!([{"kind": "close"}, {"kind": "delay"}]),
            json!(vec![json!({"kind": "close"}); MOST + 1]),
        ] {
            assert!(board.set("personal", fault.clone()).is_err(), "{fault}");
        }
        assert!(board.set("nobody", json!({"kind": "close"})).is_err());
    }

    #[test]
    fn a_fault_strikes_its_route_so_many_times() {
        let board = Board::default();
        board.set("personal", json!({"kind": "close", "route": "/find", "times": 2})).unwrap();
        assert!(board.strike("personal", "/personal/v1/phones/store").is_none());
        for _ in 0..2 {
            assert!(board.strike("personal", "/personal/v1/phones/find").is_some());
        }
        assert!(board.strike("personal", "/personal/v1/phones/find").is_none());
    }

    #[test]
    fn of_several_faults_the_first_that_fits_strikes() {
        let board = Board::default();
        let faults = json!([
            {"kind": "close_after_work", "route": "/commit", "times": 1},
            {"kind": "answer", "status": 409, "body": {"code": "commit_in_progress"},
             "route": "/commit", "retry_after": 1, "times": 1},
            {"kind": "hang", "route": "/info"},
        ]);
        board.set("int-api", faults).unwrap();
        let kind = |path| board.strike("int-api", path).map(|strike| strike.fault.kind);
        assert_eq!(kind("/int-api/v1/orders/info"), Some(Kind::Hang));
        assert_eq!(kind("/int-api/v1/orders/commit"), Some(Kind::CloseAfterWork));
        assert_eq!(kind("/int-api/v1/orders/commit"), Some(Kind::Answer));
        assert_eq!(kind("/int-api/v1/orders/commit"), None);
        assert_eq!(kind("/int-api/v1/orders/info"), Some(Kind::Hang));
        board.clear("int-api");
        assert_eq!(kind("/int-api/v1/orders/info"), None);
    }

    #[tokio::test]
    async fn who_is_held_is_let_go_when_the_faults_go() {
        let board = Board::default();
        let hold = json!({"kind": "hold", "times": 1});
        for others in [None, Some(hold.clone())] {
            board.set("personal", hold.clone()).unwrap();
            let mut strike = board.strike("personal", "/").unwrap();
            assert!(board.strike("personal", "/").is_none());
            assert!(strike.let_go().now_or_never().is_none());
            match others {
                None => board.clear("personal"),
                Some(others) => board.set("personal", others).unwrap(),
            }
            strike.let_go().await;
        }
    }
}
