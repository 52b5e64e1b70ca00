//! All tenants of a head, by id.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::RwLock;
use pharos_model::TenantId;

use crate::config::{HeadConfig, SettingsByTenant};
use crate::tenant::{AppendState, Tenant};
use crate::window::{WindowPlan, WindowSchedule};

/// The tenants, and what a new one starts out with.
pub(crate) struct Tenants {
    by_id: RwLock<HashMap<TenantId, Arc<Tenant>>>,
    next_number: AtomicU32,
    shards: u32,
    plan: Arc<WindowPlan>,
    settings: RwLock<SettingsByTenant>,
    /// How many of the shards this head holds, which decides its share of the limits of a tenant.
    held_shards: AtomicU32,
}

/// The part of a tenant's limit that applies to some of its shards, rounded up. 0 stays 0.
pub(crate) fn share(limit: usize, held_shards: u32, shards: u32) -> usize {
    let scaled = (limit as u128 * u128::from(held_shards)).div_ceil(u128::from(shards.max(1)));
    usize::try_from(scaled).unwrap_or(limit).min(limit)
}

impl Tenants {
    pub(crate) fn new(config: &HeadConfig, plan: Arc<WindowPlan>) -> Self {
        Tenants {
            by_id: RwLock::default(),
            next_number: AtomicU32::new(0),
            shards: config.shards,
            plan,
            settings: RwLock::new(config.by_tenant()),
            held_shards: AtomicU32::new(config.shards),
        }
    }

    pub(crate) fn get(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        self.by_id.read().get(id).cloned()
    }

    pub(crate) fn get_or_create(&self, id: &TenantId) -> Arc<Tenant> {
        if let Some(tenant) = self.get(id) {
            return tenant;
        }
        let mut by_id = self.by_id.write();
        let create = || {
            let number = self.next_number.fetch_add(1, Ordering::Relaxed);
            let settings = self.settings.read().of(id);
            let held = self.held_shards.load(Ordering::Relaxed);
            Arc::new(Tenant::new(id.clone(), number, (self.shards, held), self.plan.clone(), settings))
        };
        by_id.entry(id.clone()).or_insert_with(create).clone()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Tenant>> {
        self.by_id.read().values().cloned().collect()
    }

    /// Replaces the schedule of windows. Windows that exist must be the same in both.
    pub(crate) fn set_schedule(&self, schedule: &Arc<WindowSchedule>) {
        let by_id = self.by_id.write();
        self.plan.set_schedule(schedule.clone());
        by_id.values().for_each(|tenant| tenant.flushed.write().schedule = schedule.clone());
    }

    /// Replaces the settings of all tenants, present and future.
    pub(crate) fn set_settings(&self, settings: SettingsByTenant) {
        let replace = || *self.settings.write() = settings.clone();
        self.update(replace, |id, state| state.settings = settings.of(id));
    }

    /// Sets how many shards this head holds, for all tenants, present and future.
    pub(crate) fn set_held_shards(&self, held_shards: u32) {
        let held_shards = held_shards.clamp(1, self.shards);
        let replace = || self.held_shards.store(held_shards, Ordering::Relaxed);
        self.update(replace, |_, state| state.held_shards = held_shards);
    }

    /// Changes what new tenants start out with, then every tenant.
    fn update(&self, change_default: impl FnOnce(), change: impl Fn(&TenantId, &mut AppendState)) {
        let tenants: Vec<_> = {
            // Under the lock that guards the creation of tenants, so that none is created with the old values after this.
            let by_id = self.by_id.write();
            change_default();
            by_id.values().cloned().collect()
        };
        for tenant in tenants {
            let (max_exemplars, held_shards) = {
                let mut state = tenant.append.lock();
                change(&tenant.id, &mut state);
                (state.settings.max_exemplars, state.held_shards)
            };
            tenant.exemplars.lock().set_capacity(share(max_exemplars, held_shards, self.shards));
        }
    }
}
