//! Queries over blocks in memory, whose catalogue is rebuilt from their footers.

use object_store::memory::InMemory;
use pharos_block::objects::testing::FaultyStore;
use pharos_block::{BlockWriter, WriterOptions, upload};
use pharos_cluster::{CatalogueCommand, Meta};
use pharos_model::hash::series_hash;
use pharos_model::{SeriesBatch, SeriesView, TenantId};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use ulid::Ulid;

use super::*;
use crate::StoreConfig;

/// A store with its own runtime, which the calling thread is not part of.
struct Fixture {
    runtime: Runtime,
    _folder: TempDir,
    meta: Arc<Meta>,
    store: Arc<Store>,
}

/// The job of a series, and its timestamps and values.
type JobSamples = (String, Vec<i64>, Vec<f64>);

/// A series of a block: name, job, (timestamp, value).
type Series<'a> = (&'a str, &'a str, &'a [(i64, f64)]);

/// One block per entry, of the window from 0 to 1000. Blocks are committed in this order.
fn store_of(blocks: &[&[Series<'_>]]) -> Fixture {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let objects = Arc::new(InMemory::new());
    let meta = runtime.block_on(async {
        for (born, series) in (1u64..).zip(blocks) {
            put_block(&objects, born, series).await;
        }
        let meta = Meta::open(folder.path(), "A").await.unwrap();
        crate::rebuild::rebuild(&*objects, &meta, 1).await.unwrap();
        Arc::new(meta)
    });
    let registry = prometheus::Registry::new();
    let handle = runtime.handle().clone();
    let store = Store::create(StoreConfig::default(), meta.clone(), objects, handle, &registry).unwrap();
    Fixture { runtime, _folder: folder, meta, store }
}

fn unlimited() -> Arc<Budget> {
    Arc::new(Budget::unlimited())
}

fn labels(name: &str, job: &str) -> Labels {
    Labels::from_pairs([("__name__", name), ("job", job)])
}

fn hash(name: &str, job: &str) -> pharos_model::SeriesHash {
    series_hash(&TenantId::default(), labels(name, job).as_bytes())
}

async fn put_block(objects: &InMemory, born: u64, series: &[Series<'_>]) {
    let id = Ulid::from_parts(born, 7);
    let mut options = WriterOptions::new(id, TenantId::default(), 0, 1000);
    options.shards_total = DEFAULT_SHARDS;
    let mut writer = BlockWriter::new(options).unwrap();
    let mut sorted = series.to_vec();
    sorted.sort_by_key(|(name, job, _)| labels(name, job));
    for (name, job, samples) in sorted {
        let t: Vec<i64> = samples.iter().map(|(t, _)| *t).collect();
        let v: Vec<f64> = samples.iter().map(|(_, v)| *v).collect();
        writer
            .push(&labels(name, job), hash(name, job), None, SeriesView { t: &t, v: &v, ..SeriesView::EMPTY })
            .unwrap();
    }
    let block = writer.finish().unwrap();
    upload(objects, &block.meta.folder(), &block).await.unwrap();
}

impl Fixture {
    fn delete(&self, selector: &str, start: i64, end: i64) {
        let command = CatalogueCommand::Delete {
            tenant: TenantId::default().as_str().into(),
            selector: selector.into(),
            start,
            end,
            id: String::new(),
        };
        self.runtime.block_on(self.meta.propose(command)).unwrap();
    }

    fn scope(&self) -> Scope {
        Scope::all(TenantId::default())
    }

    /// A scope with only the shard of one series.
    fn scope_of(&self, name: &str, job: &str) -> Scope {
        let shard = shard_of(hash(name, job), DEFAULT_SHARDS);
        Scope { shards: Some(Arc::new(ShardSet::of(shard))), ..self.scope() }
    }

    fn select(&self, scope: &Scope, name: &str, max_series: usize) -> Result<Vec<JobSamples>, SelectError> {
        let request =
            SelectRequest { matchers: vec![Matcher::equal("__name__", name)], range: TimeRange::ALL, max_series };
        let set = self.store.select(scope, &request, &Arc::new(Budget::unlimited()))?;
        let mut out = SeriesBatch::default();
        set.fetch(0..set.labels().len(), TimeRange::ALL, &mut out)?;
        let job = |labels: &Labels| labels.get("job").unwrap_or("").to_string();
        Ok(set
            .labels()
            .iter()
            .enumerate()
            .map(|(at, l)| (job(l), out.view(at).t.to_vec(), out.view(at).v.to_vec()))
            .collect())
    }

    fn label_names(&self, scope: &Scope) -> Vec<String> {
        self.store.names(scope, None, &[], TimeRange::ALL, &unlimited()).unwrap()
    }

    fn jobs(&self, scope: &Scope) -> Vec<String> {
        self.store.names(scope, Some("job"), &[], TimeRange::ALL, &unlimited()).unwrap()
    }
}

const UP: Series<'static> = ("up", "a", &[(10, 1.0), (20, 2.0)]);

#[test]
fn samples_of_a_block_are_selected() {
    let fixture = store_of(&[&[UP]]);
    let found = fixture.select(&fixture.scope(), "up", 0).unwrap();
    assert_eq!(found, [("a".to_string(), vec![10, 20], vec![1.0, 2.0])]);
}

#[test]
fn a_selector_without_a_match_selects_nothing() {
    let fixture = store_of(&[&[UP]]);
    assert_eq!(fixture.select(&fixture.scope(), "down", 0).unwrap(), []);
}

#[test]
fn blocks_of_a_window_are_merged() {
    let fixture = store_of(&[&[UP], &[("up", "a", &[(15, 5.0)]), ("up", "b", &[(10, 7.0)])]]);
    let found = fixture.select(&fixture.scope(), "up", 0).unwrap();
    assert_eq!(found[0], ("a".to_string(), vec![10, 15, 20], vec![1.0, 5.0, 2.0]));
    assert_eq!(found[1], ("b".to_string(), vec![10], vec![7.0]));
}

#[test]
fn the_later_block_wins_at_equal_timestamps() {
    let fixture = store_of(&[&[UP], &[("up", "a", &[(20, 9.0)])]]);
    let found = fixture.select(&fixture.scope(), "up", 0).unwrap();
    assert_eq!(found, [("a".to_string(), vec![10, 20], vec![1.0, 9.0])]);
}

#[test]
fn a_tenant_without_blocks_has_nothing() {
    let fixture = store_of(&[&[UP]]);
    let other = Scope::all(TenantId::new("other").unwrap());
    assert_eq!(fixture.select(&other, "up", 0).unwrap(), []);
    assert_eq!(fixture.label_names(&other), Vec::<String>::new());
}

#[test]
fn more_series_than_the_limit_are_an_error() {
    let fixture = store_of(&[&[UP, ("up", "b", &[(10, 1.0)])]]);
    assert_eq!(fixture.select(&fixture.scope(), "up", 2).unwrap().len(), 2);
    let error = fixture.select(&fixture.scope(), "up", 1).unwrap_err();
    assert!(matches!(error, SelectError::Series { limit: 1 }), "{error}");
}

#[test]
fn only_series_of_the_asked_shards_are_selected() {
    let fixture = store_of(&[&[UP, ("up", "b", &[(10, 1.0)])]]);
    let other_shard = shard_of(hash("up", "a"), DEFAULT_SHARDS) != shard_of(hash("up", "b"), DEFAULT_SHARDS);
    assert!(other_shard, "the fixture needs two shards");
    let found = fixture.select(&fixture.scope_of("up", "b"), "up", 0).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "b");
}

#[test]
fn series_of_other_shards_do_not_count_towards_the_limit() {
    let fixture = store_of(&[&[UP, ("up", "b", &[(10, 1.0)])]]);
    assert_eq!(fixture.select(&fixture.scope_of("up", "b"), "up", 1).unwrap().len(), 1);
}

#[test]
fn deleted_samples_are_not_selected() {
    let fixture = store_of(&[&[UP]]);
    fixture.delete("{__name__=\"up\"}", 20, 30);
    let found = fixture.select(&fixture.scope(), "up", 0).unwrap();
    assert_eq!(found, [("a".to_string(), vec![10], vec![1.0])]);
}

#[test]
fn label_names_and_values_come_from_all_blocks() {
    let fixture = store_of(&[&[UP], &[("up", "b", &[(10, 1.0)])]]);
    assert_eq!(fixture.label_names(&fixture.scope()), ["__name__", "job"]);
    assert_eq!(fixture.jobs(&fixture.scope()), ["a", "b"]);
}

#[test]
fn label_values_of_deleted_series_are_omitted() {
    let fixture = store_of(&[&[UP, ("up", "b", &[(10, 1.0)])]]);
    fixture.delete("{job=\"a\"}", 0, 1000);
    assert_eq!(fixture.jobs(&fixture.scope()), ["b"]);
    assert_eq!(fixture.label_names(&fixture.scope()), ["__name__", "job"]);
}

#[test]
fn label_values_of_other_shards_are_omitted() {
    let fixture = store_of(&[&[UP, ("up", "b", &[(10, 1.0)])]]);
    assert_eq!(fixture.jobs(&fixture.scope_of("up", "b")), ["b"]);
}

#[test]
fn series_are_limited_and_sorted() {
    let fixture = store_of(&[&[("up", "c", &[(10, 1.0)])], &[UP, ("up", "b", &[(10, 1.0)])]]);
    let found = fixture.store.series(&fixture.scope(), &[], TimeRange::ALL, 2, &unlimited()).unwrap();
    assert_eq!(found, [labels("up", "a"), labels("up", "b")]);
}

#[test]
fn a_time_range_without_blocks_is_not_read() {
    let fixture = store_of(&[&[UP]]);
    let found = fixture.store.series(&fixture.scope(), &[], TimeRange::new(2000, 3000), 0, &unlimited()).unwrap();
    assert_eq!(found, []);
    assert_eq!(fixture.store.metrics.blocks_asked.get(), 0);
}

#[test]
fn a_block_whose_filter_excludes_a_label_is_skipped() {
    let fixture = store_of(&[&[UP]]);
    fixture.select(&fixture.scope(), "never_written", 0).unwrap();
    assert_eq!(fixture.store.metrics.blocks_skipped.get(), 1);
    assert_eq!(fixture.store.metrics.blocks_asked.get(), 0);
}

#[test]
fn a_cancelled_query_reads_nothing() {
    let fixture = store_of(&[&[UP]]);
    let budget = Arc::new(Budget::unlimited());
    budget.cancel();
    let request = SelectRequest { matchers: Vec::new(), range: TimeRange::ALL, max_series: 0 };
    assert!(fixture.store.select(&fixture.scope(), &request, &budget).is_err());
}

/// A query of a block whose object store never answers.
fn select_from_silence(budget: &Arc<Budget>) -> SelectError {
    let fixture = store_of(&[&[UP]]);
    let objects = Arc::new(FaultyStore::hanging());
    let (meta, handle) = (fixture.meta.clone(), fixture.runtime.handle().clone());
    let silent = Store::create(StoreConfig::default(), meta, objects, handle, &prometheus::Registry::new()).unwrap();
    let request = SelectRequest { matchers: Vec::new(), range: TimeRange::ALL, max_series: 0 };
    let asked = std::thread::scope(|scope| {
        let reading = scope.spawn(|| silent.select(&fixture.scope(), &request, budget).map(drop));
        while !reading.is_finished() && silent.metrics.blocks_asked.get() == 0 {
            std::thread::yield_now();
        }
        budget.cancel();
        reading.join().unwrap()
    });
    asked.unwrap_err()
}

#[test]
fn a_query_that_is_cancelled_stops_waiting_for_the_object_store() {
    let error = select_from_silence(&Arc::new(Budget::unlimited()));
    assert!(matches!(error, SelectError::Cancelled), "{error}");
}

#[test]
fn a_known_view_is_admitted_at_once() {
    let fixture = store_of(&[&[UP]]);
    let view = fixture.meta.view();
    let asked = ReadView { incarnation: view.incarnation, version: view.version, epochs: Arc::default(), deletions: 0 };
    assert!(fixture.store.admit(&TenantId::default(), &asked).is_ok());
}

#[test]
fn an_older_incarnation_is_admitted_whatever_its_version() {
    let fixture = store_of(&[&[UP]]);
    let view = fixture.meta.view();
    let export = pharos_cluster::ClusterState::clone(view.state());
    let restore = pharos_cluster::Command::Restore { state: Box::new(export), at_ms: 1 };
    fixture.runtime.block_on(fixture.meta.propose(restore)).unwrap();
    let asked = ReadView { incarnation: view.incarnation, version: u64::MAX, epochs: Arc::default(), deletions: 0 };
    assert!(fixture.store.admit(&TenantId::default(), &asked).is_ok());
}

#[test]
fn blocks_have_no_metadata() {
    let fixture = store_of(&[&[UP]]);
    assert!(fixture.store.metadata(&fixture.scope()).unwrap().is_empty());
}
