//! Commands on their way to meta. They are sent again until they are answered or time out, as
//! `pharos_cluster::Meta::propose` does. So meta may receive a command twice, and late.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_cluster::Command;

use super::PROPOSE_MS;
use super::env::{Env, Ms, Node};
use super::messages::{Message, Timer};

struct Open<T> {
    command: Arc<Command>,
    deadline: Ms,
    then: T,
}

/// The unanswered commands of a node, each with its continuation.
pub struct Proposals<T>(BTreeMap<u64, Open<T>>);

impl<T> Default for Proposals<T> {
    fn default() -> Self {
        Proposals(BTreeMap::new())
    }
}

impl<T> Proposals<T> {
    /// Sends a command to meta. `then` is its continuation.
    pub fn propose(&mut self, env: &mut Env, me: Node, command: impl Into<Command>, then: T) {
        let (number, command) = (env.number(), Arc::new(command.into()));
        let deadline = env.now + PROPOSE_MS;
        self.0.insert(number, Open { command: command.clone(), deadline, then });
        env.send(me, Node::Meta, Message::Propose { number, command });
        let after = env.rng.between(300, 1500);
        env.wake(me, after, Timer::Retry(number));
    }

    /// Removes a command that was answered, and returns its continuation.
    pub fn answered(&mut self, number: u64) -> Option<T> {
        self.0.remove(&number).map(|open| open.then)
    }

    /// Sends a command again. After its deadline, gives up and returns its continuation.
    pub fn retry(&mut self, env: &mut Env, me: Node, number: u64) -> Option<T> {
        let open = self.0.get(&number)?;
        if env.now >= open.deadline {
            return self.answered(number);
        }
        let command = open.command.clone();
        env.send(me, Node::Meta, Message::Propose { number, command });
        let after = env.rng.between(300, 1500);
        env.wake(me, after, Timer::Retry(number));
        None
    }
}
