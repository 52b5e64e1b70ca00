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

    const PINNED_SERIES: u64 = 4_282_965_426_438_325_675;
    const PINNED_NAME: u64 = 15_936_427_031_111_332_196;

    #[test]
    fn the_hash_of_a_series_is_pinned() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "node")]);
        assert_eq!(series_hash(&TenantId::default(), labels.as_bytes()), PINNED_SERIES);
        assert_eq!(name_hash("up"), PINNED_NAME);
    }

    #[test]
    fn the_hash_depends_on_the_tenant() {
        let labels = Labels::from_pairs([("__name__", "up")]);
        let other = TenantId::new("other").unwrap();
        let anonymous = series_hash(&TenantId::default(), labels.as_bytes());
        assert_ne!(anonymous, series_hash(&other, labels.as_bytes()));
    }

    #[test]
    fn the_shard_is_the_hash_modulo_the_number_of_shards() {
        assert_eq!(shard_of(130, 64), 2);
        assert_eq!(shard_of(u64::MAX, 1), 0);
        assert_eq!(shard_of(7, 0), 0, "a cluster has a shard");
    }
}
