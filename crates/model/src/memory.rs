//! The account of the memory that requests make the process hold: bodies, what they decode to, what queries compute, and
//! responses that wait for their clients.
//!
//! A request opens a [`Hold`] and draws on it as it grows; dropping the hold returns everything. The account is bounded for all
//! requests, for those of each tenant, and for some purposes. Drawing takes three atomic additions and no lock, so requests draw
//! for every step by which they grow and not for every sample.
//!
//! Invariants: the counters are the sums of the bytes of the holds that live. No counter is beyond its limit.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::tenant::TenantId;

/// What a request holds memory for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Bodies of pushes, and the samples that they decode to.
    Push,
    /// Parameters and bodies of queries, and what they select and compute.
    Query,
    /// Responses that wait for their clients.
    Response,
    /// Bodies of targets.
    Scrape,
}

impl Purpose {
    /// All purposes.
    pub const ALL: [Purpose; 4] = [Purpose::Push, Purpose::Query, Purpose::Response, Purpose::Scrape];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Push => "push",
            Purpose::Query => "query",
            Purpose::Response => "response",
            Purpose::Scrape => "scrape",
        }
    }
}

/// The limits of an account, bytes. `u64::MAX` means no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// All requests, `limits.max_request_memory`.
    pub all: u64,
    /// The requests of a tenant that has no limit of its own, `limits.defaults.max_request_memory`.
    pub of_a_tenant: u64,
    /// The requests of single tenants, `limits.overrides`.
    pub own: HashMap<TenantId, u64>,
    /// All pushes, `limits.max_inflight_requests_size`.
    pub pushes: u64,
    /// All responses that wait for their clients, `--web.max-unsent-bytes`.
    pub responses: u64,
}

impl MemoryLimits {
    /// No limits.
    pub fn unlimited() -> Self {
        let (none, own) = (u64::MAX, HashMap::new());
        MemoryLimits { all: none, of_a_tenant: none, own, pushes: none, responses: none }
    }

    fn of_purpose(&self, purpose: Purpose) -> u64 {
        match purpose {
            Purpose::Push => self.pushes,
            Purpose::Response => self.responses,
            Purpose::Query | Purpose::Scrape => u64::MAX,
        }
    }

    fn of_tenant(&self, tenant: &TenantId) -> u64 {
        self.own.get(tenant).copied().unwrap_or(self.of_a_tenant)
    }
}

/// Whose limit a request would exceed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// That of a tenant.
    Tenant(TenantId),
    /// That of all requests for a purpose.
    Purpose(Purpose),
    /// That of all requests.
    All,
}

/// A request needs more memory than is left for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryFull {
    /// Whose limit it would exceed.
    pub exceeded: Exceeded,
    /// The bytes that are held.
    pub held: u64,
    /// The bytes that the request needs besides.
    pub more: u64,
    /// The limit, bytes.
    pub limit: u64,
}

impl fmt::Display for MemoryFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MemoryFull { exceeded, held, more, limit } = self;
        match exceeded {
            Exceeded::Tenant(tenant) => write!(f, "requests of tenant {tenant} hold"),
            Exceeded::Purpose(Purpose::Push) => f.write_str("pushes in flight hold"),
            Exceeded::Purpose(Purpose::Response) => f.write_str("responses that wait for their clients hold"),
            Exceeded::Purpose(Purpose::Query | Purpose::Scrape) | Exceeded::All => f.write_str("requests hold"),
        }?;
        let name = match exceeded {
            Exceeded::Tenant(_) => "max_request_memory of the tenant",
            Exceeded::Purpose(Purpose::Push) => "max_inflight_requests_size",
            Exceeded::Purpose(Purpose::Response) => "--web.max-unsent-bytes",
            Exceeded::Purpose(Purpose::Query | Purpose::Scrape) | Exceeded::All => "max_request_memory",
        };
        write!(f, " {held} bytes and this one needs {more} more, over the limit {name}, {limit} bytes")
    }
}

impl std::error::Error for MemoryFull {}

impl MemoryFull {
    /// Whether the limit is one of the tenant, so that other tenants are not affected.
    pub fn is_of_tenant(&self) -> bool {
        matches!(self.exceeded, Exceeded::Tenant(_))
    }
}

/// A number of bytes that requests hold.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    /// Adds bytes, unless that would exceed the limit; returns what is held then.
    fn add(&self, bytes: u64, limit: u64) -> Result<(), u64> {
        let sum = |held: u64| held.checked_add(bytes).filter(|sum| *sum <= limit);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).map(|_| ())
    }

    fn subtract(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the requests of one tenant hold.
#[derive(Debug)]
struct Share {
    tenant: TenantId,
    limit: AtomicU64,
    held: Counter,
}

/// The memory of all requests.
#[derive(Debug)]
pub struct MemoryAccount {
    limits: RwLock<MemoryLimits>,
    /// The limit of all requests and those of the purposes, which are not changed by a reload.
    all: u64,
    by_purpose: [u64; 4],
    held: Counter,
    held_by_purpose: [Counter; 4],
    /// The tenants with holds, and how many each has.
    shares: Mutex<HashMap<TenantId, (Arc<Share>, usize)>>,
    refused: AtomicU64,
}

impl MemoryAccount {
    /// An account with these limits.
    pub fn new(limits: MemoryLimits) -> Arc<Self> {
        Arc::new(MemoryAccount {
            all: limits.all,
            by_purpose: Purpose::ALL.map(|purpose| limits.of_purpose(purpose)),
            limits: RwLock::new(limits),
            held: Counter::default(),
            held_by_purpose: Default::default(),
            shares: Mutex::default(),
            refused: AtomicU64::new(0),
        })
    }

    /// An account without limits, for tests and tools.
    pub fn unlimited() -> Arc<Self> {
        Self::new(MemoryLimits::unlimited())
    }

    /// Replaces the limits of tenants. The others stay.
    pub fn set_tenant_limits(&self, of_a_tenant: u64, own: HashMap<TenantId, u64>) {
        let mut limits = self.limits.write().unwrap_or_else(PoisonError::into_inner);
        (limits.of_a_tenant, limits.own) = (of_a_tenant, own);
        for (share, _) in self.shares().values() {
            share.limit.store(limits.of_tenant(&share.tenant), Ordering::Relaxed);
        }
    }

    /// The limit of all requests, bytes.
    pub fn limit(&self) -> u64 {
        self.all
    }

    /// The bytes that all requests hold.
    pub fn held(&self) -> u64 {
        self.held.get()
    }

    /// The bytes that requests hold for a purpose.
    pub fn held_for(&self, purpose: Purpose) -> u64 {
        self.held_by_purpose[purpose as usize].get()
    }

    /// How often a request was refused more memory.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// A hold of no bytes for a request of a tenant.
    pub fn open(self: &Arc<Self>, tenant: &TenantId, purpose: Purpose) -> Hold {
        let limits = self.limits.read().unwrap_or_else(PoisonError::into_inner);
        let mut shares = self.shares();
        let (share, holds) = shares.entry(tenant.clone()).or_insert_with(|| {
            let limit = limits.of_tenant(tenant).into();
            (Arc::new(Share { tenant: tenant.clone(), limit, held: Counter::default() }), 0)
        });
        *holds += 1;
        let share = share.clone();
        drop(shares);
        Hold { account: self.clone(), share, purpose, bytes: AtomicU64::new(0) }
    }

    fn shares(&self) -> MutexGuard<'_, HashMap<TenantId, (Arc<Share>, usize)>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, share: &Share, purpose: Purpose, bytes: u64) -> Result<(), MemoryFull> {
        let full = |exceeded, limit| {
            move |held| {
                self.refused.fetch_add(1, Ordering::Relaxed);
                MemoryFull { exceeded, held, more: bytes, limit }
            }
        };
        let of_tenant = share.limit.load(Ordering::Relaxed);
        share.held.add(bytes, of_tenant).map_err(full(Exceeded::Tenant(share.tenant.clone()), of_tenant))?;
        let (for_purpose, of_purpose) = (&self.held_by_purpose[purpose as usize], self.by_purpose[purpose as usize]);
        if let Err(held) = for_purpose.add(bytes, of_purpose) {
            share.held.subtract(bytes);
            return Err(full(Exceeded::Purpose(purpose), of_purpose)(held));
        }
        if let Err(held) = self.held.add(bytes, self.all) {
            share.held.subtract(bytes);
            for_purpose.subtract(bytes);
            return Err(full(Exceeded::All, self.all)(held));
        }
        Ok(())
    }

    fn give_back(&self, share: &Share, purpose: Purpose, bytes: u64) {
        share.held.subtract(bytes);
        self.held_by_purpose[purpose as usize].subtract(bytes);
        self.held.subtract(bytes);
    }
}

/// The bytes that one request holds, returned when it is dropped.
#[derive(Debug)]
pub struct Hold {
    account: Arc<MemoryAccount>,
    share: Arc<Share>,
    purpose: Purpose,
    bytes: AtomicU64,
}

impl Hold {
    /// Draws bytes from the account.
    ///
    /// # Errors
    /// They would exceed a limit. Nothing is drawn then.
    pub fn draw(&self, bytes: u64) -> Result<(), MemoryFull> {
        self.account.draw(&self.share, self.purpose, bytes)?;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Returns bytes that were drawn.
    pub fn give_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.account.give_back(&self.share, self.purpose, bytes);
    }

    /// The bytes that the request holds.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.account.give_back(&self.share, self.purpose, self.bytes());
        let mut shares = self.account.shares();
        if let Some((_, holds)) = shares.get_mut(&self.share.tenant) {
            *holds -= 1;
            if *holds == 0 {
                shares.remove(&self.share.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests;
