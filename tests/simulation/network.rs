//! The network: real gRPC calls between the nodes of this process, over links that are slow, lossy or cut, in one direction or
//! both. A connection of a process that has ended is reset.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, StreamBody};
use parking_lot::Mutex;
use pharos_transport::{Connect, Connection};
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt;

use crate::env::{Env, Ms};

/// Time after which a connection over a link that is cut is closed by its keep-alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Time after which a new connection over a link that is cut fails.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A process: its name, and whether it has ended. A restarted node is another process.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) name: String,
    ended: watch::Sender<bool>,
}

impl Process {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Process { name: name.into(), ended: watch::Sender::new(false) }
    }

    /// Ends it: nobody hears from it any more.
    pub(crate) fn end(&self) {
        self.ended.send_replace(true);
    }

    pub(crate) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    async fn wait_for_end(&self) {
        let mut ended = self.ended.subscribe();
        let _ended = ended.wait_for(|ended| *ended).await;
    }
}

/// Rates of faults of all links, per thousand calls or messages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// Calls that fail, before or after their effect.
    pub(crate) loses: u64,
    /// Messages that take longer.
    pub(crate) delays: u64,
    /// How long they take at most.
    pub(crate) longest: Ms,
}

/// The network. Clones share it.
#[derive(Clone)]
pub(crate) struct Network {
    env: Env,
    state: Arc<Mutex<State>>,
    /// Changes with the links.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    served: BTreeMap<String, (Process, Routes)>,
    /// Links that are cut, by sender and receiver.
    cut: BTreeSet<(String, String)>,
    /// Links that are slow, with the time that each message takes.
    slow: BTreeMap<(String, String), Ms>,
    weather: Weather,
}

impl Network {
    pub(crate) fn new(env: Env) -> Self {
        Network { env, state: Arc::default(), changed: watch::Sender::new(0) }
    }

    /// Serves the routes of a process at its name.
    pub(crate) fn serve(&self, process: &Process, routes: Routes) {
        self.state.lock().served.insert(process.name.clone(), (process.clone(), routes));
    }

    pub(crate) fn cut(&self, from: &str, to: &str) {
        self.state.lock().cut.insert((from.into(), to.into()));
        self.changed.send_modify(|n| *n += 1);
    }

    pub(crate) fn heal(&self, from: &str, to: &str) {
        self.state.lock().cut.remove(&(from.into(), to.into()));
        self.changed.send_modify(|n| *n += 1);
    }

    pub(crate) fn slow(&self, from: &str, to: &str, ms: Ms) {
        self.state.lock().slow.insert((from.into(), to.into()), ms);
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.state.lock().weather = weather;
    }

    /// Repairs all links.
    pub(crate) fn repair(&self) {
        let mut state = self.state.lock();
        state.cut.clear();
        state.slow.clear();
        state.weather = Weather::default();
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }

    /// The network as a process sees it.
    pub(crate) fn link(&self, process: &Process) -> Arc<dyn Connect> {
        Arc::new(Link { network: self.clone(), from: process.clone() })
    }

    fn is_cut(&self, from: &str, to: &str) -> bool {
        self.state.lock().cut.contains(&(from.to_string(), to.to_string()))
    }

    /// How long the next message takes.
    fn delay(&self, from: &str, to: &str) -> Ms {
        let (slow, weather) = {
            let state = self.state.lock();
            (state.slow.get(&(from.to_string(), to.to_string())).copied().unwrap_or(0), state.weather)
        };
        let by_weather = if self.env.chance(weather.delays) { self.env.between(1, weather.longest.max(1)) } else { 0 };
        slow + by_weather + self.env.below(3)
    }

    /// Whether a call is lost.
    fn loses(&self) -> bool {
        let loses = self.state.lock().weather.loses;
        self.env.chance(loses / 2)
    }
}

struct Link {
    network: Network,
    from: Process,
}

impl Connect for Link {
    fn connect(&self, address: &str) -> Result<Connection, Status> {
        let (network, from, to) = (self.network.clone(), self.from.clone(), address.to_string());
        Ok(Connection::new(tower::service_fn(move |request: http::Request<Body>| {
            call(network.clone(), from.clone(), to.clone(), request)
        })))
    }
}

async fn call(
    network: Network,
    from: Process,
    to: String,
    request: http::Request<Body>,
) -> Result<http::Response<Body>, Status> {
    let served = network.state.lock().served.get(&to).cloned();
    let refused = || Status::unavailable(format!("{to} refuses connections"));
    let (server, routes) = served.filter(|(process, _)| !process.has_ended()).ok_or_else(refused)?;
    let there = Way { network: network.clone(), from: from.clone(), to: server.clone() };
    let back = Way { network: network.clone(), from: server, to: from };
    there.pass(CONNECT_TIMEOUT).await?;
    if network.loses() {
        return Err(Status::unavailable("the request was lost"));
    }
    let request = request.map(|body| there.carry(body));
    // It goes on when the caller has given up.
    let answer = tokio::spawn(routes.oneshot(request)).await.map_err(|e| Status::unavailable(e.to_string()))?;
    let answer = answer.unwrap_or_else(|never| match never {});
    if network.loses() {
        return Err(Status::unavailable("the answer was lost"));
    }
    back.pass(KEEP_ALIVE).await?;
    Ok(answer.map(|body| back.carry(body)))
}

/// One direction of a connection.
#[derive(Clone)]
struct Way {
    network: Network,
    from: Process,
    to: Process,
}

impl Way {
    /// Carries a message: waits as long as it takes. Fails when the link stays cut or a process ends.
    async fn pass(&self, patience: Duration) -> Result<(), Status> {
        let reset = || Status::unavailable("connection reset");
        let mut changed = self.network.changed.subscribe();
        let (from, to) = (&self.from.name, &self.to.name);
        let passing = async {
            changed.borrow_and_update();
            while self.network.is_cut(from, to) {
                let gone = changed.changed();
                tokio::time::timeout(patience, gone)
                    .await
                    .map_err(|_| Status::unavailable(format!("{to} is unreachable from {from}")))?
                    .map_err(|_| reset())?;
            }
            let delay = self.network.delay(from, to);
            if delay > 0 {
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            Ok(())
        };
        tokio::select! {
            biased;
            () = self.from.wait_for_end() => Err(reset()),
            () = self.to.wait_for_end() => Err(reset()),
            passed = passing => passed,
        }
    }

    /// A body whose messages come this way.
    fn carry(&self, body: Body) -> Body {
        let frames = futures::stream::unfold(Some((body, self.clone())), |carried| async {
            let (mut body, way) = carried?;
            let frame = tokio::select! {
                biased;
                () = way.from.wait_for_end() => Some(Err(Status::unavailable("connection reset"))),
                () = way.to.wait_for_end() => Some(Err(Status::unavailable("connection reset"))),
                frame = body.frame() => frame,
            };
            let frame = match frame? {
                Ok(frame) => way.pass(KEEP_ALIVE).await.map(|()| frame),
                Err(status) => Err(status),
            };
            let rest = frame.is_ok().then_some((body, way));
            Some((frame, rest))
        });
        Body::new(StreamBody::new(frames))
    }
}
