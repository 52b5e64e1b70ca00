//! The roles of a process: `--roles`.

use std::str::FromStr;

/// A role that `--roles` can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Scrapes targets and receives pushes.
    Agent,
    /// Holds the newest samples in a head with a write-ahead log and ships blocks.
    Ingester,
    /// Serves queries over the blocks in object storage.
    Store,
    /// Serves the Prometheus HTTP API.
    Frontend,
    /// Deletes expired blocks and garbage from object storage.
    Compactor,
    /// Evaluates rules and sends alerts.
    Ruler,
    /// Notifies receivers of alerts, if it has a configuration (`--alertmanager.config-file`).
    Alertmanager,
    /// Votes in the Raft group that holds members, shard placement and the block catalogue.
    Meta,
}

impl Role {
    /// Every role, in the order in which they are printed.
    pub const ALL: [Role; 8] = [
        Role::Agent,
        Role::Ingester,
        Role::Store,
        Role::Frontend,
        Role::Compactor,
        Role::Ruler,
        Role::Alertmanager,
        Role::Meta,
    ];

    /// The name that `--roles` takes.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Agent => "agent",
            Role::Ingester => "ingester",
            Role::Store => "store",
            Role::Frontend => "frontend",
            Role::Compactor => "compactor",
            Role::Ruler => "ruler",
            Role::Alertmanager => "alertmanager",
            Role::Meta => "meta",
        }
    }
}

/// The set of roles of this process, in the order of [`Role::ALL`], each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(Vec<Role>);

impl Roles {
    /// Whether the process has the role.
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Whether the process has every role.
    pub fn is_all(&self) -> bool {
        self.0.len() == Role::ALL.len()
    }

    /// The names, separated by commas, or `all`.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|role| role.as_str()).collect();
        if self.is_all() { "all".into() } else { names.join(",") }
    }

    /// The roles in the order of [`Role::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = Role> {
        self.0.iter().copied()
    }
}

impl FromStr for Roles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut roles = Vec::new();
        for name in text.split(',').map(str::trim) {
            match Role::ALL.iter().find(|role| role.as_str() == name) {
                Some(role) => roles.push(*role),
                None if name == "all" => roles.extend(Role::ALL),
                None => {
                    let known = Role::ALL.map(Role::as_str).join(", ");
                    return Err(format!("unknown role {name:?}; expected all, {known}"));
                }
            }
        }
        roles.sort();
        roles.dedup();
        Ok(Roles(roles))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let all: Roles = "all".parse().unwrap();
        assert!(all.is_all() && all.has(Role::Meta));
        assert_eq!("ruler,compactor,meta,frontend,store,alertmanager,ingester,agent".parse(), Ok(all));
        let two: Roles = "store, agent,store".parse().unwrap();
        assert_eq!(two.iter().collect::<Vec<_>>(), [Role::Agent, Role::Store]);
        let error = "rulers".parse::<Roles>().unwrap_err();
        let expected = r#"unknown role "rulers"; expected all, agent, ingester, store, frontend, compactor, ruler, alertmanager, meta"#;
        assert_eq!(error, expected);
    }
}
