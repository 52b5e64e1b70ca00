//! A network that loses, delays and repeats messages, and whose links can be cut.

use std::collections::BTreeSet;

use super::env::{Life, Ms, Node};
use pharos_testkit::Rng;

/// The fate of a message.
pub enum Fate {
    /// The message is lost.
    Lost,
    /// The destination refuses the connection, which the sender learns after this time.
    Refused(Ms),
    /// The message arrives once after each of these delays.
    Arrives(Vec<Ms>),
}

/// The network of a run and its current faults.
pub struct Network {
    rng: Rng,
    /// Messages in a thousand that are lost.
    pub loses: u64,
    /// Messages in a thousand that arrive twice.
    pub repeats: u64,
    /// Messages in a thousand that are late.
    pub delays: u64,
    /// Maximum delay of a late message.
    pub longest_delay: Ms,
    /// Links that are cut, one direction each.
    cut: BTreeSet<(Node, Node)>,
}

impl Network {
    /// Creates a network without faults.
    pub fn new(rng: Rng) -> Self {
        Network { rng, loses: 0, repeats: 0, delays: 0, longest_delay: 0, cut: BTreeSet::new() }
    }

    /// Cuts the link between two nodes in one direction.
    pub fn cut(&mut self, from: Node, to: Node) {
        self.cut.insert((from, to));
    }

    /// Restores all links of a node.
    pub fn restore(&mut self, node: Node) {
        self.cut.retain(|(from, to)| *from != node && *to != node);
    }

    /// Removes all faults.
    pub fn heal(&mut self) {
        self.cut.clear();
        (self.loses, self.repeats, self.delays) = (0, 0, 0);
    }

    /// Returns whether a link is intact in one direction.
    pub fn is_open(&self, from: Node, to: Node) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// Draws the fate of a message.
    pub fn fate(&mut self, from: Node, to: Node, receiver: &Life) -> Fate {
        if !self.is_open(from, to) || self.rng.chance(self.loses) {
            return Fate::Lost;
        }
        if !receiver.up {
            let answers = self.is_open(to, from) && receiver.machine_answers;
            return if answers { Fate::Refused(self.rng.between(1, 3)) } else { Fate::Lost };
        }
        let mut delays = vec![self.delay()];
        if self.rng.chance(self.repeats) {
            delays.push(self.delay());
        }
        Fate::Arrives(delays)
    }

    fn delay(&mut self) -> Ms {
        if self.rng.chance(self.delays) {
            self.rng.between(5, self.longest_delay.max(5))
        } else {
            self.rng.between(1, 4)
        }
    }
}
