use super::*;

fn page(bytes: usize) -> Cached {
    Cached::Page(Bytes::from(vec![0; bytes]))
}

#[test]
fn items_are_found_by_block_and_kind() {
    let cache = BlockCache::new(1 << 20);
    cache.insert(1, CacheItem::Page(0, 100), page(10));
    assert!(cache.get(1, CacheItem::Page(0, 100)).is_some());
    assert!(cache.get(2, CacheItem::Page(0, 100)).is_none());
    assert!(cache.get(1, CacheItem::Page(1, 100)).is_none());
    assert!(cache.get(1, CacheItem::Page(0, 101)).is_none());
}

#[test]
fn the_cache_does_not_exceed_its_size() {
    let cache = BlockCache::new(10_000);
    for offset in 0..100 {
        cache.insert(1, CacheItem::Page(0, offset), page(1000));
        cache.settle();
        assert!(cache.bytes() <= 10_000);
    }
    assert!(cache.bytes() > 5_000);
}

#[test]
fn an_item_larger_than_the_cache_is_not_kept() {
    let cache = BlockCache::new(1000);
    cache.insert(1, CacheItem::Page(0, 0), page(2000));
    cache.settle();
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn timestamps_weigh_eight_bytes_each() {
    assert_eq!(Cached::Ts(Arc::from([1, 2, 3])).bytes(), 24);
}
