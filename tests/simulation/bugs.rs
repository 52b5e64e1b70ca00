//! Bugs that are planted to show that the invariants find them. Each is planted in what surrounds the production code: a disk,
//! a bucket or a connection that lies, or a command that is changed on its way.

use std::sync::Arc;

use async_trait::async_trait;
use pharos_cluster::{CatalogueCommand, ClusterState, Command, HANDOFF_MS};
use pharos_transport::append::{Action, Appended, Replica, ReplicaError, ShardTarget, Shipment};

use crate::World;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Reports of failed replicas change nothing, although their senders are told that they do.
    FailuresAreNotRecorded,
    /// A learner is put in sync at once.
    LearnersAreInSync,
    /// A learner confirms writes that it does not take.
    LearnersMissWrites,
    /// An fsync makes nothing durable.
    DisksForget,
    /// A node with an empty disk does not notice that its log is gone.
    EmptyLogsAreComplete,
    /// Some uploads vanish.
    UploadsVanish,
    /// A deletion is applied again as another one.
    DeletionsRepeat,
    /// A block is masked by no deletion, as if its cut had seen all.
    BlocksHaveSeenEverything,
    /// A deletion is forgotten before anyone has applied it.
    DeletionsAreForgottenAtOnce,
    /// Replicas that disagree with the leader of a shard are left as they are.
    RepairsAreDropped,
    /// A node does not notice that its log was damaged.
    DamageIsNotNoticed,
    /// A restore forgets the blocks of later.
    RestoresForget,
    /// Replicas accept writes under old epochs.
    StaleWritersAreAccepted,
    /// Rulers take late views for fresh ones.
    ViewsSeemFresh,
    /// Rulers go by their own clocks.
    ClocksAreTrusted,
    /// A change of the rulers takes effect before they know.
    ChangesTakeEffectAtOnce,
    /// A ruler that stops does not wait until others have taken over.
    RulersLeaveAtOnce,
    /// Nobody counts what a dead ruler has missed.
    LossesAreNotCounted,
}

impl Bug {
    pub(crate) const ALL: [Bug; 18] = [
        Bug::FailuresAreNotRecorded,
        Bug::LearnersAreInSync,
        Bug::LearnersMissWrites,
        Bug::DisksForget,
        Bug::EmptyLogsAreComplete,
        Bug::UploadsVanish,
        Bug::DeletionsRepeat,
        Bug::BlocksHaveSeenEverything,
        Bug::DeletionsAreForgottenAtOnce,
        Bug::RepairsAreDropped,
        Bug::DamageIsNotNoticed,
        Bug::RestoresForget,
        Bug::StaleWritersAreAccepted,
        Bug::ViewsSeemFresh,
        Bug::ClocksAreTrusted,
        Bug::ChangesTakeEffectAtOnce,
        Bug::RulersLeaveAtOnce,
        Bug::LossesAreNotCounted,
    ];

    /// The world in which it shows.
    pub(crate) fn world(self) -> World {
        match self {
            Bug::ViewsSeemFresh
            | Bug::ClocksAreTrusted
            | Bug::ChangesTakeEffectAtOnce
            | Bug::RulersLeaveAtOnce
            | Bug::LossesAreNotCounted => World::Rulers,
            _ => World::Storage,
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Bug> {
        Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name)
    }

    /// The theme without which it does not show.
    pub(crate) fn theme(self) -> Option<&'static str> {
        match self {
            Bug::EmptyLogsAreComplete => Some("wipes"),
            Bug::DeletionsRepeat | Bug::BlocksHaveSeenEverything | Bug::DeletionsAreForgottenAtOnce => {
                Some("deletions")
            }
            Bug::RepairsAreDropped => Some("conflicts"),
            Bug::DamageIsNotNoticed => Some("damage"),
            Bug::RestoresForget => Some("restore"),
            _ => None,
        }
    }

    /// The commands that are applied in place of one.
    pub(crate) fn commands(self, state: &ClusterState, command: Command) -> Vec<Command> {
        match (self, command) {
            (Bug::FailuresAreNotRecorded, Command::ReportFailed { .. }) => Vec::new(),
            (Bug::LearnersAreInSync, Command::AddLearner { shard, node }) => {
                let epoch = state.epoch(shard) + 1;
                let promote = Command::Promote { shard, node: node.clone(), epoch };
                vec![Command::AddLearner { shard, node }, promote]
            }
            (
                Bug::BlocksHaveSeenEverything,
                Command::ShipBlocks { node, cut, tenant, mut blocks, deletions, as_replica },
            ) => {
                let newest = state.catalogue.newest_deletion(&tenant);
                blocks.iter_mut().for_each(|block| block.deletions_seen = Some(newest));
                vec![Command::ShipBlocks { node, cut, tenant, blocks, deletions, as_replica }]
            }
            (Bug::DeletionsAreForgottenAtOnce, Command::Catalogue(deletion @ CatalogueCommand::Delete { .. })) => {
                let CatalogueCommand::Delete { tenant, .. } = &deletion else { return Vec::new() };
                let forget = CatalogueCommand::ForgetDeletions { tenant: tenant.clone(), applied: u64::MAX };
                vec![deletion.into(), forget.into()]
            }
            (Bug::RestoresForget, Command::Restore { state: export, at_ms }) => {
                let is_exported = |tenant: &str, id: &str| {
                    export.catalogue.tenant(tenant).is_some_and(|known| known.blocks.iter().any(|block| block.id == id))
                };
                let later = state.catalogue.tenants.iter().map(|(tenant, known)| {
                    let ids = known.blocks.iter().map(|block| block.id.clone());
                    let ids = ids.filter(|id| !is_exported(tenant, id)).collect();
                    let reason = pharos_cluster::RemovalReason::Retention;
                    CatalogueCommand::RemoveBlocks { tenant: tenant.clone(), ids, at_ms: at_ms.max(1), reason }.into()
                });
                let later: Vec<Command> = later.collect();
                std::iter::once(Command::Restore { state: export, at_ms }).chain(later).collect()
            }
            (Bug::ChangesTakeEffectAtOnce, Command::SetMemberState { node, state, at_ms }) => {
                vec![Command::SetMemberState { node, state, at_ms: at_ms - HANDOFF_MS }]
            }
            (Bug::ChangesTakeEffectAtOnce, Command::Join { member, at_ms }) => {
                vec![Command::Join { member, at_ms: at_ms - HANDOFF_MS }]
            }
            (_, command) => vec![command],
        }
    }

    /// A command that is applied again after a while.
    pub(crate) fn repeated(self, command: &Command) -> Option<Command> {
        match (self, command) {
            (
                Bug::DeletionsRepeat,
                Command::Catalogue(CatalogueCommand::Delete { tenant, selector, start, end, id }),
            ) => {
                let (tenant, selector, id) = (tenant.clone(), selector.clone(), format!("{id} again"));
                Some(CatalogueCommand::Delete { tenant, selector, start: *start, end: *end, id }.into())
            }
            _ => None,
        }
    }
}

/// A connection to a replica that plants a bug.
pub(crate) struct Lying {
    pub(crate) bug: Bug,
    pub(crate) replica: Arc<dyn Replica>,
    /// Whether the replica is learning a shard.
    pub(crate) is_learning: Box<dyn Fn(u32) -> bool + Send + Sync>,
    /// The epoch of a shard.
    pub(crate) epoch: Box<dyn Fn(u32) -> u64 + Send + Sync>,
}

#[async_trait]
impl Replica for Lying {
    async fn append(&self, shipment: &Shipment<'_>, targets: &[ShardTarget]) -> Result<Appended, ReplicaError> {
        match self.bug {
            Bug::LearnersMissWrites => {
                let is_sent = |target: &&ShardTarget| target.counted || !(self.is_learning)(target.shard);
                let sent: Vec<ShardTarget> = targets.iter().filter(is_sent).copied().collect();
                if sent.is_empty() { Ok(Appended::default()) } else { self.replica.append(shipment, &sent).await }
            }
            Bug::StaleWritersAreAccepted => {
                let renewed = |target: &ShardTarget| ShardTarget { epoch: (self.epoch)(target.shard), ..*target };
                let renewed: Vec<ShardTarget> = targets.iter().map(renewed).collect();
                self.replica.append(shipment, &renewed).await
            }
            Bug::RepairsAreDropped if shipment.action != Action::Append => {
                Ok(Appended { refused: Some(Default::default()), ..Appended::default() })
            }
            _ => self.replica.append(shipment, targets).await,
        }
    }
}
