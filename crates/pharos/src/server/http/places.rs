//! The places for connections, and which connection makes room when all are taken.
//!
//! A new connection is not turned away while another one only waits for its client: the peer with the most connections gives up the one that has
//! waited longest. So neither idle clients nor strangers who open connections and say nothing can shut others out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::activity::Activity;

/// How long a connection must have waited for its client before it makes room.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause before looking again for a connection that can make room.
const RETRY: Duration = Duration::from_millis(100);

/// A limited number of places for connections.
pub(super) struct Places {
    capacity: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Default)]
struct Taken {
    next: u64,
    by_number: HashMap<u64, Taker>,
}

struct Taker {
    peer: IpAddr,
    activity: Arc<Activity>,
    closing: Arc<Notify>,
    /// Whether it was told to make room.
    is_closing: bool,
}

/// A taken place. It is free again when this is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    closing: Arc<Notify>,
}

impl Places {
    /// Creates `capacity` places.
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Places { capacity, taken: Mutex::default(), freed: Notify::new() })
    }

    /// Takes a place. If none is free, tells a connection that waits for its client to close, and waits for a place.
    pub(super) async fn take(self: &Arc<Self>, peer: IpAddr, activity: &Arc<Activity>) -> Place {
        loop {
            let freed = self.freed.notified();
            if let Some(place) = self.try_take(peer, activity) {
                return place;
            }
            // Elapsed or freed: either way, look again.
            let _elapsed = tokio::time::timeout(RETRY, freed).await;
        }
    }

    fn try_take(self: &Arc<Self>, peer: IpAddr, activity: &Arc<Activity>) -> Option<Place> {
        let mut taken = self.taken.lock();
        if taken.by_number.len() >= self.capacity {
            taken.make_room();
            return None;
        }
        let (number, closing) = (taken.next, Arc::new(Notify::new()));
        taken.next += 1;
        let taker = Taker { peer, activity: activity.clone(), closing: closing.clone(), is_closing: false };
        taken.by_number.insert(number, taker);
        Some(Place { places: self.clone(), number, closing })
    }
}

impl Taken {
    /// Tells one connection to close, unless one is closing already. A connection whose request is being served does not count: it
    /// closes only afterwards, which may take long.
    fn make_room(&mut self) {
        if self.by_number.values().any(|taker| taker.is_closing && taker.activity.waited().is_some()) {
            return;
        }
        let mut of_peer: HashMap<IpAddr, usize> = HashMap::new();
        for taker in self.by_number.values() {
            *of_peer.entry(taker.peer).or_default() += 1;
        }
        let can_close = |taker: &&mut Taker| !taker.is_closing && !taker.activity.is_trusted();
        let waiting = self.by_number.values_mut().filter(can_close).filter_map(|taker| {
            let waited = taker.activity.waited().filter(|waited| *waited >= PATIENCE)?;
            Some((of_peer.get(&taker.peer).copied().unwrap_or(0), waited, taker))
        });
        if let Some((_, _, taker)) = waiting.max_by_key(|(connections, waited, _)| (*connections, *waited)) {
            taker.is_closing = true;
            taker.closing.notify_one();
        }
    }
}

impl Place {
    /// Returns when the connection has to make room for another one.
    pub(super) async fn closing(&self) {
        self.closing.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.lock().by_number.remove(&self.number);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    #[tokio::test(start_paused = true)]
    async fn the_peer_with_the_most_connections_makes_room() {
        let places = Places::new(3);
        let lone = places.take(peer(1), &Activity::new()).await;
        tokio::time::advance(Duration::from_secs(2)).await;
        let second = places.take(peer(2), &Activity::new()).await;
        tokio::time::advance(Duration::from_secs(2)).await;
        let third = places.take(peer(2), &Activity::new()).await;
        let newcomer = Activity::new();
        let (place, ()) = tokio::join!(places.take(peer(3), &newcomer), async {
            second.closing().await;
            drop(second);
        });
        assert_eq!(places.taken.lock().by_number.len(), 3);
        drop((lone, third, place));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_are_served_or_trusted_stay() {
        let places = Places::new(2);
        let (served, trusted) = (Activity::new(), Activity::new());
        let (one, two) = (places.take(peer(1), &served).await, places.take(peer(1), &trusted).await);
        let exchange = served.begin();
        trusted.trust();
        let newcomer = Activity::new();
        let full = tokio::time::timeout(Duration::from_secs(60), places.take(peer(2), &newcomer));
        assert!(full.await.is_err(), "nobody makes room");
        exchange.wait_for_client();
        let (place, ()) = tokio::join!(places.take(peer(2), &newcomer), async {
            one.closing().await;
            drop(one);
        });
        drop((place, two, exchange));
    }
}
