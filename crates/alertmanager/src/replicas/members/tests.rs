use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn replica(name: &str) -> ReplicaInfo {
    ReplicaInfo { name: name.into(), address: format!("{name}:9094") }
}

fn members(seeds: &[&str]) -> Members {
    let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
    Members::new(replica("b"), &seeds, seconds(10), seconds(60))
}

fn names(members: &Members, now: u64) -> Vec<String> {
    members.live(seconds(now)).into_iter().map(|replica| replica.name).collect()
}

#[test]
fn the_position_follows_from_the_names_of_the_live() {
    let mut members = members(&[]);
    assert_eq!((names(&members, 0), members.position(seconds(0))), (vec!["b".to_string()], 0));
    assert!(members.heard(&replica("c"), seconds(0)) && members.heard(&replica("a"), seconds(0)));
    assert_eq!((names(&members, 1).join(","), members.position(seconds(1))), ("a,b,c".into(), 1));
}

#[test]
fn a_silent_replica_is_missed_and_heard_again() {
    let mut members = members(&[]);
    members.heard(&replica("a"), seconds(0));
    assert_eq!(members.failed(seconds(4)), 0);
    assert_eq!((names(&members, 5).len(), members.failed(seconds(5)), members.position(seconds(5))), (1, 1, 0));
    members.calls(seconds(1), seconds(5));
    assert!(members.heard(&replica("a"), seconds(6)));
    assert_eq!(names(&members, 6).len(), 2);
}

#[test]
fn one_that_was_missed_for_too_long_is_forgotten() {
    let mut members = members(&[]);
    members.heard(&replica("a"), seconds(0));
    members.calls(seconds(1), seconds(5));
    assert_eq!(members.calls(seconds(1), seconds(59)), ["a:9094"]);
    assert!(members.calls(seconds(1), seconds(60)).is_empty());
    assert_eq!(members.failed(seconds(60)), 0);
}

#[test]
fn seeds_are_called_until_they_answer() {
    let mut members = members(&["a:9094", "b:9094"]);
    assert_eq!(members.calls(seconds(1), seconds(0)), ["a:9094"]);
    assert!(members.calls(seconds(1), seconds(0)).is_empty() && !members.has_found_all_seeds());
    assert_eq!(members.calls(seconds(1), seconds(1)), ["a:9094"]);
    members.found_seed("a:9094");
    assert!(members.has_found_all_seeds() && members.calls(seconds(1), seconds(2)).is_empty());
}

#[test]
fn one_that_was_only_told_of_is_called_but_not_live() {
    let mut members = members(&[]);
    members.told_of(&[replica("a"), replica("b")], seconds(0));
    assert_eq!(names(&members, 0), ["b"]);
    assert_eq!(members.calls(seconds(1), seconds(0)), ["a:9094"]);
}

#[test]
fn a_restarted_replica_replaces_the_one_at_its_address() {
    let mut members = members(&[]);
    members.heard(&replica("a"), seconds(0));
    members.heard(&ReplicaInfo { name: "z".into(), address: "a:9094".into() }, seconds(1));
    assert_eq!(names(&members, 1).join(","), "b,z");
    members.left("z");
    assert_eq!((names(&members, 1).len(), members.failed(seconds(1))), (1, 0));
}

#[test]
fn those_that_are_not_listed_are_forgotten() {
    let mut members = members(&["a:9094"]);
    members.heard(&replica("a"), seconds(0));
    members.set_peers(&[replica("c")], seconds(1));
    assert_eq!((names(&members, 1), members.failed(seconds(1))), (vec!["b".to_string()], 1));
    assert!(members.has_found_all_seeds());
    assert_eq!(members.calls(seconds(1), seconds(1)), ["c:9094"]);
    members.heard(&replica("c"), seconds(1));
    members.set_peers(&[replica("c")], seconds(2));
    assert_eq!(names(&members, 2).join(","), "b,c", "one that is listed again stays live");
}
