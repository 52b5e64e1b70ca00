//! Runs openraft's conformance suite against this storage.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use pharos_transport::ClusterIdentity;
use tempfile::TempDir;

use super::disk::Disk;
use super::log_store::LogStore;
use super::machine::Machine;
use super::types::Types;

struct Builder;

impl StoreBuilder<Types, LogStore, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError<Types>> {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::open(&folder.path().join("raft.redb"), "A").unwrap());
        let machine = Machine::open(disk.clone(), ClusterIdentity::default()).unwrap();
        Ok((folder, LogStore::new(disk), machine))
    }
}

#[tokio::test]
async fn storage_passes_the_conformance_suite_of_openraft() {
    Suite::test_all(Builder).await.unwrap();
}
