//! Processes that are killed and replaced while they are called.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use actix_web::http::Method;
use serde_json::Value;

use super::rig::limit;
use crate::support::PATIENCE;
use crate::support::client::{Caller, Reply};
use crate::support::process::Server;

/// Between a call that was not answered and the next.
const PAUSE: Duration = Duration::from_millis(20);
/// What a client says that found nobody: nothing was under way. (A connection that ends is "disconnected".)
const NOBODY: &str = "refused";

/// Several with one configuration.
pub struct Processes {
    config: String,
    env: Vec<(&'static str, &'static str)>,
    running: RefCell<Vec<Server>>,
    roots: RefCell<Vec<Caller>>,
    said: RefCell<String>,
    cut: Cell<usize>,
}

impl Processes {
    /// So many, all ready.
    pub async fn start(count: usize, config: String, env: &[(&'static str, &'static str)]) -> Self {
        let processes = Self {
            config,
            env: env.to_vec(),
            running: RefCell::default(),
            roots: RefCell::default(),
            said: RefCell::default(),
            cut: Cell::new(0),
        };
        for _ in 0..count {
            let mut server = Server::spawn(&processes.config, &processes.env);
            server.wait_for("readyz", 200).await;
            processes.enlist(server);
        }
        processes
    }

    fn enlist(&self, server: Server) {
        self.roots.borrow_mut().push(server.anonymous());
        self.running.borrow_mut().push(server);
    }

    pub fn count(&self) -> usize {
        self.running.borrow().len()
    }

    /// Kills one without a warning, and starts another, which need not be ready yet.
    pub async fn replace(&self, victim: usize) {
        let mut killed = self.running.borrow_mut().remove(victim);
        self.roots.borrow_mut().remove(victim);
        killed.signal("KILL");
        assert!(killed.wait(PATIENCE).await.is_some(), "it is killed");
        self.said.borrow_mut().push_str(&killed.output());
        self.enlist(Server::spawn(&self.config, &self.env));
    }

    /// Everything that they wrote, those that were killed too.
    pub fn said(&self) -> String {
        let running = self.running.borrow();
        self.said.borrow().clone() + &running.iter().map(Server::output).collect::<String>()
    }

    /// Whichever is there, without a token.
    pub fn root(&self, number: usize) -> Caller {
        let roots = self.roots.borrow();
        roots[number % roots.len()].clone()
    }

    /// How many calls ended without an answer though somebody had taken them.
    pub fn cut(&self) -> usize {
        self.cut.get()
    }

    /// Calls one process after another, until one answers for good.
    pub async fn call(
        &self,
        number: usize,
        dress: impl Fn(Caller) -> Caller,
        (method, path, body): (Method, &str, Option<&Value>),
    ) -> Reply {
        let started = Instant::now();
        for attempt in number.. {
            let caller = dress(self.root(attempt));
            match caller.try_send(method.clone(), path, body.map(Value::to_string)).await {
                Ok(reply) if is_final(&reply) => return reply,
                Ok(_) => {}
                Err(error) => self.cut.set(self.cut() + usize::from(!error.contains(NOBODY))),
            }
            assert!(started.elapsed() < limit(), "{method} {path}: never answered");
            tokio::time::sleep(PAUSE).await;
        }
        unreachable!("numbers do not end")
    }
}

/// Whether it is no use to call again.
fn is_final(reply: &Reply) -> bool {
    let is_busy = [429, 502, 503, 504].contains(&reply.status);
    let is_under_way =
        || reply.status == 409 && reply.json()["code"] == "idempotency_key_in_progress";
    !is_busy && !is_under_way()
}
