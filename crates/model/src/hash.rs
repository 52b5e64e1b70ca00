//! The series hash, which places a series in the hash space of the cluster: xxh3-64 over tenant and sorted labels.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::tenant::TenantId;

/// xxh3-64 of the canonical labels, seeded with xxh3-64 of the tenant's name. Blocks store it, so it never changes.
pub type SeriesHash = u64;

/// The hash of a series whose canonical labels ([`crate::Labels::as_bytes`]) are `canonical`.
pub fn series_hash(tenant: &TenantId, canonical: &[u8]) -> SeriesHash {
    xxh3_64_with_seed(canonical, xxh3_64(tenant.as_str().as_bytes()))
}

/// The hash of a metric family's name, which places the family's metadata in the hash space.
pub fn name_hash(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

/// The shard of a series among `shards` shards.
pub fn shard_of(hash: SeriesHash, shards: u32) -> u32 {
    (hash % u64::from(shards.max(1))) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Labels;

    #[test]
    fn the_hash_is_pinned_and_depends_on_the_tenant() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "node")]);
        let anonymous = series_hash(&TenantId::default(), labels.as_bytes());
        assert_ne!(anonymous, series_hash(&TenantId::new("other").unwrap(), labels.as_bytes()));
        assert_eq!(anonymous, series_hash(&TenantId::default(), labels.as_bytes()));
        assert_eq!(shard_of(anonymous, 64), (anonymous % 64) as u32);
    }
}
