//! A network that loses, delays and repeats messages, and that can be cut.

use std::collections::BTreeSet;

use super::env::{Life, Ms, Node};
use super::rng::Rng;

/// What becomes of a message.
pub enum Fate {
    /// Nothing.
    Lost,
    /// Nobody listens at its destination, as the sender learns after this time.
    Refused(Ms),
    /// It arrives after each of these times.
    Arrives(Vec<Ms>),
}

/// See the module.
pub struct Network {
    rng: Rng,
    /// How many messages of a thousand are lost.
    pub loses: u64,
    /// How many of a thousand arrive twice.
    pub repeats: u64,
    /// How many of a thousand are late.
    pub delays: u64,
    /// How late, at most.
    pub longest_delay: Ms,
    /// Ways that nothing gets through, one direction each.
    cut: BTreeSet<(Node, Node)>,
}

impl Network {
    /// A network that works.
    pub fn new(rng: Rng) -> Self {
        Network { rng, loses: 0, repeats: 0, delays: 0, longest_delay: 0, cut: BTreeSet::new() }
    }

    /// Cuts one direction.
    pub fn cut(&mut self, from: Node, to: Node) {
        self.cut.insert((from, to));
    }

    /// Mends all ways to and from a node.
    pub fn mend(&mut self, node: Node) {
        self.cut.retain(|(from, to)| *from != node && *to != node);
    }

    /// The network works from now on.
    pub fn heal(&mut self) {
        self.cut.clear();
        (self.loses, self.repeats, self.delays) = (0, 0, 0);
    }

    /// Whether a message would get through, as far as cuts go.
    pub fn is_open(&self, from: Node, to: Node) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// What becomes of a message.
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
